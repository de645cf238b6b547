//! Verifies the stage: one snapshot of the source fingerprints every range, and what differs is staged again from the same
//! snapshot. So two passes suffice, however busy production is, and the stage equals production as of that snapshot.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Job, SNAPSHOT_TIME, Verified};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::{self, Checkpoint, Destination};
use crate::ledger::run::Claim;
use crate::postgres::fingerprint::{Fingerprint, by_range, stage_by_range};
use crate::postgres::{Fault, SourceTx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Attempt, retry};
use crate::sync::export::Books;
use crate::sync::import::Copied;
use crate::sync::plan::{Plan, Range};
use crate::sync::{SYNC, unless_cancelled};

/// By range, counted from 0; a range without rows has none.
type Fingerprints = BTreeMap<usize, Fingerprint>;

/// Compares, and stages again what differs.
///
/// # Errors
/// [`Kind::Differs`] when what was staged again is not what the source has.
pub(super) async fn verify(job: &Job<'_>, plan: &Plan) -> Result<Verified> {
    let verified = retry(job.tuning.retry, "the verification", job.cancel, job.progress, async |attempt| {
        unless_cancelled(job.cancel, SYNC, Box::pin(compare(job, plan, attempt))).await
    })
    .await?;
    let digest = verified.fingerprint().digest_hex();
    job.progress.event(&Event::Verified { rows: verified.fingerprint().rows, digest });
    Ok(verified)
}

async fn compare(job: &Job<'_>, plan: &Plan, attempt: Attempt) -> Result<Verified> {
    job.progress.event(&Event::Phase { phase: Phase::Verifying });
    let opened = job.sides.source.snapshot(job.tuning.whole_table(), SNAPSHOT_TIME).await;
    let (source, time) = opened.map_err(verifying)?;
    let time = time.first().ok_or_else(|| verifying(Fault::client("no time")))?;
    let snapshot_at = time.try_get(0).map_err(|error| verifying(error.into()))?;
    let (expected, staged) = tokio::join!(of_source(job, plan, &source), of_stage(job, plan));
    let (expected, staged) = (expected.map_err(verifying)?, staged.map_err(verifying)?);
    let differing = differing(plan, &expected, &staged);
    if !differing.is_empty() {
        stage_again(job, &source, &differing, attempt).await?;
        let staged = of_stage(job, plan).await.map_err(verifying)?;
        let left = self::differing(plan, &expected, &staged);
        if !left.is_empty() {
            return Err(unequal(&left));
        }
    }
    source.finish().await.map_err(verifying)?;
    let whole = expected.into_values().fold(Fingerprint::default(), Fingerprint::plus);
    Ok(Verified::new(whole, snapshot_at))
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

async fn of_source(job: &Job<'_>, plan: &Plan, source: &SourceTx<'_>) -> Result<Fingerprints, Fault> {
    fingerprints(&source.read(&by_range(&job.remap.columns, &job.remap.owners, &plan.ends())).await?)
}

async fn of_stage(job: &Job<'_>, plan: &Plan) -> Result<Fingerprints, Fault> {
    let query = stage_by_range(&job.remap.columns, job.tenure.run_id, &plan.ends());
    let (tx, rows) = job.sides.target.snapshot(job.tuning.whole_table(), &query).await?;
    tx.rollback().await;
    fingerprints(&rows)
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
async fn stage_again(job: &Job<'_>, source: &SourceTx<'_>, ranges: &[Range], attempt: Attempt) -> Result<()> {
    job.progress.event(&Event::Phase { phase: Phase::Repairing });
    let (run_id, target) = (job.tenure.run_id, &job.sides.target);
    let (_, last) = checkpoint::committed(target, run_id, Destination::Stage).await.map_err(verifying)?;
    let mut books = 0;
    for range in ranges {
        let mut round = last + 1;
        // A lost session of ours may have committed this round meanwhile, from an older snapshot.
        books += loop {
            match stage_range(job, source, range, round, attempt).await? {
                Some(copied) => break copied.exported,
                None => round += 1,
            }
        };
    }
    job.progress.event(&Event::StagedAgain { batches: ranges.len(), books });
    Ok(())
}

/// `None` when this round is committed already.
async fn stage_range(
    job: &Job<'_>,
    source: &SourceTx<'_>,
    range: &Range,
    round: u32,
    attempt: Attempt,
) -> Result<Option<Copied>> {
    let staging = |fault: Fault| fault.error("could not stage again what differs");
    let batch = Checkpoint { round, ..range.checkpoint() };
    let claim = checkpoint::claim_sql(job.tenure, Destination::Stage, batch);
    let (target, rows) = job.sides.target.write(job.tuning.batch_timeout, &claim).await.map_err(staging)?;
    match checkpoint::claim(&rows).map_err(staging)? {
        Claim::Ours => {}
        Claim::AlreadyDone => return Ok(None),
        Claim::Lost => return Err(job.lost_run()),
    }
    let delete = format!(
        "DELETE FROM dewey_sync.stage WHERE run_id = {} AND {}",
        job.tenure.run_id,
        range.condition("source_id")
    );
    target.execute_simple(&delete).await.map_err(staging)?;
    let books = Books::Range(range);
    let copied = job.copy(source, &target, books, range.books, attempt, Destination::Stage).await?;
    if copied.inserted != batch.rows {
        let correct = checkpoint::correct_sql(job.tenure, Destination::Stage, batch, copied.inserted);
        target.execute_simple(&correct).await.map_err(staging)?;
    }
    target.commit().await.map_err(staging)?;
    Ok(Some(copied))
}
