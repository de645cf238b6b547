//! The one transaction that makes `"Book"` equal to the verified stage.
//!
//! Invariant: it commits only what has the fingerprint that the source had, together with the run's outcome and
//! with everything that puts the old state back.

mod keep;
mod write;

use std::time::Instant;

use sea_orm::IdenStatic;
use sqlx::Row;
use tokio_util::sync::CancellationToken;

use super::changes::{self, Changes, read_foreign_keys};
use super::commit::{Attempted, Failed, Sent, commit};
use super::guard::dependents::{Agreement, Dependents, Fate, Reach, check};
use super::remap::Remap;
use super::strategy::{Job, OTHER_WRITER, Tuning, Verified};
use super::verify::Difference;
use super::{UNCHANGED, owners};
use crate::book::{Column, KEY, TABLE, quoted};
use crate::error::{Error, Result};
use crate::ledger::replaced::{EXACT_TEXT, Generation, end_others_sql};
use crate::ledger::run::{Claim, Counts, RunEnd, claim_whole, claim_whole_sql, end_sql};
use crate::postgres::{Fault, Fingerprint, Target, Tx, literal};
use crate::progress::{Event, Phase, Progress};
use crate::retry::retry;
pub(super) use write::PLACEHOLDER;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The books are the new state.
    Applied(Applied),
    /// More would go by now than was agreed to; nothing was changed.
    MoreThanAgreed(Changes),
    /// The stage does not hold what was verified, because a crash of the server emptied it; nothing was changed.
    StageLost,
    /// An earlier attempt, of this process or another, was committed though its answer was lost.
    Before,
}

/// What was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Books by what became of them.
    pub changes: Changes,
    /// From the first lock to the last statement before COMMIT, in milliseconds.
    pub apply_ms: u64,
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

/// Applies the stage of the job's run; a transient error starts the transaction again.
///
/// # Errors
/// Any; the target is then as it was, unless the answer to COMMIT stayed out to the end.
pub async fn apply(job: &Job<'_>, verified: &Verified, agreed: &Agreed) -> Result<Outcome> {
    let Job { sides, tuning, cancel, progress, .. } = job;
    let done = commit(
        tuning.retry,
        "the apply",
        cancel,
        *progress,
        async |_, sent| Box::pin(prepare(job, verified, agreed, sent)).await,
        || Ok(Outcome::Before),
    );
    let outcome = done
        .await
        .map_err(|Failed { error, in_doubt }| error.state(if in_doubt { UNKNOWN } else { UNCHANGED }))?;
    if let Outcome::Applied(Applied { changes, apply_ms }) = &outcome {
        let Changes { new, changed, removed, unchanged, .. } = *changes;
        progress.event(&Event::Applied { new, changed, removed, unchanged, apply_ms: *apply_ms });
        if !changes.is_none() {
            analyze(&sides.target, tuning, *progress).await;
        }
    }
    Ok(outcome)
}

/// The open transaction and what it works with.
struct Applying<'a> {
    tx: &'a Tx<'a>,
    run_id: i64,
    remap: &'a Remap,
    /// Which sequence gives out ids, if one does.
    sequence: Option<String>,
}

