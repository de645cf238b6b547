//! The one transaction that makes `"Book"` equal to the verified stage.
//!
//! Invariant: it commits only what has the fingerprint that the source had, together with the run's outcome and
//! with everything that puts the old state back.

mod begin;
mod early_fill;
mod fill;
pub mod follow_up;
mod keep;
mod left;
pub mod outcome;
pub mod staged;
mod write;

use std::ops::ControlFlow;

use super::changes::{self, Agreed, Changes};
use super::exactly_once::{Attempted, Failed, InDoubt, commit};
use super::losses::Losses;
use super::outcome::{OTHER_WRITER, UNCHANGED, Verified};
use super::run::Run;
use super::verify::Difference;
use crate::error::Result;
use crate::ledger::replaced::{Generation, end_others_sql};
use crate::ledger::run::{Counts, RunEnd, end_sql};
use crate::ledger::stage::EMPTY_IF_FREE;
use crate::ledger::state::RunState;
use crate::postgres::effects::{Bounds, guard};
use crate::progress::{Event, Phase, Progress};
pub(super) use early_fill::{EarlyFill, early_fill};
pub(super) use fill::{complete_early_fill, discard};
use outcome::{Applied, Outcome};
pub(super) use staged::Filled;
use staged::Staged;
pub(super) use write::{PLACEHOLDER, rehearsal_sql};

/// What the numbers of a question that comes again are.
pub(super) const MORE_MEASURED: &str = "rolled back: changing the books also changed more rows of other tables than was announced, which triggers may do";

const UNKNOWN: &str = "`\"Book\"` is either unchanged or the new state: the answer to COMMIT was lost";

/// Applies the run's stage; a transient error starts the transaction again. The source's transaction ends
/// while the one on the target begins.
///
/// # Errors
/// Any; the target is then as it was, unless the answer to COMMIT stayed out to the end.
pub(super) async fn apply<'a>(run: &Run<'a>, staged: &mut Staged<'a>, agreed: &Agreed) -> Result<Outcome> {
    let context = run.context();
    let done = commit(
        context,
        "the apply",
        async |_, in_doubt| Box::pin(prepare(run, staged, agreed, in_doubt)).await,
        || Ok(Outcome::Before),
    );
    let outcome = done
        .await
        .map_err(|Failed { error, in_doubt }| error.state(if in_doubt { UNKNOWN } else { UNCHANGED }))?;
    if let Outcome::Applied(Applied { changes, apply_ms, measured }) = &outcome {
        let Changes { new: added, changed, removed: deleted, unchanged, .. } = *changes;
        context.progress.event(&Event::Applied { added, changed, deleted, unchanged, apply_ms: *apply_ms });
        measured.tell(context.progress);
    }
    Ok(outcome)
}

/// Everything but the last statements and the COMMIT.
async fn prepare<'a>(
    run: &Run<'a>,
    staged: &mut Staged<'a>,
    agreed: &Agreed,
    in_doubt: &mut InDoubt<Outcome>,
) -> Result<Attempted<'a, Outcome>> {
    let run_id = run.lease.run_id;
    run.context().phase(Phase::Applying);
    let filled = match staged.filled.take() {
        Some(filled) => filled,
        None => match fill::fill(run, staged, agreed, in_doubt).await? {
            ControlFlow::Continue(filled) => filled,
            ControlFlow::Break(attempted) => return Ok(attempted),
        },
    };
    let Staged { verified, keys, .. } = staged;
    let changes = filled.changes();
    let holds = filled.holds(verified);
    let Filled { tx, kept, written } = filled;
    let losses = Losses::of(&written.effects, kept.removed)?;
    if !agreed.covers(&Changes { dependents: losses.as_dependents(), ..Changes::default() }) {
        tx.rollback().await;
        let dependents = losses.added_to(&changes.dependents);
        let changes = Changes { dependents, ..changes };
        return Ok(Attempted::NothingToCommit(Outcome::More { changes, why: MORE_MEASURED }));
    }
    if !holds {
        let Changes { new, changed, removed, .. } =
            changes::count(&tx, run_id, &run.remap.columns, keys).await?;
        // A book that is there twice has a key that the stage has as well.
        let surplus = (written.copied.rows - verified.fingerprint().rows).saturating_add_unsigned(new);
        let extra = u64::try_from(surplus).unwrap_or(removed);
        let difference = Difference { missing: new, extra, different: changed };
        return Err(difference.error().hint(OTHER_WRITER));
    }
    let measured = losses.measured(&written.effects, &kept.dependents);
    let applied = Applied { changes, apply_ms: written.apply_ms, measured };
    let end = end(run, verified, &applied);
    let generation = if applied.changes.is_none() {
        String::new()
    } else {
        let not_undone = applied.measured.not_undone.clone();
        let generation =
            Generation { run_id, before: kept.before, after: written.state, not_undone: Some(not_undone) };
        format!("{}; {}; ", end_others_sql(run_id), generation.record_sql())
    };
    let guard = guard(&Bounds::AsMeasured(written.reading));
    let last = format!("{generation}{end}; {EMPTY_IF_FREE}; {guard}");
    Ok(Attempted::Ready(Box::new(tx), last, Outcome::Applied(applied)))
}

/// Writes the outcome into the same transaction, so that it is true exactly when the books are there.
fn end(run: &Run<'_>, verified: &Verified, applied: &Applied) -> String {
    let summary = run.context().summary();
    let Changes { new, changed, removed, unchanged, .. } = applied.changes;
    let counts = Counts { inserted: new, updated: changed, deleted: removed, unchanged, ..summary.counts };
    let end = RunEnd {
        fingerprint: Some(verified.fingerprint()),
        snapshot_at: Some(verified.snapshot_at().to_owned()),
        apply_ms: Some(applied.apply_ms),
        ..RunEnd::new(RunState::Verified, counts, summary.retries)
    };
    end_sql(run.lease, RunState::Verified, &end)
}
