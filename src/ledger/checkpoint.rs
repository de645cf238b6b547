//! One row for every committed batch of a run, written in the batch's own transaction.
//!
//! A checkpoint lives and dies with the rows that it vouches for: those of the stage are unlogged as the stage is.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::Row;

use super::run::{Claim, Lease};
use crate::postgres::query::Query;
use crate::postgres::{Fault, Target, Tx};

/// Where the rows of a batch go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The book table.
    Book,
    /// The stage.
    Stage,
}

impl Destination {
    const fn checkpoints(self) -> &'static str {
        match self {
            Self::Book => "dewey_sync.checkpoint",
            Self::Stage => "dewey_sync.stage_checkpoint",
        }
    }
}

/// A batch as its checkpoint records it.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint {
    /// 0 is the deletion, 1 the first range.
    pub batch: usize,
    /// 0, and one more each time that the batch is copied again.
    pub round: u32,
    /// Source ids after this one; `None` is from the first.
    pub after_id: Option<i32>,
    /// Source ids up to and with this one; `None` is to the last.
    pub through_id: Option<i32>,
    /// Rows that the plan saw in the range.
    pub rows: u64,
}

/// The first statement of a batch's transaction. It waits for a lost session of ours that has the same claim still
/// uncommitted, which a SELECT would not see, and for whoever takes over.
pub(crate) fn claim(
    Lease { run_id, epoch }: Lease,
    destination: Destination,
    batch: Checkpoint,
) -> Query<'static, Claim> {
    let Checkpoint { batch, round, rows, after_id, through_id } = batch;
    let bound = |id: Option<i32>| id.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
    let (after_id, through_id) = (bound(after_id), bound(through_id));
    let sql = format!(
        "WITH run AS (SELECT run_id FROM dewey_sync.run WHERE run_id = {run_id} AND epoch = {epoch} \
           AND state = 'running' FOR SHARE), \
         claimed AS (INSERT INTO {checkpoints} (run_id, batch, round, after_id, through_id, rows, epoch) \
           SELECT run_id, {batch}, {round}, {after_id}::bigint, {through_id}::bigint, {rows}, {epoch} FROM run \
           ON CONFLICT DO NOTHING RETURNING batch) \
         SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM claimed)",
        checkpoints = destination.checkpoints(),
    );
    Query::last_row(sql, |row| {
        Ok(match (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?) {
            (0, _) => Claim::Lost,
            (_, 0) => Claim::AlreadyDone,
            _ => Claim::Ours,
        })
    })
}

/// A statement that corrects the rows of a claimed batch, where the plan saw another number than were written.
pub fn correct_sql(lease: Lease, destination: Destination, batch: Checkpoint, rows: u64) -> String {
    format!("UPDATE {} SET rows = {rows} WHERE {}", destination.checkpoints(), is(lease, batch))
}

/// A statement that records, as a further round of the deletion, that books which changed in the source were copied again.
/// The transaction has the lock on the book table, so no other one chooses the same round.
pub fn repair_sql(Lease { run_id, epoch }: Lease) -> String {
    format!(
        "INSERT INTO dewey_sync.checkpoint (run_id, batch, round, rows, epoch) \
         SELECT run_id, 0, max(round) + 1, 0, {epoch} FROM dewey_sync.checkpoint \
         WHERE run_id = {run_id} AND batch = 0 GROUP BY run_id"
    )
}

/// The rows of a batch that was committed before.
pub async fn rows(
    tx: &Tx<'_>,
    lease: Lease,
    destination: Destination,
    batch: Checkpoint,
) -> Result<u64, Fault> {
    let sql = format!("SELECT rows FROM {} WHERE {}", destination.checkpoints(), is(lease, batch));
    let rows = tx.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| Fault::client("a checkpoint is gone"))?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

fn is(Lease { run_id, .. }: Lease, Checkpoint { batch, round, .. }: Checkpoint) -> String {
    format!("run_id = {run_id} AND batch = {batch} AND round = {round}")
}

/// The rows of every batch that `run_id` has committed, and the last round of any.
pub async fn committed(
    target: &Target,
    run_id: i64,
    destination: Destination,
) -> Result<(BTreeMap<usize, u64>, u32), Fault> {
    let sql = format!(
        "SELECT DISTINCT ON (batch) batch::bigint, rows, max(round) OVER () FROM {} WHERE run_id = {run_id} \
         ORDER BY batch, round DESC",
        destination.checkpoints()
    );
    let rows = target.read_once(target.server().short_limit(), &sql).await?;
    let mut batches = BTreeMap::new();
    let mut last = 0;
    for row in &rows {
        let batch = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
        batches.insert(batch, row.try_get::<i64, _>(1)?.unsigned_abs());
        last = row.try_get::<i32, _>(2)?.unsigned_abs();
    }
    Ok((batches, last))
}
