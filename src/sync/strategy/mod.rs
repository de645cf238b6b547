//! Where the transactions end.

pub mod atomic;
pub mod batched;
mod reconcile;

use std::time::Duration;

use futures_util::TryStreamExt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::export::{self, Chunk, ChunkSize};
use super::import::import;
use super::plan::Range;
use super::preflight::Sides;
use super::remap::Remap;
use crate::book::{self, TargetBook};
use crate::error::{Error, Kind, Result};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::{Limit, SourceTx, Tx};
use crate::progress::{Event, Progress};
use crate::retry::{Attempt, Policy, fault_of};

/// The strategies, by their names on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
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
            Self::Atomic => "atomic",
            Self::Batched => "batched",
        }
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
    /// For one statement of a batch, and for a server's silence during one on a whole table.
    pub batch_timeout: Duration,
}

impl Tuning {
    /// For one statement on a whole table; a million books take tens of seconds.
    pub fn whole_table(&self) -> Limit {
        Limit::Heartbeat(self.batch_timeout)
    }
}

/// One run past its guards and its question.
pub struct Job<'a> {
    /// The two databases.
    pub sides: &'a Sides,
    /// The row of the ledger.
    pub run_id: i64,
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
    fn new(fingerprint: Fingerprint, snapshot_at: String) -> Self {
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
const SNAPSHOT_TIME: &str = "SELECT to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";

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
    ) -> Result<Copied> {
        let size = ChunkSize::of(books).halved(attempt.shrinks);
        let mut chunks = std::pin::pin!(export::chunks(source, select, size));
        let mut copied = Copied::default();
        loop {
            let chunk = chunks.try_next().await;
            let chunk = chunk.map_err(|fault| fault.error("could not read books from the source"))?;
            let Some(Chunk(books)) = chunk else { return Ok(copied) };
            copied.exported += books.len() as u64;
            let books: Vec<TargetBook> = books.into_iter().map(|book| self.remap.apply(book)).collect();
            copied.inserted +=
                import(target, books).await.map_err(|fault| fault.error("could not insert books"))?;
        }
    }

    fn announce(&self, range: &Range, batches: usize, copied: Copied) {
        let Copied { exported: books, inserted } = copied;
        self.progress.event(&Event::Batch { batch: range.batch, batches, books, inserted });
    }

    /// What a deadlock or a lost connection may have left to the claim.
    fn lost_run(&self) -> Error {
        Error::new(Kind::Busy, "the run was ended by another one")
            .because(format!("run {} is not running any more in the ledger", self.run_id))
            .hint("`dewey-sync history` lists the runs")
    }
}

/// What to do when it was not the source that made a difference.
const OTHER_WRITER: &str =
    "look for triggers or rules on the target's `\"Book\"`, and for another program that writes to it";

/// The state when nothing was committed.
const UNCHANGED: &str = "`\"Book\"` is unchanged";

/// The error when the chosen owner was removed since the guards looked.
fn owner_is_gone() -> Error {
    Error::new(Kind::Usage, "could not give the books to the chosen user")
        .because("the user was removed from the target meanwhile")
        .hint("`dewey-sync users` lists the users")
}

/// The ids of books that cannot all be in the target, when that is why a batch failed.
async fn explain_duplicates(mut error: Error, source: &SourceTx<'_>) -> Error {
    let duplicate = fault_of(&error).is_some_and(|fault| fault.sqlstate() == Some("23505"));
    if !duplicate {
        return error;
    }
    if let Ok(groups) = export::duplicates(source).await
        && !groups.is_empty()
    {
        let groups: Vec<String> =
            groups.iter().map(|group| format!("{} ({})", group.ids, group.column)).collect();
        error.hint = Some(format!("these source books have a unique value in common: {}", groups.join("; ")));
    }
    error
}
