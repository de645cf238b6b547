//! The last look of `batched`: both sides compared as one snapshot of the source has them. What changed in production
//! since its range was read is copied again in that snapshot, once, and compared before the COMMIT.

use super::Pair;
use crate::book::TABLE;
use crate::dependents::uncounted::Counting;
use crate::error::Result;
use crate::ledger::checkpoint::{self, Destination};
use crate::ledger::run::fence_sql;
use crate::postgres::effects::{Bounds, guard};
use crate::postgres::fingerprint::{Rows, bucket};
use crate::postgres::{Fault, SourceTx, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::Attempt;
use crate::sync::batches::committed;
use crate::sync::book_table::lock_sql;
use crate::sync::losses::{self, Losses};
use crate::sync::outcome::{OTHER_WRITER, Verified, snapshot_time};
use crate::sync::run::Run;
use crate::transfer::duplicates::explain_duplicates;
use crate::transfer::export::Books;

/// Books copied again, waiting for their COMMIT.
struct Repair<'server> {
    target: Tx<'server>,
    done: Event,
    /// What it did to every table.
    as_measured: Bounds,
}

/// Compares, and copies again what differs.
///
/// # Errors
/// [`Kind::Differs`](crate::error::Kind::Differs) also when the target holds other rows than the batches inserted: then
/// it is not the source that changed, and a row that somebody added in development is not removed without a word.
pub(crate) async fn reconcile(run: &Run<'_>, bounds: &Bounds) -> Result<Verified> {
    // From a repair's COMMIT on, also in an earlier life of the run, the target may hold other rows than the batches wrote.
    let mut repaired = run.resumed && committed(run, Destination::Book).await?.1 > 0;
    let verified = run
        .context()
        .retry("the verification", async |attempt| {
            let (verified, repair) =
                run.context().cancellable(compare(run, bounds, attempt, repaired)).await?;
            if let Some(Repair { target, done, as_measured }) = repair {
                repaired = true;
                let committed = target.commit_after(&guard(&as_measured)).await;
                committed
                    .map_err(|fault| losses::refused(fault, "could not commit what was copied again"))?;
                run.context().progress.event(&done);
            }
            Ok(verified)
        })
        .await?;
    let digest = verified.fingerprint().digest_hex();
    run.context().progress.event(&Event::Verified { rows: verified.fingerprint().rows, digest });
    Ok(verified)
}

/// Everything but the COMMIT.
async fn compare<'a>(
    run: &Run<'a>,
    bounds: &Bounds,
    attempt: Attempt,
    repaired: bool,
) -> Result<(Verified, Option<Repair<'a>>)> {
    run.context().phase(Phase::Verifying);
    let verifying = |fault: Fault| fault.error("could not verify");
    let began = run.sides().source.snapshot(run.tuning().whole_table(), snapshot_time()).await;
    let (source, snapshot_at) = began.map_err(verifying)?;
    let target = run.sides().target.open(run.tuning().whole_table()).await.map_err(verifying)?;
    let columns = &run.remap.columns;
    let pair = Pair { source: &source, target: &target, columns, owners: &run.remap.owners };
    let (expected, found) = pair.fingerprints().await?;
    run.check_source(expected)?;
    let verified = Verified::new(expected, snapshot_at);
    if expected == found {
        target.rollback().await;
        source.finish().await.map_err(verifying)?;
        return Ok((verified, None));
    }
    let buckets = pair.differing_buckets().await?;
    let written = run.context().summary().counts.inserted;
    if !repaired && found.rows.unsigned_abs() != written {
        return Err(pair.difference(&buckets).await?.error().hint(OTHER_WRITER));
    }
    target.rollback().await;
    let repair = repair(run, bounds, &source, &buckets, attempt).await?;
    source.finish().await.map_err(verifying)?;
    Ok((verified, Some(repair)))
}

/// Replaces the books of `buckets` by those of the snapshot, and compares the whole again.
async fn repair<'a>(
    run: &Run<'a>,
    bounds: &Bounds,
    source: &SourceTx<'_>,
    buckets: &[i32],
    attempt: Attempt,
) -> Result<Repair<'a>> {
    run.context().phase(Phase::Repairing);
    let repairing = |fault: Fault| fault.error("could not copy again what differs");
    let first = format!("{}; {}", fence_sql(run.lease), lock_sql(&[TABLE]));
    let began = run.sides().target.write_measured(run.tuning().whole_table(), &first).await;
    let (target, fence) = began.map_err(repairing)?;
    if fence.is_empty() {
        return Err(run.taken_over());
    }
    let counting = target.ask(Counting::begin(run.keys())).await.map_err(repairing)?;
    let list: Vec<String> = buckets.iter().map(i32::to_string).collect();
    let columns = &run.remap.columns;
    let bucket = bucket(columns, Rows::OfTarget);
    let delete = format!("DELETE FROM {TABLE} WHERE {bucket} IN ({})", list.join(", "));
    let deleted = target.execute_simple(&delete).await.map_err(repairing)?;
    let books = Books::Buckets(buckets);
    let mark = checkpoint::repair_sql(run.lease);
    target.execute_simple(&mark).await.map_err(repairing)?;
    let size = run.tuning().batch_size.into();
    let transfer = run.transfer(Destination::Book);
    let exported = transfer.export(source, books, size, attempt.shrinks);
    let copied = match transfer.import(&target, exported).await {
        Ok(copied) => copied,
        Err(error) => return Err(explain_duplicates(error, source, columns).await),
    };
    let pair = Pair { source, target: &target, columns, owners: &run.remap.owners };
    let (expected, found) = pair.fingerprints().await?;
    if expected != found {
        let differing = pair.differing_buckets().await?;
        return Err(pair.difference(&differing).await?.error().hint(OTHER_WRITER));
    }
    let read = losses::read_after(&target, "SELECT", counting.as_ref()).await;
    let (effects, reading) = read.map_err(repairing)?;
    let losses = Losses::of(&effects, deleted)?;
    if !bounds.allow(losses.effects()) {
        return Err(losses::refuse(losses.effects()));
    }
    let done = Event::Repaired { deleted, books: copied.exported, inserted: copied.inserted };
    Ok(Repair { target, done, as_measured: Bounds::AsMeasured(reading) })
}
