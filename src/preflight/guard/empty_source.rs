//! Guard: a source without books does not empty a target that has some, because it is rather the wrong database, the wrong
//! schema, or a production that has just lost its books.

use crate::error::{Error, Kind, Result};

/// What a source without books means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptySource {
    /// That something is wrong.
    Refused,
    /// What it says: `--allow-empty-source`.
    Allowed,
}

/// `source` and `target` are numbers of books.
///
/// # Errors
/// [`Kind::Refused`] when the target would lose all of its own to none.
pub fn check(source: u64, target: u64, empty: EmptySource) -> Result<()> {
    if source > 0 || target == 0 || empty == EmptySource::Allowed {
        return Ok(());
    }
    let lost = if target == 1 { "1 book".into() } else { format!("{target} books") };
    Err(Error::new(Kind::Refused, "production has no books")
        .because(format!("the target would lose {lost}"))
        .hint("check the source's URL and its `schema` parameter; if production has no books, add `--allow-empty-source`"))
}
