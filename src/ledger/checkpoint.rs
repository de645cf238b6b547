//! One row for every committed batch of a run, written in the batch's own transaction.

use sqlx::Row;

use super::run::Claim;
use crate::postgres::{Fault, Tx};

/// A batch as its checkpoint records it.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint {
    /// The run.
    pub run_id: i64,
    /// 0 is the deletion, 1 the first range.
    pub batch: usize,
    /// Source ids after this one; `None` is from the first.
    pub after_id: Option<i32>,
    /// Source ids up to and with this one; `None` is to the last.
    pub through_id: Option<i32>,
    /// Rows that the plan saw in the range.
    pub rows: u64,
}

/// The first statement of a batch's transaction. It waits for a lost session of ours that has the same claim still
/// uncommitted, which a SELECT would not see.
pub async fn claim(tx: &Tx<'_>, checkpoint: Checkpoint) -> Result<Claim, Fault> {
    let Checkpoint { run_id, batch, rows, .. } = checkpoint;
    let bound = |id: Option<i32>| id.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
    let (after_id, through_id) = (bound(checkpoint.after_id), bound(checkpoint.through_id));
    let sql = format!(
        "WITH run AS (SELECT run_id FROM dewey_sync.run WHERE run_id = {run_id} AND state = 'running' FOR SHARE), \
         claimed AS (INSERT INTO dewey_sync.checkpoint (run_id, batch, after_id, through_id, rows) \
           SELECT run_id, {batch}, {after_id}::bigint, {through_id}::bigint, {rows} FROM run ON CONFLICT DO NOTHING \
           RETURNING batch) \
         SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM claimed)"
    );
    let rows = tx.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| Fault::client("a claim was not answered"))?;
    Ok(match (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?) {
        (0, _) => Claim::Lost,
        (_, 0) => Claim::AlreadyDone,
        _ => Claim::Ours,
    })
}
