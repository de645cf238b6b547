//! `staged`, the default: a transaction a batch into the stage; the stage is verified; then the question, with exact
//! numbers; then one short transaction makes the books equal to the stage. Whatever fails before, the old books are there,
//! and the run can be resumed.

use sqlx::Row;

use super::batches::{To, copy_all, not_completed};
use crate::error::{Error, Kind, Result};
use crate::ledger::stage::IS_LEFT;
use crate::plan::Plan;
use crate::postgres::Fault;
use crate::progress::{Event, Progress};
use crate::retry::{retry, unless_cancelled};
use crate::sync::apply::follow_up::follow_up;
use crate::sync::apply::outcome::Outcome;
use crate::sync::apply::staged::{Staged, finish};
use crate::sync::apply::{self, Ahead, Leading, fill_ahead};
use crate::sync::ask::Consent;
use crate::sync::book_table::analyze_sql;
use crate::sync::changes::{Agreed, Changes};
use crate::sync::outcome::{SYNC, UNCHANGED, Verified};
use crate::sync::run::Job;
use crate::sync::verify::stage::verify;

/// How often an apply that found other numbers than were agreed, or an empty stage, begins anew.
pub(super) const ROUNDS_MAX: usize = 5;

/// Runs the job.
///
/// # Errors
/// Any; the books are as they were, unless the answer to the last COMMIT stayed out to the end.
pub async fn run(job: &Job<'_>, consent: &Consent<'_, '_>) -> Result<Verified> {
    let done = Box::pin(stage_and_apply(job, consent)).await;
    // Such a run is never resumed.
    if done.as_ref().is_err_and(|error| matches!(error.kind, Kind::Declined | Kind::Differs)) {
        clean_up(job).await;
    }
    done.map_err(|error| {
        let resumable = !matches!(error.kind, Kind::Differs | Kind::Declined | Kind::Busy);
        let state = if error.kind == Kind::Busy { UNTOUCHED } else { UNCHANGED };
        let error = error.state(state);
        if resumable { error.hint(job.resume_hint()) } else { error }
    })
}

async fn stage_and_apply(job: &Job<'_>, consent: &Consent<'_, '_>) -> Result<Verified> {
    let plan = job.plan();
    let ahead = stage(job, plan, consent).await?;
    let keys = consent.found.target.foreign_keys.clone().unwrap_or_default();
    let mut staged = Box::pin(verify(job, plan, consent, keys, ahead, None)).await?;
    let mut agreed = agree(job, consent, &mut staged).await?;
    for _ in 0..ROUNDS_MAX {
        let outcome = apply::apply(job, &mut staged, &agreed).await?;
        match outcome {
            Outcome::MoreThanAgreed(_) => {
                job.progress.event(&Event::Notice { text: MORE_THAN_AGREED.into() });
            }
            Outcome::MoreMeasured(_) => {
                job.progress.event(&Event::Notice { text: MORE_MEASURED.into() });
            }
            _ => {}
        }
        let lost = match outcome {
            Outcome::Applied(applied) => {
                settle(job, consent, Some(&applied.changes)).await;
                return Ok(staged.verified);
            }
            Outcome::Before => {
                settle(job, consent, None).await;
                return Ok(staged.verified);
            }
            Outcome::StageLost => {
                job.progress.event(&Event::Notice { text: STAGE_LOST.into() });
                None
            }
            Outcome::SnapshotLost(fault) => Some(fault),
            Outcome::MoreThanAgreed(now) | Outcome::MoreMeasured(now) => {
                agreed = unless_cancelled(job.cancel, SYNC, consent.to_more(job.tenure, &now)).await?;
                staged.changes = now;
                continue;
            }
        };
        let before = staged.changes;
        staged = Box::pin(verify(job, plan, consent, staged.keys, None, lost)).await?;
        // With other numbers than the question had, it is asked anew.
        if staged.changes != before {
            agreed = agree(job, consent, &mut staged).await?;
        }
    }
    Err(more_each_time())
}

