//! Verifies the stage: one snapshot of the source fingerprints every range, and what differs is staged again from the same
//! snapshot. So two passes suffice, however busy production is, and the stage equals production as of that snapshot. The
//! pass over the target also counts what the stage would change.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::book::{KEY, OTHER_KEY, quoted};
use crate::dependents::current::Keys;
use crate::dependents::{ForeignKey, current as foreign_keys};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::{self, Destination};
use crate::plan::{Plan, Range};
use crate::postgres::fingerprint::{Fingerprint, by_range, stage_by_range};
use crate::postgres::query::Query;
use crate::postgres::{Fault, SourceTx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::Attempt;
use crate::sync::apply::staged::{Staged, finish};
use crate::sync::apply::{EarlyFill, Filled, complete_early_fill, discard};
use crate::sync::batches::batch::Batch;
use crate::sync::changes::{self, Changes};
use crate::sync::outcome::{Verified, snapshot_time};
use crate::sync::run::Run;
use crate::transfer::duplicates::{duplicates, refuse_duplicates};

/// By range, counted from 0; a range without rows has none.
type Fingerprints = BTreeMap<usize, Fingerprint>;

/// Compares, and stages again what differs; counts what the stage would change. An empty book table is filled on the way.
/// `early` has begun with that. `keys` are the target's foreign keys, as far as that is known. `failed` is how an earlier
/// verification came to nothing after all.
///
/// # Errors
/// [`Kind::Differs`] when what was staged again is not what the source has; [`Kind::NotCompleted`] when books of the stage
/// cannot be in the target together.
pub(crate) async fn verify<'a>(
    run: &Run<'a>,
    mut keys: Vec<ForeignKey>,
    mut early: Option<EarlyFill<'a>>,
    mut failed: Option<Fault>,
) -> Result<Staged<'a>> {
    let compared = run.context().retry("the verification", async |attempt| {
        if let Some(fault) = failed.take() {
            return Err(verifying(fault));
        }
        run.context().phase(Phase::Verifying);
        let comparing = async {
            if run.is_first_fill()
                && let Some(compared) = Box::pin(fill_and_compare(run, &keys, early.take())).await?
            {
                return Ok(compared);
            }
            Box::pin(compare(run, &mut keys, attempt)).await
        };
        run.context().cancellable(comparing).await
    });
    let Compared { verified, duplicates, changes, snapshot, filled } = compared.await?;
    let Fingerprint { rows, .. } = verified.fingerprint();
    run.context().progress.event(&Event::Verified { rows, digest: verified.fingerprint().digest_hex() });
    let refused = refuse_duplicates(&duplicates).and_then(|()| run.check_source(verified.fingerprint()));
    if let Err(error) = refused {
        discard(filled).await;
        finish(snapshot).await.map_err(verifying)?;
        return Err(error);
    }
    Ok(Staged { verified, changes, keys, snapshot, filled })
}

struct Compared<'a> {
    verified: Verified,
    duplicates: Vec<String>,
    changes: Changes,
    snapshot: Option<SourceTx<'a>>,
    filled: Option<Filled<'a>>,
}

/// Of a first fill about which nobody is asked: fills the book table while the source is fingerprinted, and compares the
/// two, so that the stage is read once. `None` when they differ, or something is in the way; nothing is changed then.
async fn fill_and_compare<'a>(
    run: &Run<'a>,
    keys: &[ForeignKey],
    early: Option<EarlyFill<'a>>,
) -> Result<Option<Compared<'a>>> {
    let expecting = async {
        let (source, snapshot_at, expected) = of_source(run).await?;
        source.finish().await?;
        Ok(Verified::new(whole(expected), snapshot_at))
    };
    let (expected, filled) = tokio::join!(expecting, complete_early_fill(run, keys, early));
    match (expected, filled) {
        (Ok(verified), Ok(Some(filled))) if filled.holds(&verified) => {
            let (changes, duplicates) = (filled.changes(), Vec::new());
            Ok(Some(Compared { verified, duplicates, changes, snapshot: None, filled: Some(filled) }))
        }
        (expected, filled) => {
            discard(filled?).await;
            expected.map(|_| None).map_err(verifying)
        }
    }
}

