//! What a run is going to do: known and decided before it begins.

use super::ask::Unfinished;
use super::outcome::Verified;
use super::request::Strategy;
use crate::plan::{Frozen, Plan};
use crate::preflight::Preflight;
use crate::preflight::guard::owner::Owners;
use crate::preflight::guard::target_identity::Marking;
use crate::transfer::engine::Engine;
use crate::transfer::remap::Remap;

/// Everything that is known and decided before the first write.
#[derive(Debug, Clone)]
pub struct Intent {
    /// What the guards found.
    pub found: Preflight,
    /// How the target comes to be marked.
    pub marking: Marking,
    /// Who will own the books.
    pub owners: Owners,
    /// How the sync is split into transactions.
    pub strategy: Strategy,
    /// How books are written.
    pub engine: Engine,
    /// The run that goes on.
    pub resumed: Option<Unfinished>,
    /// The proof that there is nothing to do.
    pub equal: Option<Verified>,
}

impl Intent {
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

    /// How books change owners; as it was `frozen`, where there is a plan.
    pub(crate) fn remap(&self, frozen: Option<&Frozen>) -> Remap {
        let updated_at = frozen.map_or_else(|| self.updated_at(), |frozen| frozen.updated_at.clone());
        Remap { owners: self.owners.map(), columns: self.found.columns.clone(), updated_at }
    }

    /// Whether a plan was kept by an earlier life of the run, so that its batches may be committed.
    pub(crate) fn has_plan(&self) -> bool {
        self.resumed.as_ref().is_some_and(|unfinished| unfinished.frozen.is_some())
    }

    /// The proof that nothing is to do, where the target is not marked: then nothing is written into it at all.
    pub(crate) fn equal_and_unmarked(&self) -> Option<&Verified> {
        self.equal.as_ref().filter(|_| self.marking == Marking::MustBeTyped)
    }

    /// The run's start, where only the target has an `updatedAt`.
    fn updated_at(&self) -> Option<String> {
        Preflight::updated_at(&self.found.target, &self.found.columns)
    }
}
