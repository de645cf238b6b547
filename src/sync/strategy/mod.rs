//! How the sync is split into transactions: one strategy per file.

pub mod atomic;
pub mod batched;
mod deletion;
pub mod staged;
mod trial;

use super::outcome::{Verified, unchanged};
use super::rehearsal::rehearse;
use super::request::{Rehearsal, Strategy};
use super::run::Run;
use super::sample::{Sample, sample_of_run};
use crate::error::Result;

/// Rehearses and writes. `sampled` are the books to rehearse with, for a run that begins.
pub(crate) async fn execute(run: &Run<'_>, sampled: Option<Result<Sample<'_>>>) -> Result<Verified> {
    let sample = match sampled {
        None if is_untried(run).await? => Some(Box::pin(sample_of_run(run.call(), &run.remap)).await),
        sampled => sampled,
    };
    let sample = sample.transpose().map_err(unchanged)?;
    match run.strategy() {
        Strategy::Batched => {
            let books = match sample {
                Some(sample) => Some(sample.into_books().await),
                None => None,
            };
            Box::pin(batched::run(run, books.as_deref())).await
        }
        strategy => {
            if let Some(sample) = sample {
                Box::pin(rehearse(run, sample)).await.map_err(unchanged)?;
            }
            match strategy {
                Strategy::Atomic => Box::pin(atomic::run(run)).await,
                _ => Box::pin(staged::run(run)).await,
            }
        }
    }
}

/// Whether this is a resumed run that was refused before it deleted anything: it tries its sample, too.
async fn is_untried(run: &Run<'_>) -> Result<bool> {
    Ok(run.strategy() == Strategy::Batched
        && run.call().request.rehearsal == Rehearsal::Wanted
        && batched::has_not_begun(run).await?)
}
