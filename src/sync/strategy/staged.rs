//! `staged`, the default: a transaction a batch into the stage; the stage is verified; then the question, with exact
//! numbers; then one short transaction makes the books equal to the stage. Whatever fails before, the old books are there,
//! and the run can be resumed.

use super::batches::{copy_all, not_completed};
use super::restage::verify;
use super::{Job, Verified};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::Fault;
use crate::progress::{Event, Phase, Progress};
use crate::retry::retry;
use crate::sync::apply::{self, Outcome};
use crate::sync::changes::{self, Changes};
use crate::sync::consent::Consent;
use crate::sync::plan::Plan;
use crate::sync::{SYNC, UNCHANGED, unless_cancelled};

/// How often an apply that found other numbers than were agreed, or an empty stage, begins anew.
const ROUNDS_MAX: usize = 5;

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
    let failed = copy_all(job, plan, Destination::Stage).await?;
    if !failed.is_empty() {
        return Err(not_completed(job, failed, plan));
    }
    let (mut verified, mut changes) = verify_and_count(job, plan).await?;
    let mut agreed = unless_cancelled(job.cancel, SYNC, consent.to_apply(job.tenure, &changes)).await?;
    for _ in 0..ROUNDS_MAX {
        match apply::apply(job, &verified, &agreed).await? {
            Outcome::Applied(_) | Outcome::Before => {
                clean_up(job).await;
                return Ok(verified);
            }
            Outcome::StageLost => {
                job.progress.event(&Event::Notice { text: STAGE_LOST.into() });
                let again = verify_and_count(job, plan).await?;
                verified = again.0;
                // With other numbers than the question had, it is asked anew.
                if again.1 != changes {
                    agreed =
                        unless_cancelled(job.cancel, SYNC, consent.to_apply(job.tenure, &again.1)).await?;
                    changes = again.1;
                }
            }
            Outcome::MoreThanAgreed(now) => {
                job.progress.event(&Event::Notice { text: MORE_THAN_AGREED.into() });
                agreed = unless_cancelled(job.cancel, SYNC, consent.to_more(job.tenure, &now)).await?;
                changes = now;
            }
        }
    }
    Err(Error::new(Kind::NotCompleted, "could not apply what was staged")
        .because("the target changed each time between the question and the apply"))
}

const UNTOUCHED: &str = "this run changed no book";

const STAGE_LOST: &str = "the target's server lost the stage; copying again";

const MORE_THAN_AGREED: &str = "the target changed since the question";

async fn verify_and_count(job: &Job<'_>, plan: &Plan) -> Result<(Verified, Changes)> {
    let verified = Box::pin(verify(job, plan)).await?;
    job.progress.event(&Event::Phase { phase: Phase::Comparing });
    let changes = retry(job.tuning.retry, "the comparison", job.cancel, job.progress, async |_| {
        unless_cancelled(job.cancel, SYNC, Box::pin(count(job))).await
    });
    Ok((verified, changes.await?))
}

async fn count(job: &Job<'_>) -> Result<Changes> {
    let comparing = |fault: Fault| fault.error("could not compare the stage with the books");
    let opened = job.sides.target.snapshot(job.tuning.whole_table(), "").await;
    let (target, _) = opened.map_err(comparing)?;
    changes::duplicates(&target, job.tenure.run_id).await?;
    let changes = changes::count(&target, job.tenure.run_id, &job.remap.columns).await?;
    target.rollback().await;
    Ok(changes)
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
