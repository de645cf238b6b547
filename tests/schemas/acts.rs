//! What acts on tables besides keys: triggers and rules.

#[derive(Debug, Clone)]
pub(crate) struct Trigger {
    pub(crate) on: usize,
    pub(crate) firing: Firing,
    pub(crate) events: Vec<Event>,
    /// Only rows that really change.
    pub(crate) only_changes: bool,
    /// In a subtransaction that is rolled back.
    pub(crate) in_vain: bool,
    /// Names without a schema, as applications write them.
    pub(crate) unqualified: bool,
    /// The keys' own triggers have names that begin with `RI_`; those of a row fire by their names.
    pub(crate) prefix: &'static str,
    pub(crate) work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firing {
    BeforeRow,
    AfterRow,
    BeforeStatement,
    AfterStatement,
    /// After a statement, with the rows of it.
    Transition,
    /// A constraint trigger, deferred to the end of the transaction.
    Deferred,
}

impl Firing {
    pub(crate) fn is_row(self) -> bool {
        matches!(self, Self::BeforeRow | Self::AfterRow | Self::Deferred)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Insert,
    Update,
    Delete,
}

/// What a trigger does, mostly to another table, which has no key to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Delete(usize),
    Update(usize),
    /// Writes rows anew with the values that they have.
    Same(usize),
    /// Deletes rows and inserts them again.
    Replace(usize),
    Insert(usize),
    /// Inserts a row or counts its number up.
    Upsert(usize),
    Truncate {
        table: usize,
        cascade: bool,
    },
    Drop(usize),
    /// A change of the table that writes all rows anew.
    Rewrite(usize),
    /// Raises an error for some books.
    Forbid,
    /// Changes a copied column of the row itself.
    AlterBook,
    /// Changes a column of other books that only the target has.
    TouchBooks,
    /// Deletes another book.
    DeleteBook,
}

impl Work {
    pub(crate) fn table(self) -> Option<usize> {
        match self {
            Self::Delete(table)
            | Self::Update(table)
            | Self::Same(table)
            | Self::Replace(table)
            | Self::Insert(table)
            | Self::Upsert(table)
            | Self::Truncate { table, .. }
            | Self::Drop(table)
            | Self::Rewrite(table) => Some(table),
            Self::Forbid | Self::AlterBook | Self::TouchBooks | Self::DeleteBook => None,
        }
    }
}

/// A rewrite rule of `"Book"`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) event: Event,
    /// `None` is DO INSTEAD NOTHING.
    pub(crate) also: Option<Work>,
}
