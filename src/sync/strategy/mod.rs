//! Where the transactions end.

pub mod atomic;
pub mod batched;
mod batches;
mod reconcile;
mod restage;
pub mod staged;
mod trial;

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::export::{self, Books};
use super::guard::dependents::{Agreement, ForeignKey};
use super::guard::empty_source::{self, EmptySource};
use super::import::{Copied, Engine, Text, Transfer, is_duplicate_key};
use super::plan::{Plan, Range};
use super::preflight::Sides;
use super::remap::Remap;
pub(in crate::sync) use restage::{Staged, finish};

use crate::book::CopiedColumns;
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::ledger::run::{Tenure, taken_over};
use crate::postgres::effects::{Bounds, Losing};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::{Limit, SourceTx, Tx};
use crate::progress::{Event, Progress};
use crate::retry::{Attempt, Policy};

/// The strategies, by their names on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One transaction per batch into a staging table; once that is verified, one short transaction makes the books equal to it.
    #[default]
    Staged,
    /// One transaction on the target, one snapshot on the source: all or nothing. It holds back vacuum on the source
    /// while it runs.
    Atomic,
    /// Delete in one transaction, then one transaction per batch: other batches go on when one fails, the old books are gone.
    Batched,
}

impl Strategy {
    /// The name on the command line, in the ledger and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Atomic => "atomic",
            Self::Batched => "batched",
        }
    }

    /// The strategy of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Staged, Self::Atomic, Self::Batched].into_iter().find(|strategy| strategy.name() == name)
    }

    /// Whether every old book is removed, with what hangs on it.
    pub const fn removes_all(self) -> bool {
        !matches!(self, Self::Staged)
    }
}

/// Numbers that a strategy is tuned with.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Rows of a batch at most.
    pub batch_size: u32,
    /// Batches copied in parallel.
    pub jobs: usize,
    /// How often a failed attempt is repeated.
    pub retry: Policy,
    /// For one statement of a batch; a statement on the whole table may take as long as its server shows life within
    /// this time.
    pub batch_timeout: Duration,
    /// How long another run on the target is waited for.
    pub lock_wait: Duration,
}

impl Tuning {
    /// For a statement on the whole table.
    pub fn whole_table(&self) -> Limit {
        Limit::Heartbeat(self.batch_timeout)
    }
}

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
    pub progress: &'a super::report::Tally<'a>,
}

/// Source and target were found equal; the proof that a strategy ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    fingerprint: Fingerprint,
    snapshot_at: String,
}

impl Verified {
    pub(super) fn new(fingerprint: Fingerprint, snapshot_at: String) -> Self {
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

/// The source's clock, as the first row of a snapshot's first query.
pub(super) const SNAPSHOT_TIME: &str = "SELECT to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";

impl Job<'_> {
    /// Copies `books`, of which the plan saw `planned`, from an open snapshot into an open transaction.
    async fn copy(
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

    fn transfer(&self, destination: Destination) -> Transfer<'_> {
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
    fn bounds(&self) -> Bounds {
        if self.agreement == Agreement::ByFlag {
            Bounds::KnownLosses
        } else {
            Bounds::Within(Losing::default())
        }
    }

    /// Stops where the source has lost its books since the guards looked; `found` is of one snapshot of it.
    fn check_source(&self, found: Fingerprint) -> Result<()> {
        empty_source::check(found.rows.unsigned_abs(), self.old_books, self.empty_source)
    }

    /// The plan, told to whoever watches.
    fn plan(&self) -> &Plan {
        let Plan { ranges, books } = &self.plan;
        self.progress.event(&Event::Planned { batches: ranges.len(), books: *books });
        &self.plan
    }

    fn announce(&self, range: &Range, batches: usize, copied: Copied, destination: Destination) {
        let Copied { exported: books, inserted } = copied;
        let batch = range.batch;
        self.progress.event(&match destination {
            Destination::Book => Event::Batch { batch, batches, books, inserted },
            Destination::Stage => Event::Staged { batch, batches, books },
        });
    }

    /// What a deadlock or a lost connection may have left to the claim.
    pub(super) fn lost_run(&self) -> Error {
        taken_over(self.tenure)
    }

    /// What continues this run.
    fn resume_hint(&self) -> String {
        format!("`dewey-sync sync --resume {}` goes on where it stopped", self.tenure.run_id)
    }
}

/// What to do when it was not the source that made a difference.
pub(super) const OTHER_WRITER: &str =
    "look for triggers or rules on the target's `\"Book\"`, and for another program that writes to it";

/// The ids of books that cannot all be in the target, when that is why a batch failed.
async fn explain_duplicates(mut error: Error, source: &SourceTx<'_>, columns: &CopiedColumns) -> Error {
    if !is_duplicate_key(&error) {
        return error;
    }
    if let Ok(groups) = export::duplicates(source, columns).await
        && !groups.is_empty()
    {
        let groups: Vec<String> =
            groups.iter().map(|group| format!("{} ({})", group.ids, group.column)).collect();
        error.hint = Some(format!("these source books have a unique value in common: {}", groups.join("; ")));
    }
    error
}
