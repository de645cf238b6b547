//! The foreign keys that a query is written for, which may be others by the time it runs.
//!
//! They are read by the same query, so that asking costs no round trip, and the query runs anew when they differ.

use super::{ForeignKey, foreign_keys};
use crate::book::BOOK_OID;
use crate::postgres::query::Query;
use crate::postgres::{Fault, Limit, Target};

/// Every foreign key of the database.
pub(crate) fn query() -> Query<'static, Vec<ForeignKey>> {
    Query::json(format!("SELECT coalesce({}, '[]')::text", foreign_keys(BOOK_OID)))
}

/// Whether both are the same, in any order.
pub(crate) fn are_same(some: &[ForeignKey], others: &[ForeignKey]) -> bool {
    some.len() == others.len() && some.iter().all(|key| others.contains(key))
}

/// Result of a query that was built from a list of foreign keys.
pub(crate) enum Keys<T> {
    /// The list was current.
    Current(T),
    /// The keys had changed to these.
    Changed(Vec<ForeignKey>),
}

/// Runs `ask` until `keys` are those that it finds; they are then the right ones. A table that is gone is no reason to
/// fail, unless it is the book table.
pub(crate) async fn with_current_keys<T>(
    target: &Target,
    limit: Limit,
    keys: &mut Vec<ForeignKey>,
    mut ask: impl AsyncFnMut(&[ForeignKey]) -> Result<Keys<T>, Fault>,
) -> Result<T, Fault> {
    loop {
        *keys = match ask(keys).await {
            Ok(Keys::Current(answer)) => return Ok(answer),
            Ok(Keys::Changed(now)) => {
                target.check_book(limit).await?;
                now
            }
            Err(fault) if names_what_is_gone(&fault) => {
                let now = target.read_once(limit, query()).await?;
                target.check_book(limit).await?;
                if are_same(keys, &now) {
                    return Err(fault);
                }
                now
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// A table or a column, or a relation under its lock.
fn names_what_is_gone(fault: &Fault) -> bool {
    fault.sqlstate().is_some_and(|state| ["42P01", "42703", "3F000"].contains(&state))
}
