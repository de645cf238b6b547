//! `staged`, the default: one transaction per batch into the stage; the stage is verified; then the question, with exact
//! numbers; then one short transaction makes the books equal to the stage. Whatever fails before, the old books are there,
//! and the run can be resumed.

use crate::error::{Error, Kind, Result};
use crate::ledger::stage::is_left;
use crate::postgres::Fault;
use crate::postgres::query::Query;
use crate::sync::apply::follow_up::follow_up;
use crate::sync::apply::outcome::Outcome;
use crate::sync::apply::staged::{Staged, finish};
use crate::sync::apply::{self, EarlyFill, early_fill};
use crate::sync::batches::batch::To;
use crate::sync::batches::pacing::Pacing;
use crate::sync::batches::{copy_all, not_completed};
use crate::sync::book_table::analyze_sql;
use crate::sync::changes::{Agreed, Changes};
use crate::sync::outcome::{UNCHANGED, Verified};
use crate::sync::run::Run;
use crate::sync::verify::stage::verify;

/// How often an apply that found other numbers than were agreed, or an empty stage, begins anew.
pub(super) const ROUNDS_MAX: usize = 5;

/// Does the work of the run.
///
/// # Errors
/// Any; the books are as they were, unless the answer to the last COMMIT stayed out to the end.
pub(super) async fn run(run: &Run<'_>) -> Result<Verified> {
    let done = Box::pin(stage_and_apply(run)).await;
    // Such a run is never resumed.
    if done.as_ref().is_err_and(|error| matches!(error.kind, Kind::Declined | Kind::Differs)) {
        empty_stage(run).await;
    }
    done.map_err(|error| {
        let resumable = !matches!(error.kind, Kind::Differs | Kind::Declined | Kind::Busy);
        let state = if error.kind == Kind::Busy { UNTOUCHED } else { UNCHANGED };
        let error = error.state(state);
        if resumable { error.hint(run.resume_hint()) } else { error }
    })
}

async fn stage_and_apply(run: &Run<'_>) -> Result<Verified> {
    let early = stage(run).await?;
    let mut staged = Box::pin(verify(run, run.keys().to_vec(), early, None)).await?;
    let mut agreed = agree(run, &mut staged).await?;
    for _ in 0..ROUNDS_MAX {
        match apply::apply(run, &mut staged, &agreed).await? {
            Outcome::Applied(applied) => {
                settle(run, Some(&applied.changes)).await;
                return Ok(staged.verified);
            }
            Outcome::Before => {
                settle(run, None).await;
                return Ok(staged.verified);
            }
            Outcome::More { changes, why } => {
                run.context().notice(why);
                agreed = run.ask_about_more(&changes).await?;
                staged.changes = changes;
            }
            Outcome::Lost(fault) => {
                let shown = staged.changes;
                staged = Box::pin(verify(run, staged.keys, None, fault)).await?;
                if staged.changes != shown {
                    agreed = agree(run, &mut staged).await?;
                }
            }
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
async fn stage<'a>(run: &Run<'a>) -> Result<Option<EarlyFill<'a>>> {
    let plan = run.plan();
    let jobs = run.tuning().jobs;
    // A pooler may have no session left for it.
    let may_be_filled = run.is_first_fill() && !run.sides().target.server().lacks_startup_options();
    let (failed, early) = if may_be_filled && Pacing::is_worth_it(plan.ranges.len(), jobs) {
        let (pacing, progress) = Pacing::new(jobs);
        let copying = copy_all(run, To::Stage, Some(pacing));
        tokio::join!(copying, Box::pin(early_fill(run, progress)))
    } else {
        (copy_all(run, To::Stage, None).await, None)
    };
    let failed = failed?;
    if failed.is_empty() { Ok(early) } else { Err(not_completed(run, failed)) }
}

const UNTOUCHED: &str = "this run changed no book";

/// Asks whether to go on. A no leaves nothing open.
async fn agree(run: &Run<'_>, staged: &mut Staged<'_>) -> Result<Agreed> {
    let agreed = run.ask_to_apply(&staged.changes).await;
    if agreed.is_err() {
        apply::discard(staged.filled.take()).await;
        if let Err(fault) = finish(staged.snapshot.take()).await {
            tracing::info!(%fault, "the snapshot of the source was not ended");
        }
    }
    agreed
}

/// What comes after the COMMIT, while the lock of the run is let go: nobody has to wait for it.
async fn settle(run: &Run<'_>, changes: Option<&Changes>) {
    let analyze = changes.filter(|changes| !changes.is_none()).map(|_| analyze_sql()).unwrap_or_default();
    let settled = follow_up(&run.sides().target, run.tuning(), run.context(), || {
        (Query::silent(analyze.clone()), is_left())
    });
    let (settled, ()) = tokio::join!(settled, run.lock.release());
    if settled.is_some_and(|((), is_left)| is_left) {
        empty_stage(run).await;
    }
}

/// Empties the stage, unless another run has taken over and uses it. Failing to is no failure of the run: whoever takes
/// over empties it as well.
async fn empty_stage(run: &Run<'_>) {
    let emptied = run.context().retry("emptying the stage", async |_| {
        let emptying = |fault: Fault| fault.error("could not empty the stage");
        let newest = format!(
            "SELECT FROM dewey_sync.run WHERE run_id = {} AND epoch = (SELECT max(epoch) FROM dewey_sync.run) FOR SHARE",
            run.lease.run_id
        );
        let (target, rows) =
            run.sides().target.write(run.tuning().whole_table(), &newest).await.map_err(emptying)?;
        if rows.is_empty() {
            return Ok(());
        }
        let truncate = "TRUNCATE dewey_sync.stage, dewey_sync.stage_checkpoint";
        target.execute_simple(truncate).await.map_err(emptying)?;
        target.commit().await.map_err(emptying)
    });
    if let Err(error) = emptied.await {
        tracing::info!(%error, "the stage was not emptied");
    }
}
