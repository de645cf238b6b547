//! Batches, a transaction each, `jobs` at a time, into the book table or the stage. Other batches go on when one fails.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures_util::{StreamExt, stream};

use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::{self, Checkpoint, Destination};
use crate::ledger::run::Claim;
use crate::plan::{Plan, Range};
use crate::postgres::effects::{Bounds, guard};
use crate::postgres::{Effects, Fault};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Attempt, interrupted, retry};
use crate::sync::apply::Leading;
use crate::sync::losses::{self, Losses};
use crate::sync::outcome::SYNC;
use crate::sync::owners;
use crate::sync::run::Job;
use crate::transfer::duplicates::explain_duplicates;
use crate::transfer::export::Books;
use crate::transfer::import::is_duplicate_key;
use crate::transfer::import::transfer::Copied;

/// A batch that failed for good.
pub(super) type Failed = (Range, Error);

/// Where batches go.
#[derive(Debug, Clone, Copy)]
pub(super) enum To<'a> {
    /// Into the book table, and nothing else may happen than these bounds say.
    Book(&'a Bounds),
    /// Into the stage, which has no triggers.
    Stage,
}

impl To<'_> {
    const fn destination(self) -> Destination {
        match self {
            Self::Book(_) => Destination::Book,
            Self::Stage => Destination::Stage,
        }
    }
}

/// Copies every range that is not committed yet, as `leading` lets them, and tells it of each that is; those that failed for
/// good. What is in flight ends before this does.
///
/// # Errors
/// When going on makes no sense: a server is out of reach, the run is not ours any more, a signal came, or a batch was refused.
pub(super) async fn copy_all(
    job: &Job<'_>,
    plan: &Plan,
    to: To<'_>,
    leading: Leading,
) -> Result<Vec<Failed>> {
    job.progress.event(&Event::Phase { phase: Phase::Copying });
    let batches = plan.ranges.len();
    let (done, left) = done_and_left(job, plan, to.destination()).await?;
    let leading = &leading;
    for range in &done {
        leading.copied(range);
    }
    let stop = &job.cancel.child_token();
    let ranges = stream::iter(&left).take_until(stop.cancelled());
    let copied = ranges.map(|range| async move {
        let copying = async {
            leading.wait_for_turn(range).await;
            // Then nobody fills any more, and who waited has not begun.
            if stop.is_cancelled() {
                return Err(interrupted(SYNC));
            }
            copy_one(job, range, batches, to).await
        };
        (*range, copying.await)
    });
    let mut results = std::pin::pin!(copied.buffer_unordered(job.tuning.jobs));
    let mut failed = Vec::new();
    let mut fatal = None;
    while let Some((range, result)) = results.next().await {
        let Err(error) = result else {
            leading.copied(&range);
            continue;
        };
        leading.failed();
        if error.kind == Kind::Interrupted {
            fatal.get_or_insert(error);
        } else if matches!(error.kind, Kind::Unreachable | Kind::Busy | Kind::Refused) {
            stop.cancel();
            announce_failed(job, &range, batches, &error);
            fatal.get_or_insert(of_batch(error, &range, batches));
        } else {
            if is_duplicate_key(&error) {
                let batch = range.batch;
                let text =
                    format!("batch {batch} of {batches} is left to the verification: {}", error.chain());
                job.progress.event(&Event::Notice { text });
            } else {
                announce_failed(job, &range, batches, &error);
            }
            failed.push((range, error));
        }
    }
    if job.cancel.is_cancelled() {
        fatal.get_or_insert(interrupted(SYNC));
    }
    if let Some(fatal) = fatal {
        announce_left(job, &failed, batches);
        return Err(fatal);
    }
    failed.sort_by_key(|(range, _)| range.batch);
    Ok(failed)
}

/// The ranges that an earlier life of the run has committed, and those that it has not.
async fn done_and_left(
    job: &Job<'_>,
    plan: &Plan,
    destination: Destination,
) -> Result<(Vec<Range>, Vec<Range>)> {
    if !job.resumed {
        return Ok((Vec::new(), plan.ranges.clone()));
    }
    let (committed, _) = committed(job, destination).await?;
    let (done, left): (Vec<Range>, Vec<Range>) =
        plan.ranges.iter().partition(|range| committed.contains_key(&range.batch));
    let books = done.iter().filter_map(|range| committed.get(&range.batch)).sum();
    job.progress.event(&Event::Resumed { batches: done.len(), books, destination });
    Ok((done, left))
}

/// The rows of every committed batch, and the last round of any.
pub(crate) async fn committed(
    job: &Job<'_>,
    destination: Destination,
) -> Result<(BTreeMap<usize, u64>, u32)> {
    let run_id = job.tenure.run_id;
    retry(job.tuning.retry, "reading the checkpoints", job.cancel, job.progress, async |_| {
        let committed = checkpoint::committed(&job.sides.target, run_id, destination).await;
        committed.map_err(|fault| fault.error("could not read the checkpoints"))
    })
    .await
}

