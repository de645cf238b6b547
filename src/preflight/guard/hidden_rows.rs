//! Guard: no row-level policy decides which rows are read.
//!
//! PostgreSQL would leave hidden rows out without a word: a copy would be short, a count of losses too low. Every
//! transaction runs with `row_security = off`, which makes that an error whenever it happens; this guard says it
//! beforehand. It does not ask which rows a policy shows, as nobody can tell from the outside.

use crate::config::{Endpoint, Side};
use crate::dependents::{Reach, Writes};
use crate::error::{Error, Kind, Result};
use crate::preflight::catalog::{Facts, Holds, Policed};

/// Of the source only books are read; of the target books, users, and the rows that reference books.
///
/// # Errors
/// [`Kind::Refused`] when a policy applies to one of those.
pub fn check(endpoint: &Endpoint, facts: &Facts) -> Result<()> {
    let dependents = Reach::of(facts.foreign_keys.as_deref().unwrap_or_default(), Writes::Anything);
    let dependents = dependents.map(|reach| reach.tables()).unwrap_or_default();
    let is_read = |policed: &&Policed| match (endpoint.side, policed.holds) {
        (_, Holds::Books) | (Side::Target, Holds::Users) => true,
        (Side::Source, _) => false,
        (Side::Target, Holds::Others) => dependents.contains(&policed.table.as_str()),
    };
    let policed = facts.policed.iter().flatten().filter(is_read);
    let tables: Vec<String> = policed.map(|policed| format!("`{}`", policed.table)).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let (role, tables) = (&facts.role, tables.join(", "));
    Err(Error::new(Kind::Refused, format!("could not read every row of the {}, {endpoint}", endpoint.side))
        .because(format!("row-level policies of {tables} apply to the role `{role}` and may hide rows from it"))
        .hint(format!(
            "run `ALTER ROLE {role} BYPASSRLS` as a superuser, or use the tables' owner, unless their policies are forced \
             on it; a policy that shows every row to `{role}` is not enough"
        )))
}
