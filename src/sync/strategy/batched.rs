//! `batched`, the old *Enhanced*: the deletion in one transaction, then a transaction a batch. Other batches go on when
//! one fails, and a last look at one snapshot of the source copies again what changed meanwhile.

use futures_util::{StreamExt, stream};

use super::reconcile::reconcile;
use super::{Copied, Job, UNCHANGED, Verified, explain_duplicates, owner_is_gone};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::{self, Checkpoint};
use crate::ledger::run::{Claim, record_plan};
use crate::postgres::{Fault, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Attempt, Class, classify_error, fault_of, interrupted, retry};
use crate::sync::import::delete_all;
use crate::sync::plan::{Plan, Range};
use crate::sync::{export, owner_sql, unless_cancelled};

const UNKNOWN: &str = "`\"Book\"` is either unchanged or empty: the answer to COMMIT was lost";

/// Runs the job.
///
/// # Errors
/// [`Kind::NotCompleted`] when batches failed for good, [`Kind::Differs`] when the sides are not equal in the end; the
/// state then says what the target holds.
pub async fn run(job: &Job<'_>) -> Result<Verified> {
    job.progress.event(&Event::Phase { phase: Phase::Planning });
    let plan = retry(job.tuning.retry, "the plan", job.cancel, job.progress, async |_| {
        unless_cancelled(job.cancel, plan(job)).await
    });
    let plan = plan.await.map_err(|error| error.state(UNCHANGED))?;
    job.progress.event(&Event::Planned { batches: plan.ranges.len(), books: plan.books });

    job.progress.event(&Event::Phase { phase: Phase::Deleting });
    // How many books a COMMIT without a definite answer was to remove.
    let mut sent = None;
    let deleted = retry(job.tuning.retry, "the deletion", job.cancel, job.progress, async |_| {
        delete(job, &mut sent).await
    });
    let deleted = deleted.await;
    let books = deleted.map_err(|error| error.state(if sent.is_some() { UNKNOWN } else { UNCHANGED }))?;
    job.progress.event(&Event::Deleted { books });

    Box::pin(copy_and_verify(job, &plan)).await.map_err(|error| {
        let done = job.progress.summary();
        let at_least = if classify_error(&error) == Class::Ambiguous { "at least " } else { "" };
        error
            .state(format!(
                "`\"Book\"` holds {at_least}{} of {} books, {} of {} batches; the old books are gone",
                done.counts.inserted, plan.books, done.batches.done, done.batches.total
            ))
            .hint("run `dewey-sync sync` again: it replaces what is there")
    })
}

async fn copy_and_verify(job: &Job<'_>, plan: &Plan) -> Result<Verified> {
    job.progress.event(&Event::Phase { phase: Phase::Copying });
    let failed = copy_all(job, plan).await?;
    // A duplicate key may only mean that a book moved between two snapshots: the verification decides.
    if failed.iter().any(|(_, error)| !is_duplicate_key(error)) {
        return Err(not_completed(job, failed, plan));
    }
    let verified = Box::pin(reconcile(job)).await;
    match &verified {
        Err(error) if is_duplicate_key(error) && !failed.is_empty() => {
            return Err(not_completed(job, failed, plan));
        }
        // Their books came with what was copied again, and are counted there.
        Ok(_) => {
            for (range, _) in &failed {
                job.announce(range, plan.ranges.len(), Copied::default());
            }
        }
        Err(_) => announce_left(job, &failed, plan.ranges.len()),
    }
    verified
}

async fn plan(job: &Job<'_>) -> Result<Plan> {
    let planning = |fault: Fault| fault.error("could not plan the batches");
    let query = Plan::query(job.tuning.batch_size);
    let (source, rows) =
        job.sides.source.snapshot(job.tuning.whole_table(), &query).await.map_err(planning)?;
    let plan = Plan::from_rows(&rows).map_err(planning)?;
    source.finish().await.map_err(planning)?;
    record_plan(&job.sides.target, job.run_id, &plan).await.map_err(planning)?;
    Ok(plan)
}

/// Batch 0; how many books there were. A signal stops it until its COMMIT is sent; `sent` tells what was.
async fn delete(job: &Job<'_>, sent: &mut Option<u64>) -> Result<u64> {
    let deleted = unless_cancelled(job.cancel, delete_uncommitted(job, sent)).await?;
    let Some((target, books)) = deleted else { return sent.ok_or_else(|| job.lost_run()) };
    *sent = Some(books);
    let committed = target.commit().await;
    let committed = committed.map_err(|fault| fault.error("could not commit the removal of the old books"));
    if committed.as_ref().is_err_and(|error| classify_error(error) != Class::Ambiguous) {
        *sent = None;
    }
    committed.map(|()| books)
}

/// `None` when an earlier attempt was committed, though its answer was lost; a claim that is ours proves that none was.
async fn delete_uncommitted<'a>(job: &Job<'a>, sent: &mut Option<u64>) -> Result<Option<(Tx<'a>, u64)>> {
    let deleting = |fault: Fault| fault.error("could not remove the old books");
    let began = job.sides.target.write(job.tuning.whole_table(), &owner_sql(job.remap.owner)).await;
    let (target, owner) = began.map_err(deleting)?;
    if owner.is_empty() {
        return Err(owner_is_gone());
    }
    let this = Checkpoint { run_id: job.run_id, batch: 0, after_id: None, through_id: None, rows: 0 };
    match checkpoint::claim(&target, this).await.map_err(deleting)? {
        Claim::Ours => *sent = None,
        Claim::AlreadyDone => return Ok(None),
        Claim::Lost => return Err(job.lost_run()),
    }
    let books = delete_all(&target, job.tuning.whole_table()).await.map_err(deleting)?;
    Ok(Some((target, books)))
}

