//! `batched`, the old *Enhanced*: the deletion in one transaction, then a transaction a batch. Other batches go on when
//! one fails, and a last look at one snapshot of the source copies again what changed meanwhile.

use super::batches::{announce_left, copy_all, is_duplicate_key, not_completed};
use super::reconcile::reconcile;
use super::{Copied, Job, UNCHANGED, Verified, owner_is_gone};
use crate::error::Result;
use crate::ledger::FORGET_GENERATION;
use crate::ledger::checkpoint::{self, Checkpoint, Destination};
use crate::ledger::run::Claim;
use crate::postgres::{Fault, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Class, classify_error, retry};
use crate::sync::import::delete_all;
use crate::sync::plan::Plan;
use crate::sync::{owner_sql, unless_cancelled};

const UNKNOWN: &str = "`\"Book\"` is either unchanged or empty: the answer to COMMIT was lost";

/// The deletion, as a batch of its own.
const DELETION: Checkpoint = Checkpoint { batch: 0, round: 0, after_id: None, through_id: None, rows: 0 };

/// Runs the job.
///
/// # Errors
/// [`Kind::NotCompleted`](crate::error::Kind::NotCompleted) when batches failed for good,
/// [`Kind::Differs`](crate::error::Kind::Differs) when the sides are not equal in the end; the state then says what the
/// target holds.
pub async fn run(job: &Job<'_>) -> Result<Verified> {
    let plan = job.plan().await?;

    job.progress.event(&Event::Phase { phase: Phase::Deleting });
    // Whether a COMMIT is without a definite answer.
    let mut sent = false;
    let deleted = retry(job.tuning.retry, "the deletion", job.cancel, job.progress, async |_| {
        delete(job, &mut sent).await
    });
    let deleted = deleted.await;
    let books = deleted.map_err(|error| error.state(if sent { UNKNOWN } else { UNCHANGED }))?;
    job.progress.event(&Event::Deleted { books });

    Box::pin(copy_and_verify(job, &plan)).await.map_err(|error| {
        let done = job.progress.summary();
        let at_least = if classify_error(&error) == Class::Ambiguous { "at least " } else { "" };
        error
            .state(format!(
                "`\"Book\"` holds {at_least}{} of {} books, {} of {} batches; the old books are gone",
                done.counts.inserted, plan.books, done.batches.done, done.batches.total
            ))
            .hint(job.resume_hint())
    })
}

async fn copy_and_verify(job: &Job<'_>, plan: &Plan) -> Result<Verified> {
    let failed = copy_all(job, plan, Destination::Book).await?;
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
                job.announce(range, plan.ranges.len(), Copied::default(), Destination::Book);
            }
        }
        Err(_) => announce_left(job, &failed, plan.ranges.len()),
    }
    verified
}

/// Batch 0; how many books there were. A signal stops it until its COMMIT is sent; `sent` tells whether it was.
async fn delete(job: &Job<'_>, sent: &mut bool) -> Result<u64> {
    let (target, books) = unless_cancelled(job.cancel, delete_uncommitted(job, sent)).await?;
    let Some(target) = target else { return Ok(books) };
    *sent = true;
    let committed = target.commit().await;
    let committed = committed.map_err(|fault| fault.error("could not commit the removal of the old books"));
    *sent = committed.as_ref().is_err_and(|error| classify_error(error) == Class::Ambiguous);
    committed.map(|()| books)
}

/// Without a transaction when it was committed before; a claim that is ours proves that it was not.
async fn delete_uncommitted<'a>(job: &Job<'a>, sent: &mut bool) -> Result<(Option<Tx<'a>>, u64)> {
    let deleting = |fault: Fault| fault.error("could not remove the old books");
    let claim = checkpoint::claim_sql(job.tenure, Destination::Book, DELETION);
    let first = format!("{claim}; {}; {FORGET_GENERATION}", owner_sql(job.remap.owner));
    let began = job.sides.target.write(job.tuning.whole_table(), &first).await;
    let (target, rows) = began.map_err(deleting)?;
    match checkpoint::claim(&rows).map_err(deleting)? {
        Claim::Ours => *sent = false,
        Claim::AlreadyDone => {
            let rows = checkpoint::rows(&target, job.tenure, Destination::Book, DELETION).await;
            target.rollback().await;
            return Ok((None, rows.map_err(deleting)?));
        }
        Claim::Lost => return Err(job.lost_run()),
    }
    if rows.len() < 2 {
        return Err(owner_is_gone());
    }
    let books = delete_all(&target, job.tuning.whole_table()).await.map_err(deleting)?;
    let correct = checkpoint::correct_sql(job.tenure, Destination::Book, DELETION, books);
    target.execute_simple(&correct).await.map_err(deleting)?;
    Ok((Some(target), books))
}
