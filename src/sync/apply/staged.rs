//! What is applied.

use super::keep::Kept;
use super::write::Written;
use crate::dependents::ForeignKey;
use crate::error::Result;
use crate::postgres::{Fault, SourceTx, Tx};
use crate::sync::changes::Changes;
use crate::sync::outcome::Verified;

/// The stage, found equal to a snapshot of the source, and what it would change.
pub(crate) struct Staged<'a> {
    /// The proof.
    pub(crate) verified: Verified,
    /// Counted in the same look at the target.
    pub(crate) changes: Changes,
    /// The target's foreign keys, by which the dependents were counted.
    pub(crate) keys: Vec<ForeignKey>,
    /// The transaction of the snapshot, as long as nobody waits for a person.
    pub(crate) snapshot: Option<SourceTx<'a>>,
    /// A book table that was empty, filled from the stage and compared, but not committed.
    pub(crate) filled: Option<Filled<'a>>,
}

/// Ends the source's transaction, if it is not ended.
pub(crate) async fn finish(snapshot: Option<SourceTx<'_>>) -> Result<(), Fault> {
    match snapshot {
        Some(snapshot) => snapshot.finish().await,
        None => Ok(()),
    }
}

/// The open transaction with every write but the outcome's.
pub(crate) struct Filled<'a> {
    pub(crate) tx: Tx<'a>,
    pub(crate) kept: Kept,
    pub(crate) written: Written,
}

impl Filled<'_> {
    /// Whether the books are those that were verified.
    pub(crate) fn holds(&self, verified: &Verified) -> bool {
        self.written.copied == verified.fingerprint()
    }

    /// What it did.
    pub(crate) fn changes(&self) -> Changes {
        let Self { kept: Kept { removed, changed, dependents, .. }, written, .. } = self;
        let (removed, changed, new) = (*removed, *changed, written.new);
        let unchanged = written.state.rows.unsigned_abs().saturating_sub(new + changed);
        Changes { new, changed, removed, unchanged, private: written.private, dependents: dependents.clone() }
    }
}
