//! What is known and decided before a run begins.

use super::ask::Unfinished;
use super::outcome::Verified;
use super::request::Strategy;
use crate::plan::{Frozen, Plan};
use crate::preflight::Preflight;
use crate::preflight::guard::owner::Owners;
use crate::transfer::engine::Engine;

/// Everything that is known and decided before the first write.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What the guards found.
    pub found: Preflight,
    /// Who will own the books.
    pub owners: Owners,
    /// Where the transactions end.
    pub strategy: Strategy,
    /// How books are written.
    pub engine: Engine,
    /// The run that goes on.
    pub resumed: Option<Unfinished>,
    /// The proof that there is nothing to do.
    pub equal: Option<Verified>,
}

impl Prepared {
    /// What is kept before anything is written: that of the run that is resumed, or a new plan. `atomic` needs none.
    pub(crate) fn freeze(&self) -> Option<Frozen> {
        let Self { found, owners, strategy, resumed, .. } = self;
        let kept = resumed.as_ref().and_then(|unfinished| unfinished.frozen.clone());
        if kept.is_some() || *strategy == Strategy::Atomic {
            return kept;
        }
        Some(Frozen {
            plan: Plan::from_ends(found.source_books.ranges.as_deref().unwrap_or_default()),
            columns: found.columns.names(),
            owners: owners.map(),
            updated_at: self.updated_at(),
        })
    }

    /// The run's start, where only the target has an `updatedAt`.
    pub(crate) fn updated_at(&self) -> Option<String> {
        Preflight::updated_at(&self.found.target, &self.found.columns)
    }
}
