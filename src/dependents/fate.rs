//! What happens to rows that refer to books.

use serde::{Deserialize, Serialize};

/// What happens to the rows of a dependent table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// They are removed.
    Removed,
    /// A column of them changes: they lose their reference, or it follows what they refer to.
    Detached,
    /// They keep the books from being removed.
    Blocking,
}
