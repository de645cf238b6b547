//! Begins to fill an empty book table while later batches are still on their way to the stage: the inserts are most of the
//! work, and one session does them.
//!
//! The run does not depend on it: whatever comes in its way, it is given up and the table is filled when everything is
//! staged. It locks no table and claims nothing before that, because writers need the one, batches and whoever takes over
//! the other; but a book with one of its keys waits, and so does a change of the table.

use std::collections::BTreeSet;

use sqlx::Row;
use tokio::sync::watch;

use super::write::first_fill_sql;
use crate::book::TABLE;
use crate::error::Result;
use crate::postgres::{Fault, Tx};
use crate::sync::owners;
use crate::sync::plan::{Plan, Range};
use crate::sync::strategy::Job;
use crate::sync::{SYNC, unless_cancelled};

/// The open transaction that has inserted the books of the first batches.
pub(in crate::sync) struct Ahead<'a> {
    pub(super) tx: Tx<'a>,
    /// The last source id of those batches.
    pub(super) through: i32,
}

/// Tells whoever fills ahead which batches are staged, until it is dropped, and lets batches wait for that.
pub(in crate::sync) struct Leading {
    staged: watch::Sender<StagedBatches>,
    filled: watch::Receiver<usize>,
    /// How many batches may be staged and not filled.
    margin: usize,
}

/// The other end of [`Leading`].
pub(in crate::sync) struct Following {
    staged: watch::Receiver<StagedBatches>,
    filled: watch::Sender<usize>,
}

/// Numbers of batches.
#[derive(Debug, Default)]
struct StagedBatches {
    /// So many of the first ones are staged.
    leading: usize,
    /// These are, too, but not those between.
    beyond: BTreeSet<usize>,
    /// One never will be.
    is_incomplete: bool,
}

impl Leading {
    /// Whether a plan of so many batches is worth it: with few, all are staged before one is filled.
    pub(in crate::sync) fn is_worth_it(batches: usize, jobs: usize) -> bool {
        batches > margin(jobs)
    }

    /// Nothing is staged yet.
    pub(in crate::sync) fn new(jobs: usize) -> (Self, Following) {
        let ((staged, seen), (filled, known)) = (watch::channel(StagedBatches::default()), watch::channel(0));
        (Self { staged, filled: known, margin: margin(jobs) }, Following { staged: seen, filled })
    }

    /// For batches that nobody follows.
    pub(in crate::sync) fn alone() -> Self {
        Self::new(1).0
    }

    /// A batch is committed.
    pub(in crate::sync) fn copied(&self, range: &Range) {
        self.staged.send_modify(|StagedBatches { leading, beyond, .. }| {
            beyond.insert(range.batch);
            while beyond.remove(&(*leading + 1)) {
                *leading += 1;
            }
        });
    }

    /// A batch failed for good, so that the fill will come to nothing.
    pub(in crate::sync) fn failed(&self) {
        self.staged.send_modify(|staged| staged.is_incomplete = true);
    }

    /// Waits while the fill lags far behind: it shall have the time that more staging would take from it.
    pub(in crate::sync) async fn wait_for_turn(&self, range: &Range) {
        let is_near = |filled: &usize| range.batch <= filled + self.margin;
        // When nobody fills any more, nobody waits.
        let _ = self.filled.clone().wait_for(is_near).await;
    }
}

const fn margin(jobs: usize) -> usize {
    2 * jobs
}

/// Inserts batch by batch as they are `staged`, until no more are. `None` where that could not begin or did not work out.
pub(in crate::sync) async fn fill_ahead<'a>(
    job: &Job<'a>,
    plan: &Plan,
    following: Following,
) -> Option<Ahead<'a>> {
    let filling = async {
        let filled = insert_ahead(job, plan, following).await;
        filled.map_err(|fault| fault.error("could not fill the books ahead"))
    };
    unless_cancelled(job.cancel, SYNC, filling).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the books were not filled ahead");
        None
    })
}

async fn insert_ahead<'a>(
    job: &Job<'a>,
    plan: &Plan,
    Following { mut staged, filled: told }: Following,
) -> Result<Option<Ahead<'a>>, Fault> {
    let mut filled: Option<Ahead<'a>> = None;
    // The last range is open, and left to the end of the fill.
    for range in &plan.ranges {
        let is_known = |staged: &StagedBatches| staged.is_incomplete || staged.leading >= range.batch;
        if staged.wait_for(is_known).await.is_ok_and(|staged| staged.is_incomplete) {
            return Ok(None);
        }
        let (Some(through), Ok(_)) = (range.through, staged.has_changed()) else {
            // All are staged, and the rest is inserted at once.
            break;
        };
        let tx = match filled.take() {
            Some(Ahead { tx, .. }) => tx,
            None => match begin(job).await? {
                Some(tx) => tx,
                None => break,
            },
        };
        let batch = range.condition("s.source_id");
        tx.execute_simple(&first_fill_sql(job.tenure.run_id, &job.remap, &batch)).await?;
        filled = Some(Ahead { tx, through });
        told.send_replace(range.batch);
    }
    Ok(filled)
}

/// `None` where the table is not empty any more, or a pooler might lack the session for a batch.
async fn begin<'a>(job: &Job<'a>) -> Result<Option<Tx<'a>>, Fault> {
    let first =
        format!("{}; SELECT EXISTS (SELECT FROM {TABLE}) AS had_books", owners::hold_sql(&job.remap.owners));
    let (tx, rows) = job.sides.target.write_measured(job.tuning.whole_table(), &first).await?;
    if !tx.session_is_own() || rows.iter().any(|row| row.try_get("had_books").unwrap_or(false)) {
        tx.rollback().await;
        return Ok(None);
    }
    Ok(Some(tx))
}