/// Everything but the COMMIT.
async fn prepare<'a>(
    job: &Job<'a>,
    verified: &Verified,
    agreed: &Agreed,
    sent: &mut Sent<Outcome>,
) -> Result<Attempted<'a, Outcome>> {
    let Job { sides, tenure, remap, tuning, progress, .. } = job;
    let run_id = tenure.run_id;
    progress.event(&Event::Phase { phase: Phase::Applying });
    // What needs no lock comes before it.
    let first = format!(
        "{claim}; {owner}; {EXACT_TEXT}; SET LOCAL work_mem = '{work_mem}';
ANALYZE dewey_sync.stage (run_id, source_id, {key});
SELECT count(*) AS staged, pg_get_serial_sequence({table}, '{id}') AS sequence FROM dewey_sync.stage
WHERE run_id = {run_id}; {lock}",
        claim = claim_whole_sql(*tenure),
        owner = owners::hold_sql(&remap.owners),
        work_mem = changes::WORK_MEM,
        lock = lock_sql(&[TABLE]),
        key = quoted(KEY),
        table = literal(TABLE),
        id = Column::Id.as_str(),
    );
    let began = sides.target.write(tuning.whole_table(), &first).await;
    let (tx, rows) = began.map_err(|fault| fault.error("could not begin on the target"))?;
    match claim_whole(&rows) {
        Claim::Ours => sent.forget(),
        Claim::AlreadyDone => return Ok(Attempted::Before),
        Claim::Lost => return Err(job.lost_run()),
    }
    owners::check_held(&rows, &remap.owners)?;
    let locked = Instant::now();
    let staged = rows.iter().find(|row| row.try_get::<i64, _>("staged").is_ok());
    let staged = staged.ok_or_else(|| applying(Fault::client("the stage was not counted")))?;
    let sequence = staged.try_get("sequence").map_err(|error| applying(error.into()))?;
    if staged.try_get::<i64, _>("staged").ok() != Some(verified.fingerprint().rows) {
        tx.rollback().await;
        return Ok(Attempted::Not(Outcome::StageLost));
    }
    let keys = read_foreign_keys(&tx).await.map_err(applying)?;
    let reach = Reach::of(&keys);
    lock(&tx, &reach.as_ref().map(Reach::tables).unwrap_or_default()).await.map_err(applying)?;
    let apply = Applying { tx: &tx, run_id, remap, sequence };
    let kept = keep::keep(&apply, reach.as_ref()).await.map_err(applying)?;
    check(&kept.dependents, Agreement::ByQuestion)?;
    let keep::Kept { removed, changed, dependents, touched } = kept;
    let mut changes = Changes { changed, removed, dependents, ..Changes::default() };
    if !agreed.covers(&changes) {
        let changes = changes::count(&tx, run_id, &remap.columns).await?;
        tx.rollback().await;
        return Ok(Attempted::Not(Outcome::MoreThanAgreed(changes)));
    }
    write::write(&apply).await.map_err(applying)?;
    let written = write::read(&apply).await.map_err(|fault| fault.error("could not verify the books"))?;
    if written.copied != verified.fingerprint() {
        let Changes { new, changed, removed, .. } = changes::count(&tx, run_id, &remap.columns).await?;
        // A book that is there twice has a key that the stage has as well.
        let surplus = (written.copied.rows - verified.fingerprint().rows).saturating_add_unsigned(new);
        let extra = u64::try_from(surplus).unwrap_or(removed);
        let difference = Difference { missing: new, extra, different: changed };
        return Err(difference.error().hint(OTHER_WRITER));
    }
    let books = written.state.rows.unsigned_abs();
    changes.new = written.new;
    changes.private = written.private;
    changes.unchanged = books.saturating_sub(written.new + changed);
    let mut record = String::new();
    if !changes.is_none() {
        let before = before(&written, removed, touched);
        let generation = Generation { run_id, before, after: written.state };
        record = format!("{}; {}; ", end_others_sql(run_id), generation.record_sql());
    }
    let apply_ms = u64::try_from(locked.elapsed().as_millis()).unwrap_or(u64::MAX);
    let applied = Applied { changes, apply_ms };
    record.push_str(&end(job, verified, &applied));
    tx.execute_simple(&record).await.map_err(|fault| fault.error("could not record the outcome"))?;
    Ok(Attempted::Ready(tx, Outcome::Applied(applied)))
}

/// Takes `tables` for a writer: readers go on, whoever else writes waits.
pub(super) fn lock_sql(tables: &[&str]) -> String {
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "))
}

/// Locks the dependent tables, which are in the order in which everybody locks them.
pub(super) async fn lock(tx: &Tx<'_>, tables: &[&str]) -> Result<(), Fault> {
    if tables.is_empty() {
        return Ok(());
    }
    tx.execute_simple(&lock_sql(tables)).await.map(drop)
}

fn applying(fault: Fault) -> Error {
    fault.error("could not apply the staged books")
}

/// The state before the writes: digests are sums, so what was touched is taken out and put back as it was.
fn before(after: &write::Written, removed: u64, touched: Fingerprint) -> Fingerprint {
    let others = after.state.digest.wrapping_sub(after.touched.digest);
    let rows = after.state.rows - after.new.cast_signed() + removed.cast_signed();
    Fingerprint { rows, digest: others.wrapping_add(touched.digest) }
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

/// Lets the planner know the new books; failing to is not the run's failure.
pub(super) async fn analyze(target: &Target, tuning: &Tuning, progress: &dyn Progress) {
    let sql = format!("ANALYZE {TABLE}");
    let never = CancellationToken::new();
    let analyzed = retry(tuning.retry, "the analysis", &never, progress, async |_| {
        target
            .once(tuning.whole_table(), &sql)
            .await
            .map_err(|fault| fault.error("could not analyse the new books"))
    });
    if let Err(error) = analyzed.await {
        tracing::info!(%error, "the new books were not analysed");
    }
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
        let agreed =
            Agreed { removed: Some(2), dependents: Some(vec![dependents("entry", Fate::Removed, 3)]) };
        for (removed, found, covered) in [
            (2, vec![dependents("entry", Fate::Removed, 3)], true),
            (0, vec![], true),
            (3, vec![], false),
            (2, vec![dependents("entry", Fate::Removed, 4)], false),
            (2, vec![dependents("entry", Fate::Detached, 1)], false),
            (2, vec![dependents("note", Fate::Removed, 1)], false),
            (2, vec![dependents("note", Fate::Removed, 0)], true),
        ] {
            assert_eq!(agreed.covers(&changes(removed, found.clone())), covered, "{removed} {found:?}");
        }
        let any = Agreed::default();
        assert!(any.covers(&changes(9, vec![dependents("note", Fate::Removed, 9)])));
    }
}
