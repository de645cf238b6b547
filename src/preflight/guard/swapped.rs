//! Guard: a source that has been a target is a development database, so the two were probably swapped.

use crate::error::{Error, Kind, Result};
use crate::postgres::Identity;
use crate::preflight::catalog::Facts;

const WAY_OUT: &str = "swap the two URLs; if that database was promoted to production, \
     run `DROP SCHEMA dewey_sync CASCADE` in it";

const OF_COPIES: &str = "check the two URLs; if the source really is production, \
     run `DROP SCHEMA dewey_sync CASCADE` in it";

/// # Errors
/// [`Kind::Refused`] when the source has a mark that cannot be read.
pub fn check_readable(source: &Facts) -> Result<()> {
    if source.ledger && !source.ledger_readable {
        return Err(refused("it has a schema `dewey_sync`, whose mark this role may not read").hint(
            "grant USAGE on schema `dewey_sync` and SELECT on `dewey_sync.identity`, or drop that schema",
        ));
    }
    Ok(())
}

/// `marked` is the identity that the source's ledger carries, if it has a ledger. The notice, if there is something to say.
///
/// # Errors
/// [`Kind::Refused`] when the source's ledger is its own.
pub fn check(source: &Facts, target: &Facts, marked: Option<&Identity>) -> Result<Option<String>> {
    match marked {
        Some(marked) if *marked == source.identity && *marked == target.identity => Err(refused(
            "it carries the mark of a development database, of which source and target are copies",
        )
        .hint(OF_COPIES)),
        Some(marked) if *marked == source.identity => {
            Err(refused("it is marked as a development database").hint(WAY_OUT))
        }
        Some(_) => Ok(Some("the source carries the ledger of another database; it came with a dump".into())),
        None => Ok(None),
    }
}

fn refused(cause: &'static str) -> Error {
    Error::new(Kind::Refused, "the source does not look like production").because(cause)
}
