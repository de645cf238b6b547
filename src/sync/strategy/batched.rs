//! `batched`, the old *Enhanced*: the deletion in one transaction, then a transaction a batch. Other batches go on when
//! one fails, and a last look at one snapshot of the source copies again what changed meanwhile.

use futures_util::{StreamExt, stream};
use sqlx::Row;

use super::{
    Copied, Job, OTHER_WRITER, SNAPSHOT_TIME, UNCHANGED, Verified, WHOLE_TABLE, explain_duplicates,
    owner_is_gone,
};
use crate::book::TABLE;
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::{self, Checkpoint};
use crate::ledger::run::{Claim, record_plan};
use crate::postgres::fingerprint::bucket;
use crate::postgres::{Fault, SourceTx, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Attempt, Class, classify_error, fault_of, interrupted, retry};
use crate::sync::import::delete_all;
use crate::sync::plan::{Plan, Range};
use crate::sync::verify::Pair;
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
    // Whether a COMMIT had no definite answer.
    let mut lost = false;
    let mut books = 0;
    let deleted = retry(job.tuning.retry, "the deletion", job.cancel, job.progress, async |_| {
        let deleted = delete(job, &mut books).await;
        lost |= deleted.as_ref().is_err_and(|error| classify_error(error) == Class::Ambiguous);
        deleted
    });
    let deleted = deleted.await;
    deleted.map_err(|error| error.state(if lost { UNKNOWN } else { UNCHANGED }))?;
    job.progress.event(&Event::Deleted { books });

    copy_and_verify(job, &plan).await.map_err(|error| {
        let done = job.progress.summary();
        error
            .state(format!(
                "`\"Book\"` holds {} of {} books, {} of {} batches; the old books are gone",
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
    // A repair that may have been committed: from then on the target holds other rows than the batches wrote.
    let mut repaired = false;
    let verified = retry(job.tuning.retry, "the verification", job.cancel, job.progress, async |attempt| {
        tokio::select! {
            verified = verify(job, attempt, &mut repaired) => verified,
            () = job.cancel.cancelled() => Err(interrupted("the verification")),
        }
    })
    .await;
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
        Err(_) => {
            for (range, error) in &failed {
                announce_failed(job, range, plan.ranges.len(), error);
            }
        }
    }
    verified
}

async fn plan(job: &Job<'_>) -> Result<Plan> {
    let planning = |fault: Fault| fault.error("could not plan the batches");
    let query = Plan::query(job.tuning.batch_size);
    let (source, rows) = job.sides.source.snapshot(WHOLE_TABLE, &query).await.map_err(planning)?;
    let plan = Plan::from_rows(&rows).map_err(planning)?;
    source.finish().await.map_err(planning)?;
    record_plan(&job.sides.target, job.run_id, &plan).await.map_err(planning)?;
    Ok(plan)
}

/// Batch 0. A signal stops it until its COMMIT is sent; `books` tells how many there were, also when this attempt only
/// finds that an earlier one was committed.
async fn delete(job: &Job<'_>, books: &mut u64) -> Result<()> {
    let deleted = unless_cancelled(job.cancel, delete_uncommitted(job)).await?;
    let Some((target, count)) = deleted else { return Ok(()) };
    *books = count;
    target.commit().await.map_err(|fault| fault.error("could not commit the removal of the old books"))
}

/// `None` when an earlier attempt was committed, though its answer was lost.
async fn delete_uncommitted<'a>(job: &Job<'a>) -> Result<Option<(Tx<'a>, u64)>> {
    let deleting = |fault: Fault| fault.error("could not remove the old books");
    let began = job.sides.target.write(WHOLE_TABLE, &owner_sql(job.remap.owner)).await;
    let (target, owner) = began.map_err(deleting)?;
    if owner.is_empty() {
        return Err(owner_is_gone());
    }
    let this = Checkpoint { run_id: job.run_id, batch: 0, after_id: None, through_id: None, rows: 0 };
    match checkpoint::claim(&target, this).await.map_err(deleting)? {
        Claim::Ours => {}
        Claim::AlreadyDone => return Ok(None),
        Claim::Lost => return Err(job.lost_run()),
    }
    let books = delete_all(&target, WHOLE_TABLE).await.map_err(deleting)?;
    Ok(Some((target, books)))
}

/// Copies every range, `jobs` at a time; those that failed for good.
///
/// # Errors
/// When going on makes no sense: a server is out of reach, the run is not ours any more, or a signal came.
async fn copy_all(job: &Job<'_>, plan: &Plan) -> Result<Vec<(Range, Error)>> {
    let batches = plan.ranges.len();
    let ranges = stream::iter(&plan.ranges).take_until(job.cancel.cancelled());
    let copied = ranges.map(|range| async move { (*range, copy_one(job, range, batches).await) });
    let mut results = std::pin::pin!(copied.buffer_unordered(job.tuning.jobs));
    let mut failed = Vec::new();
    while let Some((range, result)) = results.next().await {
        let Err(error) = result else { continue };
        match error.kind {
            Kind::Interrupted => return Err(error),
            Kind::Unreachable | Kind::Busy => return Err(of_batch(error, &range, batches)),
            _ => {}
        }
        if is_duplicate_key(&error) {
            let batch = range.batch;
            let text = format!("batch {batch} of {batches} is left to the verification: {}", chain(&error));
            job.progress.event(&Event::Notice { text });
        } else {
            announce_failed(job, &range, batches, &error);
        }
        failed.push((range, error));
    }
    if job.cancel.is_cancelled() {
        return Err(interrupted("the sync"));
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

/// Compares both sides as one snapshot of the source has them; what differs is copied again in that snapshot, once.
///
/// # Errors
/// [`Kind::Differs`] also when the target holds other rows than the batches inserted: then it is not the source that
/// changed, and a row that somebody added in development is not removed without a word.
async fn verify(job: &Job<'_>, attempt: Attempt, repaired: &mut bool) -> Result<Verified> {
    job.progress.event(&Event::Phase { phase: Phase::Verifying });
    let verifying = |fault: Fault| fault.error("could not verify");
    let (source, time) = job.sides.source.snapshot(WHOLE_TABLE, SNAPSHOT_TIME).await.map_err(verifying)?;
    let time = time.first().ok_or_else(|| verifying(Fault::client("no time")))?;
    let snapshot_at = time.try_get(0).map_err(|error| verifying(error.into()))?;
    let (target, _) = job.sides.target.snapshot(WHOLE_TABLE, "").await.map_err(verifying)?;
    let columns = &job.remap.columns;
    let pair = Pair { source: &source, target: &target, columns, owner: job.remap.owner };
    let (expected, found) = pair.fingerprints().await?;
    let buckets = if expected == found { Vec::new() } else { pair.differing_buckets().await? };
    let written = job.progress.summary().counts.inserted;
    if !buckets.is_empty() && !*repaired && found.rows.unsigned_abs() != written {
        return Err(pair.difference(&buckets).await?.error().hint(OTHER_WRITER));
    }
    target.rollback().await;
    if !buckets.is_empty() {
        repair(job, &source, &buckets, attempt, repaired).await?;
    }
    source.finish().await.map_err(verifying)?;
    job.progress.event(&Event::Verified { rows: expected.rows, digest: expected.digest_hex() });
    Ok(Verified { fingerprint: expected, snapshot_at })
}

/// Replaces the books of `buckets` by those of the snapshot, and compares again before the COMMIT.
async fn repair(
    job: &Job<'_>,
    source: &SourceTx<'_>,
    buckets: &[i32],
    attempt: Attempt,
    repaired: &mut bool,
) -> Result<()> {
    job.progress.event(&Event::Phase { phase: Phase::Repairing });
    let repairing = |fault: Fault| fault.error("could not copy again what differs");
    let lock = format!("LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE");
    let (target, _) = job.sides.target.write(WHOLE_TABLE, &lock).await.map_err(repairing)?;
    let list: Vec<String> = buckets.iter().map(i32::to_string).collect();
    let delete = format!("DELETE FROM {TABLE} WHERE {} IN ({})", bucket(), list.join(", "));
    let deleted = target.execute_simple(&delete).await.map_err(repairing)?;
    let books = export::of_buckets(&job.remap.columns, buckets);
    let copied = match job.copy(source, &target, books, job.tuning.batch_size.into(), attempt).await {
        Ok(copied) => copied,
        Err(error) => return Err(explain_duplicates(error, source).await),
    };
    let pair = Pair { source, target: &target, columns: &job.remap.columns, owner: job.remap.owner };
    let (expected, found) = pair.fingerprints().await?;
    if expected != found {
        let differing = pair.differing_buckets().await?;
        return Err(pair.difference(&differing).await?.error().hint(OTHER_WRITER));
    }
    *repaired = true;
    target.commit().await.map_err(repairing)?;
    job.progress.event(&Event::Repaired { deleted, books: copied.exported, inserted: copied.inserted });
    Ok(())
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

/// What failed and why, in one line.
fn chain(error: &Error) -> String {
    std::iter::once(error.doing.clone()).chain(error.causes()).collect::<Vec<_>>().join(": ")
}

/// The error of a run some of whose batches failed for good: the first one's cause, all their numbers. Those that were
/// left to the verification are told now.
fn not_completed(job: &Job<'_>, failed: Vec<(Range, Error)>, plan: &Plan) -> Error {
    for (range, error) in failed.iter().filter(|(_, error)| is_duplicate_key(error)) {
        announce_failed(job, range, plan.ranges.len(), error);
    }
    let numbers: Vec<String> = failed.iter().map(|(range, _)| range.batch.to_string()).collect();
    let doing = format!("{} of {} batches failed: {}", failed.len(), plan.ranges.len(), numbers.join(", "));
    let mut error = Error::new(Kind::NotCompleted, doing);
    if let Some((range, first)) = failed.into_iter().next() {
        error.hint.clone_from(&first.hint);
        error = error.because(of_batch(first, &range, plan.ranges.len()));
    }
    error
}