async fn copy_one(job: &Job<'_>, range: &Range, batches: usize, to: To<'_>) -> Result<()> {
    let what = format!("batch {} of {batches}", range.batch);
    let copied = retry(job.tuning.retry, &what, job.cancel, job.progress, async |attempt| {
        write(job, range, attempt, to).await
    })
    .await?;
    job.announce(range, batches, copied, to.destination());
    Ok(())
}

/// One batch: its claim, its books, its COMMIT.
async fn write(job: &Job<'_>, range: &Range, attempt: Attempt, to: To<'_>) -> Result<Copied> {
    let destination = to.destination();
    let claiming = |fault: Fault| fault.error("could not claim the batch");
    let timeout = job.tuning.batch_timeout;
    let batch = range.checkpoint();
    let first = first_sql(job, destination, batch);
    let source = job.sides.source.open(timeout).await;
    let source = source.map_err(|fault| fault.error("could not begin on the source"))?;
    let transfer = job.transfer(destination);
    // Books are on their way while the batch is claimed.
    let mut exported = transfer.export(&source, Books::Range(range), range.books, attempt.shrinks);
    let begin = async {
        match to {
            To::Book(_) => job.sides.target.write_measured(timeout, &first).await,
            To::Stage => job.sides.target.write(timeout, &first).await,
        }
    };
    let (target, _) = tokio::join!(begin, Pin::new(&mut exported).peek());
    let (target, rows) = target.map_err(|fault| fault.error("could not begin on the target"))?;
    match checkpoint::claim(&rows).map_err(claiming)? {
        Claim::Ours => {}
        Claim::AlreadyDone => {
            let rows = checkpoint::rows(&target, job.tenure, destination, batch).await.map_err(claiming)?;
            target.rollback().await;
            return Ok(Copied { exported: rows, inserted: rows });
        }
        Claim::Lost => return Err(job.lost_run()),
    }
    if destination == Destination::Book {
        owners::check_held(&rows, &job.remap.owners)?;
    }
    let copied = match transfer.import(&target, exported).await {
        Ok(copied) => copied,
        Err(error) => return Err(explain_duplicates(error, &source, &job.remap.columns).await),
    };
    if copied.inserted != batch.rows {
        let correct = checkpoint::correct_sql(job.tenure, destination, batch, copied.inserted);
        target.execute_simple(&correct).await.map_err(claiming)?;
    }
    let committing = async {
        match to {
            To::Book(bounds) => target.commit_after(&guard(bounds)).await.map(Some),
            To::Stage => target.commit().await.map(|()| None),
        }
    };
    let (committed, finished) = tokio::join!(committing, source.finish());
    let committed = committed.map_err(|fault| losses::refused(fault, "could not commit the batch"))?;
    if let Some(rows) = committed {
        let effects = Effects::from_rows(&rows).map_err(claiming)?;
        Losses::of(&effects, 0)?.measured(&effects, &[]).tell(job.progress);
    }
    finished.map_err(|fault| fault.error("could not end the source's snapshot"))?;
    Ok(copied)
}

/// The stage belongs to nobody, so its batches wait for no user: whoever changes that table may wait for the transaction
/// that fills ahead, and that one waits for batches.
fn first_sql(job: &Job<'_>, destination: Destination, batch: Checkpoint) -> String {
    let claim = checkpoint::claim_sql(job.tenure, destination, batch);
    match destination {
        Destination::Book => format!("{claim}; {}", owners::hold_sql(&job.remap.owners)),
        Destination::Stage => claim,
    }
}

/// `error` with the batch that it ended.
fn of_batch(error: Error, range: &Range, batches: usize) -> Error {
    Error { doing: format!("batch {} of {batches}: {}", range.batch, error.doing), ..error }
}

fn announce_failed(job: &Job<'_>, range: &Range, batches: usize, error: &Error) {
    let Range { batch, books, .. } = *range;
    job.progress.event(&Event::BatchFailed { batch, batches, books, cause: error.chain() });
}

/// Those that were left to the verification, when it did not copy them again.
pub(super) fn announce_left(job: &Job<'_>, failed: &[Failed], batches: usize) {
    for (range, error) in failed.iter().filter(|(_, error)| is_duplicate_key(error)) {
        announce_failed(job, range, batches, error);
    }
}

/// The error of a run some of whose batches failed for good: the first one's cause, all their numbers. Those that were
/// left to the verification are told now.
pub(super) fn not_completed(job: &Job<'_>, failed: Vec<Failed>, plan: &Plan) -> Error {
    announce_left(job, &failed, plan.ranges.len());
    let numbers: Vec<String> = failed.iter().map(|(range, _)| range.batch.to_string()).collect();
    let doing = format!("{} of {} batches failed: {}", failed.len(), plan.ranges.len(), numbers.join(", "));
    let mut error = Error::new(Kind::NotCompleted, doing);
    if let Some((range, first)) = failed.into_iter().next() {
        error.hint.clone_from(&first.hint);
        error = error.because(of_batch(first, &range, plan.ranges.len()));
    }
    error
}
