//! Whether a batch fits into the emptied book table: the rehearsal of `batched`, within the transaction of its deletion, because
//! nothing brings the old books back once that is committed.

use futures_util::{StreamExt, stream};
use sqlx::Row;

use crate::book::{BOOK_OID, SourceBook, sequence};
use crate::dependents::uncounted::Counting;
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::effects::measured;
use crate::postgres::query::Query;
use crate::postgres::{Effects, Fault, Tx};
use crate::preflight::catalog::ids_left;
use crate::progress::Phase;
use crate::retry::{Class, classify, fault_of};
use crate::sync::losses::{self, Losses};
use crate::sync::misfit::Tried;
use crate::sync::run::Run;
use crate::transfer::import::transfer::{Chunk, Transfer};

/// What a batch did before it was taken back.
pub(super) struct Trial {
    /// To other tables.
    pub(super) losses: Losses,
    /// The server's reading afterwards; what was taken back stays counted.
    pub(super) reading: String,
    /// How many ids the sequence gives out by then, where it has an end.
    pub(super) ids_left: Option<i64>,
}

/// What precedes a trial; deferred constraints have acted until then, or they would act once more. In a batch they act last.
pub(super) const BEFORE: &str = "SAVEPOINT dewey_sync_trial; SET CONSTRAINTS ALL DEFERRED";

/// What ends it.
const TAKE_BACK: &str = "ROLLBACK TO SAVEPOINT dewey_sync_trial; SET CONSTRAINTS ALL DEFERRED";

/// Inserts `sample` as a batch is, and takes it back. `before` is what the transaction did until [`BEFORE`].
///
/// # Errors
/// [`Kind::Refused`](crate::error::Kind::Refused) with the source ids of books that do not fit.
pub(super) async fn try_batch(
    run: &Run<'_>,
    target: &Tx<'_>,
    sample: &[SourceBook],
    counting: Option<&Counting>,
    before: &Effects,
) -> Result<Trial> {
    run.context().phase(Phase::Rehearsing);
    let fault = match attempt(run, target, sample, counting).await? {
        Ok((effects, reading, ids_left)) => {
            return Ok(Trial { losses: Losses::of(&effects.since(before), 0)?, reading, ids_left });
        }
        Err(fault) => fault,
    };
    let fits = async |books: &[SourceBook]| Ok(attempt(run, target, books, counting).await?.is_ok());
    let instead = "`--strategy staged` keeps the old books whatever comes";
    let tried = Tried { target: &run.sides().target, limit: run.tuning().batch_timeout.into(), instead };
    Err(tried.refused(fault, sample, trying, fits).await)
}

/// A fault in place of an error where the books decide about it.
async fn attempt(
    run: &Run<'_>,
    target: &Tx<'_>,
    books: &[SourceBook],
    counting: Option<&Counting>,
) -> Result<Result<(Effects, String, Option<i64>), Fault>> {
    let exported = stream::iter([Ok(Chunk::Books(books.to_vec()))]).boxed_local().peekable();
    let left =
        format!("{TAKE_BACK}; SELECT {}, {}", measured(), ids_left(BOOK_OID, &sequence::of_ids(BOOK_OID)));
    let left = Query::last_row(left, |row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let written = async {
        let transfer = Transfer { is_single: true, ..run.transfer(Destination::Book) };
        let imported = transfer.import(target, exported).await;
        imported.map_err(|error| fault_of(&error).cloned().ok_or(error))?;
        target.ask((losses::reading(target, counting), left)).await.map_err(Ok)
    };
    match written.await {
        Ok(((effects, _), (reading, ids_left))) => Ok(Ok((effects, reading, ids_left))),
        Err(Ok(fault)) if classify(&fault) == Class::Permanent => {
            target.simple(TAKE_BACK).await.map_err(trying)?;
            Ok(Err(fault))
        }
        Err(Ok(fault)) => Err(trying(fault)),
        Err(Err(error)) => Err(error),
    }
}

fn trying(fault: Fault) -> Error {
    fault.error("could not try whether a batch fits")
}
