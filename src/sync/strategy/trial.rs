//! Whether a batch fits into the emptied book table: the rehearsal of `batched`, within the transaction of its deletion, because
//! nothing brings the old books back once that is committed.

use futures_util::{StreamExt, stream};

use super::Job;
use crate::book::SourceBook;
use crate::error::Result;
use crate::ledger::checkpoint::Destination;
use crate::postgres::effects::measured;
use crate::postgres::{Effects, Fault, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Class, classify, fault_of};
use crate::sync::import::Chunk;
use crate::sync::losses::{self, Losses};
use crate::sync::misfit::Tried;
use crate::sync::uncounted::Counting;

/// What a batch did before it was taken back.
pub(super) struct Trial {
    /// To other tables.
    pub(super) losses: Losses,
    /// The server's reading afterwards; what was taken back stays counted.
    pub(super) reading: String,
}

/// Inserts `sample` as a batch is, and takes it back. `before` is what the transaction did until then.
///
/// # Errors
/// [`Kind::Refused`](crate::error::Kind::Refused) with the source ids of books that do not fit.
pub(super) async fn try_batch(
    job: &Job<'_>,
    target: &Tx<'_>,
    sample: &[SourceBook],
    counting: Option<&Counting>,
    before: &Effects,
) -> Result<Trial> {
    job.progress.event(&Event::Phase { phase: Phase::Rehearsing });
    target.simple("SAVEPOINT dewey_sync_trial").await.map_err(trying)?;
    let fault = match attempt(job, target, sample, counting).await? {
        Ok((effects, reading)) => {
            return Ok(Trial { losses: Losses::of(&effects.since(before), 0)?, reading });
        }
        Err(fault) => fault,
    };
    let fits = async |books: &[SourceBook]| Ok(attempt(job, target, books, counting).await?.is_ok());
    let tried = Tried { target: &job.sides.target, limit: job.tuning.batch_timeout.into() };
    Err(tried.refused(fault, sample, trying, fits).await)
}

/// A fault in place of an error where the books decide about it.
async fn attempt(
    job: &Job<'_>,
    target: &Tx<'_>,
    books: &[SourceBook],
    counting: Option<&Counting>,
) -> Result<Result<(Effects, String), Fault>> {
    let exported = stream::iter([Ok(Chunk::Books(books.to_vec()))]).boxed_local().peekable();
    let written = async {
        let imported = job.transfer(Destination::Book).import(target, exported).await;
        imported.map_err(|error| fault_of(&error).cloned().ok_or(error))?;
        losses::read_after(target, "SELECT", counting).await.map_err(Ok)
    };
    let written = written.await;
    let sql = format!("ROLLBACK TO SAVEPOINT dewey_sync_trial; SELECT {} AS effects", measured());
    match written {
        Ok((effects, _)) => {
            let rows = target.simple(&sql).await.map_err(trying)?;
            let reading = rows.last().map(|row| sqlx::Row::try_get(row, "effects")).transpose();
            let reading = reading.map_err(|error| trying(error.into()))?.unwrap_or_default();
            Ok(Ok((effects, reading)))
        }
        Err(Ok(fault)) if classify(&fault) == Class::Permanent => {
            target.simple("ROLLBACK TO SAVEPOINT dewey_sync_trial").await.map_err(trying)?;
            Ok(Err(fault))
        }
        Err(Ok(fault)) => Err(trying(fault)),
        Err(Err(error)) => Err(error),
    }
}

fn trying(fault: Fault) -> crate::error::Error {
    fault.error("could not try whether a batch fits")
}
