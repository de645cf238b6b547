//! Foreign keys as the target's catalog has them.

use serde::Deserialize;

/// A table of a foreign key. Names are quoted identifiers with their schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Relation {
    /// The table.
    pub name: String,
    /// The partitioned table that it is the topmost part of, or itself.
    pub root: String,
    /// What stands after FROM for its own rows: rows of tables that inherit from it are none.
    pub rows: String,
    /// Whether it is the book table or a partition of it.
    pub is_book: bool,
}

impl Relation {
    /// What stands after FROM for the rows of [`root`](Self::root).
    pub fn root_rows(&self) -> &str {
        if self.root == self.name { &self.rows } else { &self.root }
    }
}

/// An enforced foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForeignKey {
    /// The constraint, as the server's messages name it.
    pub name: String,
    /// Whose rows refer.
    pub table: Relation,
    /// With which columns, as quoted identifiers.
    pub columns: Vec<String>,
    /// To which table.
    pub references: Relation,
    /// To which columns of it.
    pub referenced_columns: Vec<String>,
    /// `c` cascade, `n` set null, `d` set default, `r` restrict, `a` no action.
    pub on_delete: char,
    /// The same when a referenced column is changed.
    pub on_update: char,
    /// The columns that SET NULL (column list) is about, instead of all.
    pub set_on_delete: Option<Vec<String>>,
    /// Checked at the end of a transaction, unless it is NO ACTION at the end of a statement.
    pub deferred: bool,
    /// Its triggers run.
    pub acts: bool,
}

/// What a foreign key does to the rows that refer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// CASCADE.
    Cascade,
    /// SET NULL or SET DEFAULT.
    Set,
    /// RESTRICT or NO ACTION.
    Forbid,
}

impl Action {
    /// That of the catalog's letter.
    pub(crate) fn of(letter: char) -> Self {
        match letter {
            'c' => Self::Cascade,
            'n' | 'd' => Self::Set,
            _ => Self::Forbid,
        }
    }
}

impl ForeignKey {
    /// Whether its rows change when a value of a book changes that is no id.
    pub fn follows_books(&self) -> bool {
        self.references.is_book
            && self.referenced_columns != ["id"]
            && Action::of(self.on_update) != Action::Forbid
    }

    /// The columns of the referring rows that change when what they refer to is deleted.
    pub fn set_columns(&self) -> &[String] {
        self.set_on_delete.as_deref().unwrap_or(&self.columns)
    }
}

/// Every enforced foreign key of the database but the ledger's, as a scalar expression: a JSON array, or NULL when there is
/// none. `book` is an expression for the oid of the book table.
pub fn foreign_keys(book: &str) -> String {
    let relation = |class: &str, namespace: &str| {
        let root = format!("coalesce(pg_partition_root({class}.oid), {class}.oid)");
        format!(
            "json_build_object('name', format('%I.%I', {namespace}.nspname, {class}.relname),
     'root', (SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = {root}),
     'rows', CASE {class}.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', {namespace}.nspname, {class}.relname),
     'is_book', coalesce({root} = {book}, false))"
        )
    };
    let columns = |numbers: &str, class: &str| {
        format!(
            "(SELECT json_agg(format('%I', attname) ORDER BY place) FROM unnest({numbers}) WITH ORDINALITY AS key (number, place)
       JOIN pg_attribute ON attrelid = {class} AND attnum = number)"
        )
    };
    // Columns of newer servers are read by name from the row as JSON: 15 has `confdelsetcols`, 18 `conenforced`.
    format!(
        "(SELECT json_agg(json_build_object('name', conname, 'table', {table}, 'columns', {referring}, 'references', {referenced},
   'referenced_columns', {referenced_columns}, 'on_delete', confdeltype, 'on_update', confupdtype, 'deferred', condeferred,
   'acts', NOT EXISTS (SELECT FROM pg_trigger WHERE tgconstraint = con.oid AND tgenabled NOT IN ('O', 'A')),
   'set_on_delete', (SELECT json_agg(format('%I', attname)) FROM jsonb_array_elements_text(CASE jsonb_typeof(newer -> 'confdelsetcols')
      WHEN 'array' THEN newer -> 'confdelsetcols' END) number JOIN pg_attribute ON attrelid = conrelid AND attnum = number::int2)) ORDER BY con.oid)
 FROM (SELECT con.*, to_jsonb(con) AS newer FROM pg_constraint con WHERE contype = 'f' AND conparentid = 0) con
   JOIN pg_class t ON t.oid = conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
   JOIN pg_class r ON r.oid = confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
 WHERE n.nspname <> 'dewey_sync' AND coalesce((newer ->> 'conenforced')::boolean, true))",
        table = relation("t", "n"),
        referring = columns("conkey", "conrelid"),
        referenced = relation("r", "rn"),
        referenced_columns = columns("confkey", "confrelid"),
    )
}