/// Copies every range, `jobs` at a time; those that failed for good. What is in flight ends before this does.
///
/// # Errors
/// When going on makes no sense: a server is out of reach, the run is not ours any more, or a signal came.
async fn copy_all(job: &Job<'_>, plan: &Plan) -> Result<Vec<(Range, Error)>> {
    let batches = plan.ranges.len();
    let stop = job.cancel.child_token();
    let ranges = stream::iter(&plan.ranges).take_until(stop.cancelled());
    let copied = ranges.map(|range| async move { (*range, copy_one(job, range, batches).await) });
    let mut results = std::pin::pin!(copied.buffer_unordered(job.tuning.jobs));
    let mut failed = Vec::new();
    let mut fatal = None;
    while let Some((range, result)) = results.next().await {
        let Err(error) = result else { continue };
        if error.kind == Kind::Interrupted {
            fatal.get_or_insert(error);
        } else if matches!(error.kind, Kind::Unreachable | Kind::Busy) {
            stop.cancel();
            announce_failed(job, &range, batches, &error);
            fatal.get_or_insert(of_batch(error, &range, batches));
        } else {
            if is_duplicate_key(&error) {
                let batch = range.batch;
                let text =
                    format!("batch {batch} of {batches} is left to the verification: {}", chain(&error));
                job.progress.event(&Event::Notice { text });
            } else {
                announce_failed(job, &range, batches, &error);
            }
            failed.push((range, error));
        }
    }
    if job.cancel.is_cancelled() {
        fatal.get_or_insert(interrupted("the sync"));
    }
    if let Some(fatal) = fatal {
        announce_left(job, &failed, batches);
        return Err(fatal);
    }
    failed.sort_by_key(|(range, _)| range.batch);
    Ok(failed)
}

async fn copy_one(job: &Job<'_>, range: &Range, batches: usize) -> Result<()> {
    let what = format!("batch {} of {batches}", range.batch);
    // What a COMMIT without an answer was to commit.
    let mut sent = None;
    let copied = retry(job.tuning.retry, &what, job.cancel, job.progress, async |attempt| {
        write(job, range, attempt, &mut sent).await
    })
    .await?;
    job.announce(range, batches, copied);
    Ok(())
}

/// One batch: its claim, its books, its COMMIT.
async fn write(job: &Job<'_>, range: &Range, attempt: Attempt, sent: &mut Option<Copied>) -> Result<Copied> {
    let timeout = job.tuning.batch_timeout;
    let owner = owner_sql(job.remap.owner);
    let (target, source) =
        tokio::join!(job.sides.target.write(timeout, &owner), job.sides.source.snapshot(timeout, ""));
    let (target, owner) = target.map_err(|fault| fault.error("could not begin on the target"))?;
    let (source, _) = source.map_err(|fault| fault.error("could not begin on the source"))?;
    if owner.is_empty() {
        return Err(owner_is_gone());
    }
    let claim = checkpoint::claim(&target, range.checkpoint(job.run_id)).await;
    match claim.map_err(|fault| fault.error("could not claim the batch"))? {
        Claim::Ours => {}
        Claim::AlreadyDone => return sent.ok_or_else(|| job.lost_run()),
        Claim::Lost => return Err(job.lost_run()),
    }
    let books = export::of_range(&job.remap.columns, range);
    let copied = match job.copy(&source, &target, books, range.books, attempt).await {
        Ok(copied) => copied,
        Err(error) => return Err(explain_duplicates(error, &source).await),
    };
    source.finish().await.map_err(|fault| fault.error("could not end the source's snapshot"))?;
    *sent = Some(copied);
    target.commit().await.map_err(|fault| fault.error("could not commit the batch"))?;
    Ok(copied)
}

fn is_duplicate_key(error: &Error) -> bool {
    fault_of(error).is_some_and(|fault| fault.sqlstate() == Some("23505"))
}

/// `error` with the batch that it ended.
fn of_batch(error: Error, range: &Range, batches: usize) -> Error {
    Error { doing: format!("batch {} of {batches}: {}", range.batch, error.doing), ..error }
}

fn announce_failed(job: &Job<'_>, range: &Range, batches: usize, error: &Error) {
    let Range { batch, books, .. } = *range;
    job.progress.event(&Event::BatchFailed { batch, batches, books, cause: chain(error) });
}

/// Those that were left to the verification, when it did not copy them again.
fn announce_left(job: &Job<'_>, failed: &[(Range, Error)], batches: usize) {
    for (range, error) in failed.iter().filter(|(_, error)| is_duplicate_key(error)) {
        announce_failed(job, range, batches, error);
    }
}

/// What failed and why, in one line.
fn chain(error: &Error) -> String {
    std::iter::once(error.doing.clone()).chain(error.causes()).collect::<Vec<_>>().join(": ")
}

/// The error of a run some of whose batches failed for good: the first one's cause, all their numbers. Those that were
/// left to the verification are told now.
fn not_completed(job: &Job<'_>, failed: Vec<(Range, Error)>, plan: &Plan) -> Error {
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
