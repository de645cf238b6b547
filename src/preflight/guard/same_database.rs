//! Guard: source and target must not be the same database, by whatever name either is reached.
//!
//! Both sides try the same advisory lock with a number that nobody else knows, and keep what they got until both have
//! answered; a lock is local to a database, so if one of them does not get it, the target is the source. Locks are not
//! replicated, so a standby is told by its identity: the system identifier, which every physical copy of a cluster keeps,
//! and the database's oid.
//!
//! Two databases of one identity, both out of recovery and each with a lock of its own, are physical copies of one: a
//! restored base backup, a cloned disk, a branch of a hosted service, a promoted standby. They are allowed and named. In
//! such a pair the mark of a development database is no proof of where it was made, because a copy made later has it too:
//!
//! - production restored as development: neither is marked. The target has production's books, so its name has to be
//!   given, and the mark that this makes is in the target alone.
//! - development restored as production: both are marked, so either one is refused as a source (see
//!   [`swapped`](crate::preflight::guard::swapped)), until the schema `dewey_sync` is dropped in the one that is production.
//!
//! So whoever is the source of such a pair has no mark, and a mark of the target was made after the two parted, or was
//! left there on purpose.

use crate::error::{Error, Kind, Result};
use crate::preflight::catalog::Facts;

const CHECK_URLS: &str =
    "check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets";

/// The expression that both sides evaluate, each in a transaction that stays open while the other one does.
pub fn lock(number: i64) -> String {
    format!("pg_try_advisory_xact_lock({number})")
}

/// # Errors
/// [`Kind::Refused`] when the two are one, or one follows the other, or the target is a standby.
pub fn check(source: &Facts, target: &Facts) -> Result<()> {
    let copies = source.identity == target.identity;
    if !(source.lock_was_free && target.lock_was_free) {
        return Err(refused("source and target are the same database").hint(CHECK_URLS));
    }
    if copies && target.in_recovery {
        return Err(refused("the target is a standby of the source").hint(CHECK_URLS));
    }
    if copies && source.in_recovery {
        return Err(refused("the source is a standby of the target, or of what the target is a copy of")
            .hint("name production's primary as the source, and check that it is not the target"));
    }
    check_alone(target)
}

/// What can be told of a target without a source.
///
/// # Errors
/// [`Kind::Refused`] when it is a standby.
pub fn check_alone(target: &Facts) -> Result<()> {
    if target.in_recovery {
        return Err(refused("the target is a standby, which takes no writes").hint(CHECK_URLS));
    }
    Ok(())
}

/// The notice when [`check`] has let physical copies pass.
pub fn notice(source: &Facts, target: &Facts) -> Option<String> {
    let text = "source and target are physical copies of one database, which have the same identity";
    (source.identity == target.identity).then(|| text.into())
}

fn refused(fact: &'static str) -> Error {
    Error::new(Kind::Refused, fact)
}
