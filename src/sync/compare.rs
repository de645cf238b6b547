//! Whether there is anything to do: both sides compared before the first write.

use sqlx::Row;

use super::Prepared;
use super::facts::from_json;
use super::guard::dependents::{Dependents, Reach};
use super::preflight::{Preflight, Sides};
use super::strategy::{SNAPSHOT_TIME, Verified};
use super::verify::{Difference, Pair};
use crate::book::{KEY, quoted};
use crate::error::Result;
use crate::postgres::{Fault, Limit, SourceTx, Tx, literal};
use crate::progress::{Event, Phase, Progress};

/// What a run would change.
#[derive(Debug, Clone)]
pub enum Compared {
    /// Nothing.
    Equal(Verified),
    /// These books, and what hangs on those that are only in the target.
    Different {
        /// Books.
        difference: Difference,
        /// Rows of other tables.
        dependents: Vec<Dependents>,
    },
}

/// The proof that both sides are equal, if they are. Different numbers of books answer without another look.
pub async fn equal(
    sides: &Sides,
    prepared: &Prepared,
    limit: Limit,
    progress: &dyn Progress,
) -> Result<Option<Verified>> {
    let found = &prepared.found;
    if found.source_books.books != found.target_books.books {
        return Ok(None);
    }
    match Box::pin(look(sides, prepared, limit, progress, false)).await? {
        Compared::Equal(verified) => Ok(Some(verified)),
        Compared::Different { .. } => Ok(None),
    }
}

/// Both sides compared book by book where they are not equal.
pub async fn compare(
    sides: &Sides,
    prepared: &Prepared,
    limit: Limit,
    progress: &dyn Progress,
) -> Result<Compared> {
    Box::pin(look(sides, prepared, limit, progress, true)).await
}

async fn look(
    sides: &Sides,
    prepared: &Prepared,
    limit: Limit,
    progress: &dyn Progress,
    book_by_book: bool,
) -> Result<Compared> {
    progress.event(&Event::Phase { phase: Phase::Comparing });
    let comparing = |fault: Fault| fault.error("could not compare both sides");
    let opened = tokio::join!(sides.source.snapshot(limit, SNAPSHOT_TIME), sides.target.snapshot(limit, ""));
    let ((source, time), (target, _)) = (opened.0.map_err(comparing)?, opened.1.map_err(comparing)?);
    let time = time.first().ok_or_else(|| comparing(Fault::client("no time")))?;
    let snapshot_at = time.try_get(0).map_err(|error| comparing(error.into()))?;
    let columns = &prepared.found.columns;
    let pair = Pair { source: &source, target: &target, columns, owner: prepared.owner.id() };
    let (expected, found) = pair.fingerprints().await?;
    let compared = if expected == found {
        Compared::Equal(Verified::new(expected, snapshot_at))
    } else if book_by_book {
        let (difference, gone) = pair.differing(&pair.differing_buckets().await?).await?;
        let dependents = hanging_on(&target, &prepared.found, &gone).await.map_err(comparing)?;
        Compared::Different { difference, dependents }
    } else {
        Compared::Different { difference: Difference::default(), dependents: Vec::new() }
    };
    end(source, target).await.map_err(comparing)?;
    Ok(compared)
}

async fn end(source: SourceTx<'_>, target: Tx<'_>) -> Result<(), Fault> {
    let (finished, ()) = tokio::join!(source.finish(), target.rollback());
    finished
}

/// What hangs on the books of the target with these keys.
async fn hanging_on(target: &Tx<'_>, found: &Preflight, keys: &[String]) -> Result<Vec<Dependents>, Fault> {
    let foreign_keys = found.target.foreign_keys.as_deref().unwrap_or_default();
    let Some(reach) = Reach::of(foreign_keys) else { return Ok(Vec::new()) };
    let keys: Vec<String> = keys.iter().map(|key| literal(key)).collect();
    let doomed = format!("b.{} = ANY (ARRAY[{}]::text[])", quoted(KEY), keys.join(", "));
    from_json(&target.simple(&format!("SELECT {}::text", reach.counted(Some(&doomed)))).await?)
}
