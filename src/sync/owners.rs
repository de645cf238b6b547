//! The target's users who are to own books, held in place by every transaction that gives them some.

use sqlx::Row;

use crate::book::{OWNER_TABLE, OwnerMap};
use crate::error::{Error, Kind, Result};
use crate::postgres::query::Query;

/// How many of the users who are to own books are there.
pub(super) struct Held {
    wanted: usize,
    found: i64,
}

/// Finds every user of `owners`, and keeps them from being removed until the transaction ends.
pub(super) fn hold(owners: &OwnerMap) -> Query<'static, Held> {
    let users = owners.users();
    let ids: Vec<String> = users.iter().map(|user| user.0.to_string()).collect();
    let (ids, wanted) = (ids.join(", "), users.len());
    let sql =
        format!("SELECT count(*) FROM (SELECT FROM {OWNER_TABLE} WHERE id IN ({ids}) FOR KEY SHARE) held");
    Query::last_row(sql, move |row| Ok(Held { wanted, found: row.try_get(0)? }))
}

impl Held {
    /// # Errors
    /// [`Kind::Usage`] when one was removed since the guards looked.
    pub(super) fn check(&self) -> Result<()> {
        if self.found.unsigned_abs() == self.wanted as u64 {
            return Ok(());
        }
        Err(Error::new(Kind::Usage, "could not give the books to the chosen user")
            .because("the user was removed from the target meanwhile")
            .hint("`dewey-sync users` lists the users"))
    }
}
