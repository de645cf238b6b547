//! The path of the data:
//!
//! ```text
//! config -> guards -> compare -> plan -> [ export -> remap -> import ] per batch -> verify -> ask -> apply -> record
//! ```
//!
//! [`run()`] is that sentence. A strategy decides where the transactions end and finishes with a
//! [`Verified`](outcome::Verified), which nothing else can make; only `staged` has something to apply.

pub mod apply;
pub mod ask;
pub mod book_table;
pub mod changes;
pub mod decide;
pub mod exactly_once;
pub mod losses;
mod misfit;
pub mod outcome;
mod owners;
pub mod prepared;
pub mod preview;
mod register;
pub mod rehearsal;
pub mod request;
pub mod resume;
pub mod run;
pub mod strategy;
pub mod tally;
pub mod undo;
pub mod verify;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::ledger::lock::Lock;
use crate::preflight::Sides;
use crate::preflight::guard::target_identity::Marking;
use crate::retry::{retry, unless_cancelled};
use crate::transfer::import::Text;
use crate::transfer::remap::Remap;
use ask::{Ask, Consent};
use decide::prepare;
use outcome::{
    Begun, SYNC, Synced, UP_TO_THE_OTHER, again_if_interrupted, nothing_to_do, unchanged,
    unchanged_if_interrupted,
};
pub use prepared::Prepared;
use register::{begin, record};
use rehearsal::sample_of_run;
use request::{Rehearsal, Request, Strategy};
use run::Job;
use strategy::rehearse_and_write;
use tally::Tally;

/// Fills the target with the books of the source. `begun` is set as soon as there is a row in the ledger.
pub async fn run(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    begun: &mut Option<Begun>,
    cancel: &CancellationToken,
    progress: &Tally<'_>,
) -> Result<Synced> {
    let mut early = None;
    let preparing = prepare(sides, request, ask, &mut early, progress);
    let prepared = Box::pin(unless_cancelled(cancel, SYNC, preparing)).await;
    let leaves_no_trace =
        |prepared: &Prepared| prepared.equal.is_some() && prepared.found.marking == Marking::MustBeTyped;
    if let Some(lock) = &early
        && prepared.as_ref().map_or(true, leaves_no_trace)
    {
        lock.release().await;
    }
    let prepared = prepared.map_err(unchanged_if_interrupted)?;
    let &Prepared { ref found, ref owners, ref resumed, ref equal, strategy, engine, .. } = &prepared;
    if let Some(verified) = equal
        && leaves_no_trace(&prepared)
    {
        return Ok(nothing_to_do(owners, verified, progress));
    }
    let lock = if let Some(lock) = early {
        lock
    } else {
        let lock = Lock::acquire(&sides.target, request.tuning.lock_wait);
        unless_cancelled(cancel, SYNC, lock).await.map_err(unchanged)?
    };
    let lock = &lock;
    let frozen = prepared.freeze();
    let updated_at =
        frozen.as_ref().map_or_else(|| prepared.updated_at(), |frozen| frozen.updated_at.clone());
    let remap = Remap { owners: owners.map(), columns: found.columns.clone(), updated_at };
    let is_resumed = resumed.as_ref().is_some_and(|unfinished| unfinished.frozen.is_some());
    let wants_rehearsal = request.rehearsal == Rehearsal::Wanted && equal.is_none();
    let policy = request.tuning.retry;
    let beginning = retry(policy, "the beginning of the run", cancel, progress, async |_| {
        unless_cancelled(cancel, SYNC, begin(sides, request, &prepared, frozen.as_ref())).await
    });
    let sampling = sample_of_run(sides, &remap, request, cancel, progress);
    let early = async { if wants_rehearsal && !is_resumed { Some(sampling.await) } else { None } };
    let (tenure, sampled) = tokio::join!(beginning, Box::pin(early));
    if let Err(error) = &tenure {
        sides.target.leave(Some(error)).await;
    }
    let tenure = tenure.map_err(unchanged)?;
    *begun = Some(Begun { run_id: tenure.run_id, strategy, engine });
    if let Some(verified) = equal {
        let done = nothing_to_do(owners, verified, progress);
        let recorded = record(sides, tenure, Ok(verified), "unchanged", policy, progress);
        tokio::join!(recorded, lock.release()).0?;
        return Ok(done);
    }
    let plan = frozen.map(|frozen| frozen.plan).unwrap_or_default();
    let resumed_books = if is_resumed { plan.books } else { 0 };
    let job = Job {
        sides,
        tenure,
        plan,
        resumed: is_resumed,
        remap: remap.clone(),
        engine,
        text: Text::default(),
        keys: found.target.foreign_keys.as_deref().unwrap_or_default(),
        agreement: request.wishes.agreement,
        // What an earlier life of the run has deleted counts as well.
        old_books: found.target_books.books.max(resumed_books),
        empty_source: request.wishes.empty_source,
        tuning: request.tuning,
        cancel,
        progress,
    };
    let consent = Consent { ask, lock, found, owners, agreement: request.wishes.agreement };
    let work = rehearse_and_write(&job, strategy, &consent, request, sampled);
    let done = tokio::select! {
        biased;
        done = work => done,
        lost = lock.keep(tenure) => Err(lost.state(UP_TO_THE_OTHER)),
    };
    // A verified `staged` or `atomic` has recorded it in the transaction of the books.
    let done = if done.is_err() || strategy == Strategy::Batched {
        let recorded = record(sides, tenure, done.as_ref(), "verified", policy, progress).await;
        // The run's own failure says more.
        done.and_then(|verified| recorded.map(|()| verified))
    } else {
        done
    };
    lock.release().await;
    sides.target.leave(done.as_ref().err()).await;
    let verified = done.map_err(again_if_interrupted)?;
    Ok(Synced { owners: owners.clone(), verified, nothing_to_do: false })
}
