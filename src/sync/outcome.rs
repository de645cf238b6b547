//! How a sync ends, and the sentences about the state that it leaves.

use sqlx::Row;

use super::tally::Tally;
use crate::error::{Error, Kind};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::query::Query;
use crate::preflight::guard::owner::Owners;
use crate::progress::{Event, Progress};

/// What it is called when it is retried or interrupted.
pub(crate) const SYNC: &str = "the sync";

/// The state when nothing was committed.
pub const UNCHANGED: &str = "`\"Book\"` is unchanged";

/// The state when another run took over.
pub(crate) const UP_TO_THE_OTHER: &str = "what `\"Book\"` holds is up to the other run";

/// The only mode of this version: every row travels.
pub const MODE: &str = "full";

/// A sync that succeeded.
#[derive(Debug, Clone)]
pub struct Synced {
    /// Who owns the books now.
    pub owners: Owners,
    /// The proof.
    pub verified: Verified,
    /// Both sides were equal before.
    pub nothing_to_do: bool,
}

pub(crate) fn nothing_to_do(owners: &Owners, verified: &Verified, progress: &Tally<'_>) -> Synced {
    let print = verified.fingerprint();
    progress.event(&Event::Unchanged { rows: print.rows, digest: print.digest_hex() });
    Synced { owners: owners.clone(), verified: verified.clone(), nothing_to_do: true }
}

/// A signal is the one failure that comes as well before the target was reached, and says nothing of it.
pub(crate) fn unchanged_if_interrupted(error: Error) -> Error {
    if error.kind == Kind::Interrupted { again_if_interrupted(unchanged(error)) } else { error }
}

/// What is left to do where there is nothing to resume.
pub(crate) fn again_if_interrupted(error: Error) -> Error {
    if error.kind == Kind::Interrupted { error.hint("run `dewey-sync sync` again") } else { error }
}

pub(crate) fn unchanged(error: Error) -> Error {
    error.state(UNCHANGED)
}

/// Source and target were found equal; the proof that a strategy ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    fingerprint: Fingerprint,
    snapshot_at: String,
}

impl Verified {
    pub(crate) fn new(fingerprint: Fingerprint, snapshot_at: String) -> Self {
        Self { fingerprint, snapshot_at }
    }

    /// Of both sides.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The source's clock at the snapshot that was compared, RFC 3339.
    pub fn snapshot_at(&self) -> &str {
        &self.snapshot_at
    }
}

/// The source's clock, RFC 3339; asked first, so that it is that of the snapshot.
pub(crate) fn snapshot_time() -> Query<'static, String> {
    let sql = "SELECT to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    Query::last_row(sql, |row| Ok(row.try_get(0)?))
}

/// What to do when it was not the source that made a difference.
pub(crate) const OTHER_WRITER: &str =
    "look for triggers or rules on the target's `\"Book\"`, and for another program that writes to it";
