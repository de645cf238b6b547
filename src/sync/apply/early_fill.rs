//! Begins to fill an empty book table while later batches are still on their way to the stage: the inserts are most of the
//! work, and one session does them.
//!
//! The run does not depend on it: on any obstacle it is given up, and the table is filled when everything is staged. It takes
//! no table lock and no claim until everything is staged: the lock would block the application, the claim would block batches
//! and a take-over. But it reads the stage and the users and writes books, so whoever changes one of these tables, or writes a
//! book with one of its keys, waits for it.
//!
//! Invariant: it does not wait for a batch while somebody waits for it. That one may be before the batch in the queue for a
//! table, and the server would not see that all three stand still. So it asks with each insert, and once a second while
//! it waits, and gives up. Nor does it wait for others long enough for the server to end a deadlock, which might be their end.

use std::time::Duration;

use sqlx::Row;
use tokio::sync::watch;
use tokio::time::timeout;

use super::write::first_fill_sql;
use crate::book::TABLE;
use crate::error::Result;
use crate::plan::Range;
use crate::postgres::query::Query;
use crate::postgres::{Fault, Tx};
use crate::sync::batches::pacing::{FillProgress, StagedBatches};
use crate::sync::owners;
use crate::sync::run::Run;

/// The open transaction that has inserted the books of the first batches.
pub(crate) struct EarlyFill<'a> {
    pub(super) tx: Tx<'a>,
    /// The last source id of those batches.
    pub(super) through: i32,
}

/// Inserts batch by batch as they are `staged`, until no more are. `None` where that could not begin or did not work out.
pub(crate) async fn early_fill<'a>(run: &Run<'a>, progress: FillProgress) -> Option<EarlyFill<'a>> {
    let filling = async {
        let filled = insert_early(run, progress).await;
        filled.map_err(|fault| fault.error("could not fill the books ahead"))
    };
    run.context().cancellable(filling).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the books were not filled ahead");
        None
    })
}

async fn insert_early<'a>(
    run: &Run<'a>,
    FillProgress { mut staged, filled: told }: FillProgress,
) -> Result<Option<EarlyFill<'a>>, Fault> {
    let mut filled: Option<EarlyFill<'a>> = None;
    // The last range is open, and left to the end of the fill.
    for range in &run.plan.ranges {
        if !until_staged(&mut staged, range, filled.as_ref()).await? {
            return give_up(filled).await;
        }
        let (Some(through), Ok(_)) = (range.through, staged.has_changed()) else {
            // All are staged, and the rest is inserted at once.
            break;
        };
        let tx = match filled.take() {
            Some(EarlyFill { tx, .. }) => tx,
            None => match begin(run).await? {
                Some(tx) => tx,
                None => break,
            },
        };
        let batch = range.condition("s.source_id");
        let insert = first_fill_sql(run.lease.run_id, &run.remap, &batch);
        let ((), is_awaited) = tx.ask((Query::silent(insert), is_awaited())).await?;
        filled = Some(EarlyFill { tx, through });
        if is_awaited {
            return give_up(filled).await;
        }
        told.send_replace(range.batch);
    }
    Ok(filled)
}

/// Waits for the batch. False where it will not come, or somebody waits for what is `filled`.
async fn until_staged(
    staged: &mut watch::Receiver<StagedBatches>,
    range: &Range,
    filled: Option<&EarlyFill<'_>>,
) -> Result<bool, Fault> {
    let is_known = |staged: &StagedBatches| staged.is_incomplete || staged.leading >= range.batch;
    loop {
        if let Ok(known) = timeout(AWAITED_EVERY, staged.wait_for(is_known)).await {
            // With an error nobody stages any more.
            return Ok(!known.is_ok_and(|staged| staged.is_incomplete));
        }
        if let Some(EarlyFill { tx, .. }) = filled
            && tx.ask(is_awaited()).await?
        {
            return Ok(false);
        }
    }
}

/// Half of PostgreSQL's `deadlock_timeout`.
const LOCK_TIMEOUT_MS: u32 = 500;

/// So long somebody waits for a transaction that waits for a batch.
const AWAITED_EVERY: Duration = Duration::from_secs(1);

/// Whether somebody waits for a lock of this transaction.
fn is_awaited() -> Query<'static, bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_locks l \
        WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid)))";
    Query::last_row(sql, |row| Ok(row.try_get(0)?))
}

/// At once, so that nobody waits until the connection is closed.
async fn give_up(filled: Option<EarlyFill<'_>>) -> Result<Option<EarlyFill<'_>>, Fault> {
    if let Some(EarlyFill { tx, .. }) = filled {
        tracing::debug!("gave up what was filled ahead");
        tx.rollback().await;
    }
    Ok(None)
}

/// `None` where the table is not empty any more, or a pooler might lack the session for a batch.
async fn begin<'a>(run: &Run<'a>) -> Result<Option<Tx<'a>>, Fault> {
    let had_books =
        Query::last_row(format!("SELECT EXISTS (SELECT FROM {TABLE})"), |row| Ok(row.try_get(0)?));
    let first = (
        Query::silent(format!("SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")),
        owners::hold(&run.remap.owners),
        had_books,
    );
    let began = run.sides().target.write_measured(run.tuning().whole_table(), first).await?;
    let (tx, ((), _, had_books)) = began;
    if !tx.session_is_own() || had_books {
        tx.rollback().await;
        return Ok(None);
    }
    Ok(Some(tx))
}
