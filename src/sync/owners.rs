//! The target's users who are to own books, held in place by every transaction that gives them some.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::book::{OWNER_TABLE, OwnerMap};
use crate::error::{Error, Kind, Result};

/// A query that finds every user of `owners` and keeps them from being removed until the transaction ends.
pub(super) fn hold_sql(owners: &OwnerMap) -> String {
    let ids: Vec<String> = owners.users().iter().map(|user| user.0.to_string()).collect();
    let ids = ids.join(", ");
    format!(
        "SELECT count(*) AS owners FROM (SELECT FROM {OWNER_TABLE} WHERE id IN ({ids}) FOR KEY SHARE) held"
    )
}

/// Looks for the answer to [`hold_sql`] among the rows of a query that had it.
///
/// # Errors
/// [`Kind::Usage`] when one was removed since the guards looked.
pub(super) fn check_held(rows: &[PgRow], owners: &OwnerMap) -> Result<()> {
    let held = rows.iter().find_map(|row| row.try_get::<i64, _>("owners").ok());
    if held.is_some_and(|held| held.unsigned_abs() == owners.users().len() as u64) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "could not give the books to the chosen user")
        .because("the user was removed from the target meanwhile")
        .hint("`dewey-sync users` lists the users"))
}
