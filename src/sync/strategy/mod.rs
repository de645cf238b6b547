//! Where the transactions end.

pub mod atomic;
pub mod batched;
mod batches;
mod reconcile;
mod restage;
pub mod staged;

use std::time::Duration;

use futures_util::TryStreamExt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::export::{self, Chunk, ChunkSize};
use super::import::{import, import_into_stage};
use super::plan::{Frozen, Plan, Range};
use super::preflight::Sides;
use super::remap::Remap;
pub(in crate::sync) use restage::{Staged, finish};

use crate::book::{self, CopiedColumns, TargetBook};
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::ledger::run::{Tenure, record_plan, taken_over};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::{Fault, Limit, SourceTx, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Attempt, Policy, fault_of, retry};
use crate::sync::{SYNC, UNCHANGED, unless_cancelled};

/// The strategies, by their names on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A transaction a batch into a stage; once it is verified, one short transaction makes the books equal to it.
    #[default]
    Staged,
    /// One transaction on the target, one snapshot on the source: all or nothing. It holds back vacuum on the source
    /// while it runs.
    Atomic,
    /// Delete in one transaction, then a transaction a batch: other batches go on when one fails.
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
    /// Batches at the same time.
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
    /// The plan of a run that is resumed.
    pub frozen: Option<Frozen>,
    /// How books change owners.
    pub remap: Remap,
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

/// Rows of a copied range.
#[derive(Debug, Clone, Copy, Default)]
struct Copied {
    exported: u64,
    inserted: u64,
}

impl Job<'_> {
    /// Copies the books of `select`, of which the plan saw `books`, from an open snapshot into an open transaction,
    /// chunk by chunk.
    async fn copy(
        &self,
        source: &SourceTx<'_>,
        target: &Tx<'_>,
        select: sea_orm::Select<book::Entity>,
        books: u64,
        attempt: Attempt,
        destination: Destination,
    ) -> Result<Copied> {
        let size = ChunkSize::of(books).halved(attempt.shrinks);
        let mut chunks = std::pin::pin!(export::chunks(source, select, size));
        let mut copied = Copied::default();
        loop {
            let chunk = chunks.try_next().await;
            let chunk = chunk.map_err(|fault| fault.error("could not read books from the source"))?;
            let Some(Chunk(books)) = chunk else { return Ok(copied) };
            copied.exported += books.len() as u64;
            let books: Vec<TargetBook> =
                books.into_iter().map(|book| self.remap.apply(book)).collect::<Result<_>>()?;
            let inserted = match destination {
                Destination::Book => import(target, books, self.remap.columns.made_up()).await,
                Destination::Stage => import_into_stage(target, self.tenure.run_id, books).await,
            };
            copied.inserted += inserted.map_err(|fault| fault.error("could not insert books"))?;
        }
    }

    /// The plan: that of the run that is resumed, or a new one, kept in the ledger before anything is written.
    async fn plan(&self) -> Result<Plan> {
        self.progress.event(&Event::Phase { phase: Phase::Planning });
        let plan = if let Some(frozen) = &self.frozen {
            frozen.plan.clone()
        } else {
            let made = retry(self.tuning.retry, "the plan", self.cancel, self.progress, async |_| {
                unless_cancelled(self.cancel, SYNC, self.make_plan()).await
            });
            made.await.map_err(|error| error.state(UNCHANGED))?
        };
        self.progress.event(&Event::Planned { batches: plan.ranges.len(), books: plan.books });
        Ok(plan)
    }

    async fn make_plan(&self) -> Result<Plan> {
        let planning = |fault: Fault| fault.error("could not plan the batches");
        let query = Plan::query(self.tuning.batch_size);
        let source = self.sides.source.snapshot(self.tuning.whole_table(), &query).await;
        let (source, rows) = source.map_err(planning)?;
        let plan = Plan::from_rows(&rows).map_err(planning)?;
        source.finish().await.map_err(planning)?;
        let Remap { columns, owners, updated_at } = self.remap.clone();
        let frozen = Frozen { plan, columns: columns.names(), owners, updated_at };
        record_plan(&self.sides.target, self.tenure, &frozen).await.map_err(planning)?;
        Ok(frozen.plan)
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
    let duplicate = fault_of(&error).is_some_and(|fault| fault.sqlstate() == Some("23505"));
    if !duplicate {
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
