//! What a sync has kept for its undo.

use serde::Deserialize;

/// A table of which rows were kept.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct KeptTable {
    /// As it was kept: a quoted identifier.
    pub(crate) name: String,
    /// Rows that were removed, and of the books those that were changed.
    pub(crate) deleted: u64,
    /// Rows that lost a reference.
    pub(crate) detached: u64,
    /// Whether it is there, with the columns that it had.
    pub(crate) same: bool,
    /// Whether each row was kept with a digest.
    pub(crate) is_digested: bool,
    /// Those of its columns that take a value.
    pub(crate) columns: Option<Vec<String>>,
    /// Those of its primary key.
    pub(crate) key: Option<Vec<String>>,
    /// `ONLY`, where rows of its children are none of its own.
    pub(crate) own_rows: String,
}
