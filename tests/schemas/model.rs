//! A drawn case as data, so that it can be counted, written as SQL, and made smaller when it fails.

use std::fmt;

use crate::acts::{Rule, Trigger};

/// The place of `"Book"` among the tables.
pub(crate) const BOOK: usize = 0;

/// The text of a value, or NULL.
pub(crate) type Value = Option<String>;

/// Tables, keys and triggers of the target, and the rows of both sides.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    /// `"Book"` first.
    pub(crate) tables: Vec<Table>,
    pub(crate) keys: Vec<Key>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) rules: Vec<Rule>,
    /// The source's books: the columns that the application's table has.
    pub(crate) production: Vec<Vec<Value>>,
    pub(crate) production_is_partitioned: bool,
    /// What counts the ids of development's books.
    pub(crate) ids: Ids,
    /// Whether development's books have to have a number of pages.
    pub(crate) has_a_check: bool,
    pub(crate) engine: &'static str,
    pub(crate) batch_size: usize,
    /// What somebody does between the sync and its undo.
    pub(crate) meanwhile: Meanwhile,
    /// Whether the sync is called a second time before the undo.
    pub(crate) again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// As the application has it.
    Sequence,
    Identity,
    /// A sequence that does not belong to the column.
    Foreign,
}

#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: &'static str,
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Names of columns.
    pub(crate) primary: Vec<String>,
    pub(crate) uniques: Vec<Vec<String>>,
    pub(crate) shape: Shape,
    pub(crate) unlogged: bool,
    pub(crate) had_a_column: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) purpose: Purpose,
    /// Taken away by the reduction.
    pub(crate) gone: bool,
}

/// What triggers may use a table for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Books,
    Any,
    /// A row of it is made of little more than the number of a book.
    Audit,
    /// One row per book, whose number is the primary key.
    Counter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    /// By range of the id, cut at [`CUT`], the second part itself partitioned if `nested`.
    ById {
        nested: bool,
    },
    /// By hash of the first reference, so that a changed reference moves the row.
    ByReference,
    /// By range of the isbn13, cut at [`BOOKS_CUT`].
    ByIsbn,
    /// With a table that inherits from it.
    Parent,
}

/// Where ids are cut in two partitions.
pub(crate) const CUT: i32 = 50;

/// Where isbn13s are.
pub(crate) const BOOKS_CUT: &str = "9785000000000";

impl Shape {
    pub(crate) fn is_partitioned(self) -> bool {
        matches!(self, Self::ById { .. } | Self::ByReference | Self::ByIsbn)
    }

    /// How many tables besides itself keys may name.
    pub(crate) fn parts(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::ById { nested: true } | Self::Parent => 1,
            Self::ById { .. } | Self::ByReference | Self::ByIsbn => 2,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// With its modifiers, but without NOT NULL and DEFAULT.
    pub(crate) sql_type: String,
    pub(crate) not_null: bool,
    /// An expression.
    pub(crate) default: Option<String>,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of the application's columns of `"Book"`.
    Copied,
    Id,
    /// Of a foreign key.
    Reference,
    /// The number of a book, which no key guards.
    Soft,
    Payload,
    /// Computed by the server.
    Generated,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// One for each column; that of a generated one is ignored.
    pub(crate) values: Vec<Value>,
    /// Whether it belongs to the child of an inheritance parent.
    pub(crate) in_child: bool,
}

/// A table, or one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) table: usize,
    pub(crate) part: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) from: Place,
    pub(crate) columns: Vec<String>,
    pub(crate) to: Place,
    pub(crate) references: Vec<String>,
    pub(crate) on_delete: Reaction,
    pub(crate) on_update: Reaction,
    /// Of SET NULL or SET DEFAULT at a deletion, if not all.
    pub(crate) set_columns: Vec<String>,
    pub(crate) timing: Timing,
    pub(crate) full: bool,
    /// Rows that reference nothing are left alone.
    pub(crate) not_valid: bool,
    pub(crate) name: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

impl Reaction {
    pub(crate) fn forbids(self) -> bool {
        matches!(self, Self::NoAction | Self::Restrict)
    }
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    Immediate,
    Deferrable,
    Deferred,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    Nothing,
    /// Rows of this key's table come that reference new books.
    AddRows(usize),
    ChangeBook,
    /// A row that the sync left alone.
    ChangeRow(usize),
    /// A row takes the primary key of one that the sync removed.
    TakeKey(usize),
    DeleteRow(usize),
}

impl Case {
    pub(crate) fn book(&self) -> &Table {
        &self.tables[BOOK]
    }

    /// The tables that there are besides `"Book"`.
    pub(crate) fn others(&self) -> impl Iterator<Item = (usize, &Table)> {
        self.tables.iter().enumerate().skip(1).filter(|(_, table)| !table.gone)
    }
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(crate) fn column_of(&self, role: Role) -> Option<&Column> {
        self.columns.iter().find(|column| column.role == role)
    }

    /// The number of books' column that keys and triggers look rows up by.
    pub(crate) fn id(&self) -> Option<&Column> {
        self.column_of(Role::Id)
    }

    pub(crate) fn values(&self, row: &Row, columns: &[String]) -> Vec<Value> {
        columns.iter().map(|name| row.values[self.column(name).unwrap()].clone()).collect()
    }

    /// Whether these columns together are the primary key or unique.
    pub(crate) fn is_unique(&self, columns: &[String]) -> bool {
        let same = |key: &Vec<String>| {
            key.len() == columns.len() && key.iter().all(|column| columns.contains(column))
        };
        same(&self.primary) || self.uniques.iter().any(same)
    }

    /// Whether a row is in a part, as far as a key that names the part is concerned.
    pub(crate) fn is_in(&self, row: &Row, part: Option<usize>) -> bool {
        match (self.shape, part) {
            (Shape::Parent, part) => row.in_child == part.is_some(),
            (Shape::ById { .. }, Some(part)) => {
                let id = self.id().and_then(|id| row.values[self.column(&id.name)?].as_ref());
                let after = id.and_then(|id| id.parse::<i32>().ok()).is_some_and(|id| id >= CUT);
                after == (part == 1)
            }
            (Shape::ByIsbn, Some(part)) => {
                let isbn13 = self.column("isbn13").and_then(|column| row.values[column].as_deref());
                (isbn13 >= Some(BOOKS_CUT)) == (part == 1)
            }
            _ => true,
        }
    }
}
