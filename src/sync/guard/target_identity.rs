//! Guard: nothing is written to a database that nobody has marked as a development database.
//!
//! The mark is the database's identity in its own ledger. A ledger with another identity came with a dump and marks nothing.
//! A physical copy has identity and mark of its original: nothing in it tells that it is elsewhere now. With the original at
//! hand [`same_database`](super::same_database) says what that means; without it, a copy of a development database is one.

use crate::config::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::postgres::Identity;
use crate::sync::facts::Facts;

/// How a target comes to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// It is.
    Marked,
    /// It is on this machine and has no books to lose.
    Harmless,
    /// `--mark-development` named it.
    Named,
    /// Somebody has to type its name.
    MustBeTyped,
}

/// Decides by the identity that the target's ledger carries (`marked`), by its `books`, and by the name given with
/// `--mark-development`.
///
/// # Errors
/// [`Kind::Refused`] when that name is another database's.
pub fn check(
    endpoint: &Endpoint,
    target: &Facts,
    marked: Option<&Identity>,
    books: u64,
    name: Option<&str>,
) -> Result<Marking> {
    if marked == Some(&target.identity) {
        return Ok(Marking::Marked);
    }
    match name {
        Some(name) if name == endpoint.database => Ok(Marking::Named),
        Some(_) => Err(refused(endpoint)
            .because(format!("`--mark-development` names another database than `{}`", endpoint.database))
            .hint("give the name of the target's database, if it really is a development database")),
        None if endpoint.is_local() && books == 0 => Ok(Marking::Harmless),
        None => Ok(Marking::MustBeTyped),
    }
}

/// The refusal when the name cannot be asked for.
pub fn unmarked(endpoint: &Endpoint) -> Error {
    refused(endpoint)
        .because("it was never marked as a development database, and `--yes` does not do that")
        .hint(format!(
            "if it really is one, run once with `--mark-development {}`, or on a terminal without `--yes`",
            endpoint.database
        ))
}

fn refused(endpoint: &Endpoint) -> Error {
    Error::new(Kind::Refused, format!("could not take {endpoint} for a development database"))
}
