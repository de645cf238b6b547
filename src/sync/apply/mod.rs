//! The one transaction that makes `"Book"` equal to the verified stage.
//!
//! Invariant: it commits only what has the fingerprint that the source had, together with the run's outcome and
//! with everything that puts the old state back.

mod ahead;
mod fill;
mod keep;
mod left;
mod write;

use std::ops::ControlFlow;

use sea_orm::Iterable;
use sqlx::postgres::PgRow;
use tokio_util::sync::CancellationToken;

use super::UNCHANGED;
use super::changes::{self, Changes};
use super::commit::{Attempted, Failed, Sent, commit};
use super::guard::dependents::{Dependents, Fate};
use super::losses::{Losses, Measured};
use super::strategy::{Job, OTHER_WRITER, Staged, Tuning, Verified};
use super::verify::Difference;
use crate::book::{Column, TABLE, is_needed, quoted};
use crate::error::{Error, Kind, Result};
use crate::ledger::replaced::{Generation, end_others_sql};
use crate::ledger::run::{Counts, RunEnd, end_sql};
use crate::ledger::stage::EMPTY_IF_FREE;
use crate::postgres::effects::{Bounds, guard};
use crate::postgres::{Fault, Target};
use crate::progress::{Event, Phase, Progress};
use crate::retry::retry;
pub(super) use ahead::{Ahead, Leading, fill_ahead};
pub(super) use fill::{Filled, discard, fill_early};
pub(super) use write::{PLACEHOLDER, rehearsal_sql};

const UNKNOWN: &str = "`\"Book\"` is either unchanged or the new state: the answer to COMMIT was lost";

/// What was agreed to, at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Books that go; `None` is any number.
    pub removed: Option<u64>,
    /// Rows that go along or lose their reference; `None` is any number.
    pub dependents: Option<Vec<Dependents>>,
}

/// How an apply ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The books are the new state.
    Applied(Applied),
    /// More would go by now than was agreed to; nothing was changed.
    MoreThanAgreed(Changes),
    /// The apply did more to other tables than was agreed to, as it was measured; nothing was changed.
    MoreMeasured(Changes),
    /// The stage does not hold what was verified, because a crash of the server emptied it; nothing was changed.
    StageLost,
    /// The source did not end the transaction that was verified with as it should; nothing was changed.
    SnapshotLost(Fault),
    /// An earlier attempt, of this process or another, was committed though its answer was lost.
    Before,
}

/// What was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Books by what became of them.
    pub changes: Changes,
    /// From the first lock until the new books were verified, in milliseconds.
    pub apply_ms: u64,
    /// What happened to other tables.
    pub measured: Measured,
}

impl Agreed {
    /// Whether nothing would go that was not agreed to.
    pub fn covers(&self, changes: &Changes) -> bool {
        let removed = self.removed.is_none_or(|most| changes.removed <= most);
        let dependents = self.dependents.as_ref().is_none_or(|agreed| {
            changes.dependents.iter().filter(|found| found.fate != Fate::Blocking).all(|found| {
                let same = |most: &&Dependents| most.table == found.table && most.fate == found.fate;
                found.rows <= agreed.iter().find(same).map_or(0, |most| most.rows)
            })
        });
        removed && dependents
    }
}

/// Applies the stage of the job's run; a transient error starts the transaction again. The source's transaction ends
/// while the one on the target begins.
///
/// # Errors
/// Any; the target is then as it was, unless the answer to COMMIT stayed out to the end.
pub(super) async fn apply<'a>(job: &Job<'a>, staged: &mut Staged<'a>, agreed: &Agreed) -> Result<Outcome> {
    let Job { tuning, cancel, progress, .. } = job;
    let done = commit(
        tuning.retry,
        "the apply",
        cancel,
        *progress,
        async |_, sent| Box::pin(prepare(job, staged, agreed, sent)).await,
        || Ok(Outcome::Before),
    );
    let outcome = done
        .await
        .map_err(|Failed { error, in_doubt }| error.state(if in_doubt { UNKNOWN } else { UNCHANGED }))?;
    if let Outcome::Applied(Applied { changes, apply_ms, measured }) = &outcome {
        let Changes { new, changed, removed, unchanged, .. } = *changes;
        progress.event(&Event::Applied { new, changed, removed, unchanged, apply_ms: *apply_ms });
        measured.tell(*progress);
    }
    Ok(outcome)
}

