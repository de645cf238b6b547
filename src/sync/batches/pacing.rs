//! Back-pressure between the batches and a fill of the book table that follows them.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::plan::Range;

/// Tells whoever fills ahead which batches are staged, until it is dropped, and lets batches wait for that.
pub(crate) struct Pacing {
    staged: watch::Sender<StagedBatches>,
    filled: watch::Receiver<usize>,
    /// How many batches may be staged and not filled.
    margin: usize,
}

/// The other end of [`Pacing`].
pub(crate) struct FillProgress {
    pub(crate) staged: watch::Receiver<StagedBatches>,
    pub(crate) filled: watch::Sender<usize>,
}

/// Numbers of batches.
#[derive(Debug, Default)]
pub(crate) struct StagedBatches {
    /// So many of the first ones are staged.
    pub(crate) leading: usize,
    /// These are, too, but not those between.
    beyond: BTreeSet<usize>,
    /// One never will be.
    pub(crate) is_incomplete: bool,
}

impl Pacing {
    /// Whether a plan of so many batches is worth it: with few, all are staged before one is filled.
    pub(crate) fn is_worth_it(batches: usize, jobs: usize) -> bool {
        batches > margin(jobs)
    }

    /// Nothing is staged yet.
    pub(crate) fn new(jobs: usize) -> (Self, FillProgress) {
        let ((staged, seen), (filled, known)) = (watch::channel(StagedBatches::default()), watch::channel(0));
        (Self { staged, filled: known, margin: margin(jobs) }, FillProgress { staged: seen, filled })
    }

    /// A batch is committed.
    pub(crate) fn copied(&self, range: &Range) {
        self.staged.send_modify(|StagedBatches { leading, beyond, .. }| {
            beyond.insert(range.batch);
            while beyond.remove(&(*leading + 1)) {
                *leading += 1;
            }
        });
    }

    /// A batch failed for good, so that the fill will come to nothing.
    pub(crate) fn failed(&self) {
        self.staged.send_modify(|staged| staged.is_incomplete = true);
    }

    /// Waits while the fill lags far behind: it shall have the time that more staging would take from it.
    pub(crate) async fn wait_for_turn(&self, range: &Range) {
        let is_near = |filled: &usize| range.batch <= filled + self.margin;
        // When nobody fills any more, nobody waits.
        let _ = self.filled.clone().wait_for(is_near).await;
    }
}

const fn margin(jobs: usize) -> usize {
    2 * jobs
}
