//! `batched`, the old *Enhanced*: the deletion in one transaction, then one transaction per batch. Other batches go on when
//! one fails, and a last look at one snapshot of the source copies again what changed meanwhile.

use super::deletion::delete_as_agreed;
use crate::book::SourceBook;
use crate::error::Result;
use crate::ledger::checkpoint::Destination;
use crate::postgres::effects::Bounds;
use crate::progress::{Event, Progress};
use crate::retry::{Class, classify_error};
use crate::sync::batches::batch::To;
use crate::sync::batches::{announce, announce_left, committed, copy_all, not_completed};
use crate::sync::outcome::Verified;
use crate::sync::run::Run;
use crate::sync::verify::book_table::reconcile;
use crate::transfer::import::is_duplicate_key;
use crate::transfer::import::transfer::Copied;

/// Does the work of the run, if the books of `sample` fit as a batch; without one, that is not tried.
///
/// # Errors
/// [`Kind::NotCompleted`](crate::error::Kind::NotCompleted) when batches failed for good,
/// [`Kind::Differs`](crate::error::Kind::Differs) when the sides are not equal in the end; the state then says what the
/// target holds.
pub(super) async fn run(run: &Run<'_>, sample: Option<&[SourceBook]>) -> Result<Verified> {
    let plan = run.plan();
    let (books, bounds) = delete_as_agreed(run, sample).await?;
    run.context().progress.event(&Event::Deleted { books });

    Box::pin(copy_and_verify(run, &bounds)).await.map_err(|error| {
        let done = run.context().summary();
        let at_least = if classify_error(&error) == Class::Ambiguous { "at least " } else { "" };
        error
            .state(format!(
                "`\"Book\"` holds {at_least}{} of {} books, {} of {} batches; the old books are gone",
                done.counts.inserted, plan.books, done.batches.done, done.batches.total
            ))
            .hint(run.resume_hint())
    })
}

/// Whether the old books are all there: not even the deletion is committed.
pub(crate) async fn has_not_begun(run: &Run<'_>) -> Result<bool> {
    Ok(committed(run, Destination::Book).await?.0.is_empty())
}

async fn copy_and_verify(run: &Run<'_>, bounds: &Bounds) -> Result<Verified> {
    let failed = copy_all(run, To::Book(bounds), None).await?;
    // A duplicate key may only mean that a book moved between two snapshots: the verification decides.
    if failed.iter().any(|(_, error)| !is_duplicate_key(error)) {
        return Err(not_completed(run, failed));
    }
    let verified = Box::pin(reconcile(run, bounds)).await;
    match &verified {
        Err(error) if is_duplicate_key(error) && !failed.is_empty() => {
            return Err(not_completed(run, failed));
        }
        // Their books came with what was copied again, and are counted there.
        Ok(_) => {
            for (range, _) in &failed {
                announce(run, range, Copied::default(), Destination::Book);
            }
        }
        Err(_) => announce_left(run, &failed),
    }
    verified
}