/// Everything but the last statements and the COMMIT.
async fn prepare<'a>(
    job: &Job<'a>,
    staged: &mut Staged<'a>,
    agreed: &Agreed,
    sent: &mut Sent<Outcome>,
) -> Result<Attempted<'a, Outcome>> {
    let run_id = job.tenure.run_id;
    job.progress.event(&Event::Phase { phase: Phase::Applying });
    let filled = match staged.filled.take() {
        Some(filled) => filled,
        None => match fill::fill(job, staged, agreed, sent).await? {
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
        return Ok(Attempted::Not(Outcome::MoreMeasured(Changes { dependents, ..changes })));
    }
    if !holds {
        let Changes { new, changed, removed, .. } =
            changes::count(&tx, run_id, &job.remap.columns, keys).await?;
        // A book that is there twice has a key that the stage has as well.
        let surplus = (written.copied.rows - verified.fingerprint().rows).saturating_add_unsigned(new);
        let extra = u64::try_from(surplus).unwrap_or(removed);
        let difference = Difference { missing: new, extra, different: changed };
        return Err(difference.error().hint(OTHER_WRITER));
    }
    let measured = losses.measured(&written.effects, &kept.dependents);
    let applied = Applied { changes, apply_ms: written.apply_ms, measured };
    let end = end(job, verified, &applied);
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

/// An expression for how long the books have been locked, in milliseconds.
const SINCE_LOCKED: &str = "(extract(epoch FROM clock_timestamp() - current_setting('dewey_sync.locked')::timestamptz) * 1000)::bigint";

/// Takes `tables` for a writer: readers go on, whoever else writes waits.
pub(super) fn lock_sql(tables: &[&str]) -> String {
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "))
}

fn applying(fault: Fault) -> Error {
    // A foreign key that only acts, or is only checked, when everything is written.
    if fault.sqlstate().is_some_and(|state| matches!(state, "23503" | "23001")) {
        return Error::new(Kind::Refused, "a foreign key forbids the new books").because(fault).hint(
            "change the rows that refer to the old ones, or the key's ON DELETE and ON UPDATE actions",
        );
    }
    // In the stage no two books have the same value of a key that production has as well.
    if fault.sqlstate() == Some("23505") && fault.function.is_none() {
        return Error::new(Kind::Refused, "a unique key forbids the new books").because(fault).hint(
            "if only development has that key, drop it; if production has it too, look for triggers on the target's `\"Book\"`",
        );
    }
    fault.error("could not apply the staged books")
}

/// Writes the outcome into the same transaction, so that it is true exactly when the books are there.
fn end(job: &Job<'_>, verified: &Verified, applied: &Applied) -> String {
    let summary = job.progress.summary();
    let Changes { new, changed, removed, unchanged, .. } = applied.changes;
    let counts = Counts { inserted: new, updated: changed, deleted: removed, unchanged, ..summary.counts };
    let end = RunEnd {
        fingerprint: Some(verified.fingerprint()),
        snapshot_at: Some(verified.snapshot_at().to_owned()),
        apply_ms: Some(applied.apply_ms),
        ..RunEnd::new("verified", counts, summary.retries)
    };
    end_sql(job.tenure, "verified", &end)
}

/// Statements that let the planner know the new books. Wide columns cost most of the time and gain little by a large
/// sample; those that books are looked for by are sampled as the server is set to.
pub(super) fn analyze_sql() -> String {
    let looked_for: Vec<String> = Column::iter().filter(|column| is_needed(*column)).map(quoted).collect();
    format!(
        "SET LOCAL default_statistics_target = 10; ANALYZE {TABLE};
SET LOCAL default_statistics_target TO DEFAULT; ANALYZE {TABLE} ({})",
        looked_for.join(", ")
    )
}

/// Runs what an apply is followed by, in a transaction of its own; its rows. Failing to is not the run's failure.
pub(super) async fn follow_up(
    target: &Target,
    tuning: &Tuning,
    progress: &dyn Progress,
    sql: &str,
) -> Vec<PgRow> {
    let never = CancellationToken::new();
    let done = retry(tuning.retry, "the analysis", &never, progress, async |_| {
        let done = target.once(tuning.whole_table(), sql).await;
        done.map_err(|fault| fault.error("could not analyse the new books"))
    });
    done.await.unwrap_or_else(|error| {
        tracing::info!(%error, "the new books were not analysed");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependents(table: &str, fate: Fate, rows: u64) -> Dependents {
        Dependents { table: table.into(), fate, rows }
    }

    #[test]
    fn agreed_is_what_was_announced_and_less() {
        let changes = |removed, dependents| Changes { removed, dependents, ..Changes::default() };
        // A table may lose rows through one key and references through another.
        let most = vec![
            dependents("entry", Fate::Removed, 3),
            dependents("list", Fate::Removed, 3),
            dependents("list", Fate::Detached, 5),
        ];
        let agreed = Agreed { removed: Some(2), dependents: Some(most) };
        for (removed, found, covered) in [
            (2, vec![dependents("entry", Fate::Removed, 3)], true),
            (0, vec![], true),
            (3, vec![], false),
            (2, vec![dependents("entry", Fate::Removed, 4)], false),
            (2, vec![dependents("entry", Fate::Detached, 1)], false),
            (2, vec![dependents("note", Fate::Removed, 1)], false),
            (2, vec![dependents("note", Fate::Removed, 0)], true),
            (2, vec![dependents("list", Fate::Removed, 4)], false),
            (2, vec![dependents("list", Fate::Detached, 4)], true),
        ] {
            assert_eq!(agreed.covers(&changes(removed, found.clone())), covered, "{removed} {found:?}");
        }
        let any = Agreed::default();
        assert!(any.covers(&changes(9, vec![dependents("note", Fate::Removed, 9)])));
    }
}