async fn compare<'a>(run: &Run<'a>, keys: &mut Vec<ForeignKey>, attempt: Attempt) -> Result<Compared<'a>> {
    let (source, found) = tokio::join!(of_source(run), of_target(run, keys));
    let ((source, snapshot_at, expected), mut found) =
        (source.map_err(verifying)?, found.map_err(verifying)?);
    let mut snapshot = Some(source);
    let differing = differing(&run.plan, &expected, &found.staged);
    if let Some(source) = snapshot.take_if(|_| !differing.is_empty()) {
        stage_again(run, &source, &differing, attempt).await?;
        let (again, finished) = tokio::join!(of_target(run, keys), source.finish());
        finished.map_err(verifying)?;
        found = again.map_err(verifying)?;
        let left = self::differing(&run.plan, &expected, &found.staged);
        if !left.is_empty() {
            return Err(unequal(&left));
        }
    }
    // No transaction is open while a question waits.
    finish(snapshot.take_if(|_| run.ask().waits())).await.map_err(verifying)?;
    let Found { duplicates, changes, .. } = found;
    let verified = Verified::new(whole(expected), snapshot_at);
    Ok(Compared { verified, duplicates, changes, snapshot, filled: None })
}

fn whole(ranges: Fingerprints) -> Fingerprint {
    ranges.into_values().fold(Fingerprint::default(), Fingerprint::plus)
}

fn verifying(fault: Fault) -> Error {
    fault.error("could not verify")
}

fn unequal(ranges: &[Range]) -> Error {
    let batches: Vec<String> = ranges.iter().map(|range| range.batch.to_string()).collect();
    Error::new(Kind::Differs, "what was staged is not equal to the source")
        .because(format!("batches that differ after they were copied twice: {}", batches.join(", ")))
        .hint("compare the columns' types of both sides; a value may not fit as it is")
}

/// The snapshot, its time, and what it holds.
async fn of_source<'a>(run: &Run<'a>) -> Result<(SourceTx<'a>, String, Fingerprints), Fault> {
    let by_range = by_range(&run.remap.columns, &run.remap.owners, &run.plan.ends());
    let first = (snapshot_time(), Query::new(by_range, fingerprints));
    let (source, (time, expected)) = run.sides().source.snapshot(run.tuning().whole_table(), first).await?;
    Ok((source, time, expected))
}

/// One look at the stage and the books.
struct Found {
    staged: Fingerprints,
    duplicates: Vec<String>,
    changes: Changes,
}

async fn of_target(run: &Run<'_>, keys: &mut Vec<ForeignKey>) -> Result<Found, Fault> {
    let (run_id, columns) = (run.lease.run_id, &run.remap.columns);
    let (target, limit) = (&run.sides().target, run.tuning().whole_table());
    foreign_keys::with_current_keys(target, limit, keys, async |keys| {
        // Without statistics the stage would be read by its index, by nobody in parallel.
        let analyze = format!(
            "SET LOCAL default_statistics_target = 10; ANALYZE dewey_sync.stage (run_id, source_id, {}, {})",
            quoted(KEY),
            quoted(OTHER_KEY)
        );
        let queries = (
            Query::silent(analyze),
            changes::counted(run_id, columns, keys),
            duplicates(run_id),
            foreign_keys::query(),
            // The last, because sorts are off from then on.
            Query::new(stage_by_range(columns, run_id, &run.plan.ends()), fingerprints),
        );
        let ((), changes, duplicates, now, staged) = target.once(limit, queries).await?;
        if !foreign_keys::are_same(keys, &now) {
            return Ok(Keys::Changed(now));
        }
        Ok(Keys::Current(Found { staged, duplicates, changes }))
    })
    .await
}

fn fingerprints(rows: &[PgRow]) -> Result<Fingerprints, Fault> {
    let read = |row: &PgRow| {
        let range = usize::try_from(row.try_get::<i32, _>(0)?).unwrap_or_default();
        Ok((range, Fingerprint::from_row(row, 1)?))
    };
    rows.iter().map(read).collect()
}

fn differing(plan: &Plan, expected: &Fingerprints, staged: &Fingerprints) -> Vec<Range> {
    let differs = |index: &usize| expected.get(index) != staged.get(index);
    (0..plan.ranges.len()).filter(differs).map(|index| plan.ranges[index]).collect()
}

/// Stages `ranges` again, one after the other as the one snapshot gives them, each in a transaction of its own.
async fn stage_again(run: &Run<'_>, source: &SourceTx<'_>, ranges: &[Range], attempt: Attempt) -> Result<()> {
    run.context().phase(Phase::Repairing);
    let (run_id, target) = (run.lease.run_id, &run.sides().target);
    let (_, last) = checkpoint::committed(target, run_id, Destination::Stage).await.map_err(verifying)?;
    let mut books = 0;
    for range in ranges {
        let mut round = last + 1;
        // A lost session of ours may have committed this round meanwhile, from an older snapshot.
        books += loop {
            match Batch::of_repair(range, round, attempt).copy_from(run, source).await? {
                Some(copied) => break copied.exported,
                None => round += 1,
            }
        };
    }
    run.context().progress.event(&Event::StagedAgain { batches: ranges.len(), books });
    Ok(())
}
