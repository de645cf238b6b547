//! Where the transactions end.

pub mod atomic;
pub mod batched;
pub(crate) mod batches;
pub mod staged;
mod trial;

pub(crate) use super::apply::staged::{Staged, finish};
use super::ask::Consent;
use super::outcome::{Verified, unchanged};
use super::rehearsal::{Sample, rehearse, sample_of_run};
use super::request::{Rehearsal, Request, Strategy};
use super::run::Job;
use crate::error::Result;

/// What a strategy does, its rehearsal included. `sampled` is for a run that begins; `None` leaves the rehearsal out.
pub(crate) async fn rehearse_and_write(
    job: &Job<'_>,
    strategy: Strategy,
    consent: &Consent<'_, '_>,
    request: &Request,
    sampled: Option<Result<Sample<'_>>>,
) -> Result<Verified> {
    let sample = match sampled {
        // A resumed run that was refused before has deleted nothing.
        None if strategy == Strategy::Batched
            && request.rehearsal == Rehearsal::Wanted
            && batched::has_not_begun(job).await? =>
        {
            let sampling = sample_of_run(job.sides, &job.remap, request, job.cancel, job.progress);
            Some(Box::pin(sampling).await)
        }
        sampled => sampled,
    };
    let sample = sample.transpose().map_err(unchanged)?;
    let mut books = None;
    match sample {
        Some(sample) if strategy == Strategy::Batched => books = Some(sample.into_books().await),
        Some(sample) => Box::pin(rehearse(job, sample)).await.map_err(unchanged)?,
        None => {}
    }
    match strategy {
        Strategy::Staged => Box::pin(staged::run(job, consent)).await,
        Strategy::Atomic => Box::pin(atomic::run(job, consent)).await,
        Strategy::Batched => Box::pin(batched::run(job, consent, books.as_deref())).await,
    }
}
