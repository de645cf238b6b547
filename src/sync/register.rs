//! The run's row in the ledger: begun before the first write, ended with the outcome.

use super::call::Call;
use super::context::Context;
use super::intent::Intent;
use super::outcome::{MODE, UP_TO_THE_OTHER, Verified};
use crate::error::{Error, Kind, Result};
use crate::ledger::run::{self, Lease, NewRun, RunEnd};
use crate::ledger::state::RunState;
use crate::plan::Frozen;
use crate::postgres::{Fault, Target};
use crate::preflight::guard::owner::Owner;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::{Preflight, Sides};
use crate::retry::Policy;

/// The ledger brought up to date, the target marked, the run's row written, every other run ended.
/// `plan` is kept with it.
pub(super) async fn begin(call: Call<'_>, intent: &Intent, plan: Option<&Frozen>) -> Result<Lease> {
    let Intent { found, marking, owners, strategy, engine, resumed, .. } = intent;
    let Sides { source, target, .. } = call.sides;
    let failed =
        |doing: &'static str| move |fault: Fault| Error::new(fault.kind_at_start(), doing).because(fault);
    if found.target_books.ledger_is_old()? || *marking != Marking::Marked {
        prepare_ledger(target, found).await.map_err(failed("could not prepare the ledger"))?;
    }
    let session = target.server().session_base();
    let plan = plan.map(serde_json::to_string).transpose();
    let plan = plan.map_err(|error| failed("could not keep the plan")(Fault::client(error.to_string())))?;
    if let Some(unfinished) = resumed {
        let resumed = run::resume(target, unfinished.run_id, session, plan.as_deref()).await;
        let resumed = resumed.map_err(failed("could not resume the run in the ledger"))?;
        return resumed.ok_or_else(|| {
            Error::new(Kind::Busy, format!("run {} cannot be resumed any more", unfinished.run_id))
                .because("it came to its end meanwhile, or another run took over the target")
                .hint("`dewey-sync history` lists the runs")
        });
    }
    let new = NewRun {
        session: session.to_owned(),
        action: "sync",
        os_user: call.request.os_user.clone(),
        host: call.request.host.clone(),
        source: Some(source.server().endpoint().to_string()),
        target: target.server().endpoint().to_string(),
        source_identity: Some(found.source.identity.clone()),
        target_identity: found.target.identity.clone(),
        how: Some([strategy.name(), MODE, engine.name()]),
        owner: owners.others.as_ref().map(Owner::id),
        plan,
    };
    run::begin(target, &new).await.map_err(failed("could not begin the run in the ledger"))
}

/// Also when the answer to an earlier attempt was lost: every step finds what is there.
async fn prepare_ledger(target: &Target, found: &Preflight) -> Result<(), Fault> {
    let identity = &found.target.identity;
    let name = &target.server().endpoint().database;
    target
        .migrate(async |tx| {
            dewey_sync_migration::ledger_up(tx).await?;
            crate::ledger::mark(tx, identity, name).await
        })
        .await
}

/// Writes how the run ended; `success` is the state of one that did not fail.
///
/// # Errors
/// When the ledger could not be told, and the run would be resumed though it has done its work, and when another run had
/// ended this one.
pub(super) async fn record(
    Call { sides, context, .. }: Call<'_>,
    lease: Lease,
    done: Result<&Verified, &Error>,
    success: RunState,
) -> Result<()> {
    let summary = context.summary();
    let verified = done.ok();
    let error = done.err();
    let state = error.map_or(success, |error| RunState::of_failure(error.kind));
    let end = RunEnd {
        fingerprint: verified.map(Verified::fingerprint),
        snapshot_at: verified.map(|verified| verified.snapshot_at().to_owned()),
        error: error.map(Error::chain),
        ..RunEnd::new(state, summary.counts, summary.retries)
    };
    // What failed is not worth waiting for once more.
    let retries_max = if verified.is_some() { context.policy.retries_max } else { 0 };
    let context = Context { policy: Policy { retries_max, ..context.policy }, ..context };
    let recorded = context.retry_on("the record of the outcome", async |_| {
        let recorded = run::record_end(&sides.target, lease, &end).await;
        recorded.map_err(|fault| fault.error("could not record the outcome"))
    });
    let recorded = recorded.await.map_err(|error| {
        error
            .state("`\"Book\"` is as production; only the ledger was not told")
            .hint(format!("`dewey-sync sync --resume {}` verifies again and records it", lease.run_id))
    })?;
    if recorded { Ok(()) } else { Err(run::taken_over(lease).state(UP_TO_THE_OTHER)) }
}
