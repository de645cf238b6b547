//! Guard: source and target must not be the same database, by whatever name either is reached.
//!
//! Both sides try the same advisory lock with a number that nobody else knows; a lock is local to a database, so a target
//! that does not get it while the source holds it is the source. Locks are not replicated, so a standby is told by its
//! identity.

use crate::error::{Error, Kind, Result};
use crate::sync::facts::Facts;

/// The expression that both sides evaluate, each in a transaction that stays open while the other one does.
pub fn lock(number: i64) -> String {
    format!("pg_try_advisory_xact_lock({number})")
}

/// # Errors
/// [`Kind::Refused`] when the two are one.
pub fn check(source: &Facts, target: &Facts) -> Result<()> {
    let cause = if !target.lock_was_free {
        "source and target are the same database"
    } else if source.identity == target.identity && (source.in_recovery || target.in_recovery) {
        "one of the two is a standby of the other"
    } else if target.in_recovery {
        "the target is a standby, which takes no writes"
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Refused, "could not take the target for a database of its own")
        .because(cause)
        .hint("check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets"))
}