/// The error of a run whose numbers were others each time that it was asked about them.
pub(super) fn more_each_time() -> Error {
    Error::new(Kind::NotCompleted, "could not apply the changes")
        .because("the target changed each time between the question and the apply")
}

/// Stages every batch. Where the book table is empty and batches wait for one another, it is filled meanwhile.
async fn stage<'a>(job: &Job<'a>, plan: &Plan, consent: &Consent<'_, '_>) -> Result<Option<Ahead<'a>>> {
    let jobs = job.tuning.jobs;
    // A pooler may have no session left for it.
    let may_be_filled = consent.is_to_a_first_fill() && !job.sides.target.server().is_reduced();
    let (failed, ahead) = if may_be_filled && Leading::is_worth_it(plan.ranges.len(), jobs) {
        let (leading, following) = Leading::new(jobs);
        let copying = copy_all(job, plan, To::Stage, leading);
        tokio::join!(copying, Box::pin(fill_ahead(job, plan, following)))
    } else {
        (copy_all(job, plan, To::Stage, Leading::alone()).await, None)
    };
    let failed = failed?;
    if failed.is_empty() { Ok(ahead) } else { Err(not_completed(job, failed, plan)) }
}

const UNTOUCHED: &str = "this run changed no book";

const STAGE_LOST: &str = "the target's server lost the stage; copying again";

/// What the numbers of a question that comes again are.
pub(super) const MORE_MEASURED: &str = "rolled back: changing the books also changed more rows of other tables than was announced, which triggers may do";

const MORE_THAN_AGREED: &str = "the target changed since the question";

/// Asks whether to go on. A no leaves nothing open.
async fn agree(job: &Job<'_>, consent: &Consent<'_, '_>, staged: &mut Staged<'_>) -> Result<Agreed> {
    let asking = consent.to_apply(job.tenure, &staged.changes);
    let agreed = unless_cancelled(job.cancel, SYNC, asking).await;
    if agreed.is_err() {
        apply::discard(staged.filled.take()).await;
        if let Err(fault) = finish(staged.snapshot.take()).await {
            tracing::info!(%fault, "the snapshot of the source was not ended");
        }
    }
    agreed
}

/// What comes after the COMMIT, while the lock of the run is let go: nobody has to wait for it.
async fn settle(job: &Job<'_>, consent: &Consent<'_, '_>, changes: Option<&Changes>) {
    let analyze = changes.filter(|changes| !changes.is_none()).map(|_| analyze_sql() + "; ");
    let sql = analyze.unwrap_or_default() + IS_LEFT;
    let settled = follow_up(&job.sides.target, &job.tuning, job.progress, &sql);
    let (rows, ()) = tokio::join!(settled, consent.lock.release());
    if rows.iter().any(|row| row.try_get("left_over").unwrap_or(false)) {
        clean_up(job).await;
    }
}

/// Empties the stage, unless another run has taken over and uses it. Failing to is no failure of the run: whoever takes
/// over empties it as well.
async fn clean_up(job: &Job<'_>) {
    let cleaned = retry(job.tuning.retry, "emptying the stage", job.cancel, job.progress, async |_| {
        let cleaning = |fault: Fault| fault.error("could not empty the stage");
        let newest = format!(
            "SELECT FROM dewey_sync.run WHERE run_id = {} AND epoch = (SELECT max(epoch) FROM dewey_sync.run) FOR SHARE",
            job.tenure.run_id
        );
        let (target, rows) =
            job.sides.target.write(job.tuning.whole_table(), &newest).await.map_err(cleaning)?;
        if rows.is_empty() {
            return Ok(());
        }
        let truncate = "TRUNCATE dewey_sync.stage, dewey_sync.stage_checkpoint";
        target.execute_simple(truncate).await.map_err(cleaning)?;
        target.commit().await.map_err(cleaning)
    });
    if let Err(error) = cleaned.await {
        tracing::info!(%error, "the stage was not emptied");
    }
}
