//! One run past its guards and its question.

use tokio_util::sync::CancellationToken;

use super::request::Tuning;
use crate::dependents::{Agreement, ForeignKey};
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::ledger::run::{Tenure, taken_over};
use crate::plan::{Plan, Range};
use crate::postgres::effects::{Bounds, Losing};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::{SourceTx, Tx};
use crate::preflight::Sides;
use crate::preflight::guard::empty_source::{self, EmptySource};
use crate::progress::{Event, Progress};
use crate::retry::Attempt;
use crate::transfer::engine::Engine;
use crate::transfer::export::Books;
use crate::transfer::import::Text;
use crate::transfer::import::transfer::{Copied, Transfer};
use crate::transfer::remap::Remap;

/// One run past its guards and its question.
pub struct Job<'a> {
    /// The two databases.
    pub sides: &'a Sides,
    /// The row of the ledger and the right to write.
    pub tenure: Tenure,
    /// What will be copied; `atomic` plans anew in the snapshot of each attempt.
    pub plan: Plan,
    /// Whether batches of the plan may be committed already.
    pub resumed: bool,
    /// How books change owners.
    pub remap: Remap,
    /// How they are written.
    pub engine: Engine,
    /// Kept from batch to batch.
    pub text: Text,
    /// The target's foreign keys, as the guards found them.
    pub keys: &'a [ForeignKey],
    /// How losses of other tables are agreed to.
    pub agreement: Agreement,
    /// Books that the target had when the guards looked.
    pub old_books: u64,
    /// What it means that the source has none any more.
    pub empty_source: EmptySource,
    /// Numbers.
    pub tuning: Tuning,
    /// Fires at the first signal.
    pub cancel: &'a CancellationToken,
    /// Who is told.
    pub progress: &'a crate::sync::tally::Tally<'a>,
}

impl Job<'_> {
    /// Copies `books`, of which the plan saw `planned`, from an open snapshot into an open transaction.
    pub(crate) async fn copy(
        &self,
        source: &SourceTx<'_>,
        target: &Tx<'_>,
        books: Books<'_>,
        planned: u64,
        attempt: Attempt,
        destination: Destination,
    ) -> Result<Copied> {
        let transfer = self.transfer(destination);
        transfer.import(target, transfer.export(source, books, planned, attempt.shrinks)).await
    }

    pub(crate) fn transfer(&self, destination: Destination) -> Transfer<'_> {
        Transfer {
            engine: self.engine,
            remap: &self.remap,
            destination,
            run_id: self.tenure.run_id,
            text: &self.text,
            is_single: destination == Destination::Stage && self.plan.ranges.len() <= self.tuning.jobs,
        }
    }

    /// What a transaction that only inserts books may do besides, unless more was asked about.
    pub(crate) fn bounds(&self) -> Bounds {
        if self.agreement == Agreement::ByFlag {
            Bounds::KnownLosses
        } else {
            Bounds::Within(Losing::default())
        }
    }

    /// Stops where the source has lost its books since the guards looked; `found` is of one snapshot of it.
    pub(crate) fn check_source(&self, found: Fingerprint) -> Result<()> {
        empty_source::check(found.rows.unsigned_abs(), self.old_books, self.empty_source)
    }

    /// The plan, told to whoever watches.
    pub(crate) fn plan(&self) -> &Plan {
        let Plan { ranges, books } = &self.plan;
        self.progress.event(&Event::Planned { batches: ranges.len(), books: *books });
        &self.plan
    }

    pub(crate) fn announce(&self, range: &Range, batches: usize, copied: Copied, destination: Destination) {
        let Copied { exported: books, inserted } = copied;
        let batch = range.batch;
        self.progress.event(&match destination {
            Destination::Book => Event::Batch { batch, batches, books, inserted },
            Destination::Stage => Event::Staged { batch, batches, books },
        });
    }

    /// What a deadlock or a lost connection may have left to the claim.
    pub(crate) fn lost_run(&self) -> Error {
        taken_over(self.tenure)
    }

    /// What continues this run.
    pub(crate) fn resume_hint(&self) -> String {
        format!("`dewey-sync sync --resume {}` goes on where it stopped", self.tenure.run_id)
    }
}
