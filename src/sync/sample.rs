//! The first books of the source, which a rehearsal tries to write.

use super::call::Call;
use crate::book::SourceBook;
use crate::error::Result;
use crate::postgres::{Fault, Limit, Origin, SourceTx};
use crate::preflight::Sides;
use crate::transfer::export;
use crate::transfer::remap::Remap;

/// Books that a rehearsal tries, and the snapshot that they were read in, which ends while they are tried.
pub(crate) struct Sample<'a> {
    pub(super) books: Vec<SourceBook>,
    pub(super) snapshot: SourceTx<'a>,
}

/// Reads the sample.
pub(crate) async fn sample<'a>(
    sides: &'a Sides,
    remap: &Remap,
    limit: impl Into<Limit>,
) -> Result<Sample<'a>, Fault> {
    let limit = limit.into();
    let snapshot = sides.source.open(limit).await?;
    match export::sample(&snapshot, remap).await {
        Ok(books) => Ok(Sample { books, snapshot }),
        // What cannot be read as a book is for the copy to tell, which knows the batch.
        Err(fault) if fault.origin == Origin::Client => {
            tracing::info!(%fault, "the rehearsal is left out, because the sample cannot be read");
            Ok(Sample { books: Vec::new(), snapshot: sides.source.open(limit).await? })
        }
        Err(fault) => Err(fault),
    }
}

/// The same for a run, tried again like any other reading.
pub(crate) async fn sample_of_run<'a>(call: Call<'a>, remap: &Remap) -> Result<Sample<'a>> {
    call.context
        .retry("the sample for the rehearsal", async |_| {
            let sampled = sample(call.sides, remap, call.tuning().batch_timeout).await;
            sampled.map_err(|fault| fault.error("could not read a sample of the source's books"))
        })
        .await
}

impl Sample<'_> {
    /// The books, when the snapshot is ended.
    pub(crate) async fn into_books(self) -> Vec<SourceBook> {
        end(self.snapshot).await;
        self.books
    }
}

/// Nothing depends on how the snapshot of a sample ends.
pub(super) async fn end(snapshot: SourceTx<'_>) {
    if let Err(fault) = snapshot.finish().await {
        tracing::info!(%fault, "the snapshot of the sample was not ended");
    }
}
