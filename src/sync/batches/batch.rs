//! One batch: its claim, its books, its COMMIT.

use std::pin::Pin;

use crate::error::{Error, Result};
use crate::ledger::checkpoint::{self, Checkpoint, Destination};
use crate::ledger::run::Claim;
use crate::plan::Range;
use crate::postgres::effects::{Bounds, guard};
use crate::postgres::{Effects, Fault, SourceTx, Tx};
use crate::retry::Attempt;
use crate::sync::losses::{self, Losses};
use crate::sync::owners::{self, Held};
use crate::sync::run::Run;
use crate::transfer::duplicates::explain_duplicates;
use crate::transfer::export::Books;
use crate::transfer::import::transfer::Copied;

/// Where batches go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To<'a> {
    /// Into the book table, and nothing else may happen than these bounds say.
    Book(&'a Bounds),
    /// Into the stage, which has no triggers.
    Stage,
}

impl To<'_> {
    pub(crate) const fn destination(self) -> Destination {
        match self {
            Self::Book(_) => Destination::Book,
            Self::Stage => Destination::Stage,
        }
    }
}

/// One attempt at a batch.
pub(crate) struct Batch<'b> {
    range: &'b Range,
    checkpoint: Checkpoint,
    to: To<'b>,
    attempt: Attempt,
}

/// A batch that waits for its COMMIT, or was committed before.
enum Written<'a> {
    Now(Tx<'a>, Copied),
    /// By an attempt whose answer was lost, or by an earlier life of the run, as this transaction found.
    Before(Tx<'a>),
}

/// What a batch's transaction begins with.
struct Claimed {
    claim: Claim,
    owners: Option<Held>,
}

impl<'b> Batch<'b> {
    pub(super) fn new(range: &'b Range, to: To<'b>, attempt: Attempt) -> Self {
        Self { range, checkpoint: range.checkpoint(), to, attempt }
    }

    /// One that replaces what the stage has of `range`; `round` tells it from earlier ones.
    pub(crate) fn of_repair(range: &'b Range, round: u32, attempt: Attempt) -> Self {
        Self { range, checkpoint: Checkpoint { round, ..range.checkpoint() }, to: To::Stage, attempt }
    }

    /// Copies it from a snapshot of its own. Where it is committed already, that is found, and nothing is copied again.
    pub(super) async fn copy(self, run: &Run<'_>) -> Result<Copied> {
        let source = run.sides().source.open(run.tuning().batch_timeout).await;
        let source = source.map_err(|fault| fault.error("could not begin on the source"))?;
        let (target, copied) = match self.write(run, &source).await? {
            Written::Now(target, copied) => (target, copied),
            Written::Before(tx) => {
                let rows = checkpoint::rows(&tx, run.lease, self.to.destination(), self.checkpoint).await;
                tx.rollback().await;
                let rows = rows.map_err(claiming)?;
                return Ok(Copied { exported: rows, inserted: rows });
            }
        };
        let (committed, finished) = tokio::join!(self.commit(run, target), source.finish());
        committed?;
        finished.map_err(|fault| fault.error("could not end the source's snapshot"))?;
        Ok(copied)
    }

    /// Copies it from an open snapshot; `None` where it is committed already.
    pub(crate) async fn copy_from(self, run: &Run<'_>, source: &SourceTx<'_>) -> Result<Option<Copied>> {
        match self.write(run, source).await? {
            Written::Now(target, copied) => self.commit(run, target).await.map(|()| Some(copied)),
            Written::Before(tx) => {
                tx.rollback().await;
                Ok(None)
            }
        }
    }

    /// Everything but the COMMIT.
    async fn write<'a>(&self, run: &Run<'a>, source: &SourceTx<'_>) -> Result<Written<'a>> {
        let Self { range, checkpoint, to, attempt } = *self;
        let destination = to.destination();
        let transfer = run.transfer(destination);
        let mut exported = transfer.export(source, Books::Range(range), range.books, attempt.shrinks);
        // Books are on their way while the batch is claimed; those of a snapshot that others need only when they are needed.
        let first_books = async {
            if checkpoint.round == 0 {
                Pin::new(&mut exported).peek().await;
            }
        };
        let (target, ()) = tokio::join!(self.begin(run), first_books);
        let (target, claim) = target.map_err(|fault| fault.error("could not begin on the target"))?;
        match claim.claim {
            Claim::Ours => {}
            Claim::AlreadyDone => return Ok(Written::Before(target)),
            Claim::Lost => return Err(run.taken_over()),
        }
        if let Some(owners) = claim.owners {
            owners.check()?;
        }
        if checkpoint.round > 0 {
            let of_range = range.condition("source_id");
            let run_id = run.lease.run_id;
            let delete = format!("DELETE FROM dewey_sync.stage WHERE run_id = {run_id} AND {of_range}");
            target.execute_simple(&delete).await.map_err(claiming)?;
        }
        let copied = match transfer.import(&target, exported).await {
            Ok(copied) => copied,
            Err(error) => return Err(explain_duplicates(error, source, &run.remap.columns).await),
        };
        if copied.inserted != checkpoint.rows {
            let correct = checkpoint::correct_sql(run.lease, destination, checkpoint, copied.inserted);
            target.execute_simple(&correct).await.map_err(claiming)?;
        }
        Ok(Written::Now(target, copied))
    }

    /// The transaction and its claim. The stage belongs to nobody, so its batches wait for no user: whoever changes that
    /// table may wait for the transaction that fills ahead, and that one waits for batches.
    async fn begin<'a>(&self, run: &Run<'a>) -> Result<(Tx<'a>, Claimed), Fault> {
        let claim = checkpoint::claim(run.lease, self.to.destination(), self.checkpoint);
        let (target, timeout) = (&run.sides().target, run.tuning().batch_timeout);
        match self.to {
            To::Book(_) => {
                let first = (claim, owners::hold(&run.remap.owners));
                let (tx, (claim, held)) = target.write_measured(timeout, first).await?;
                Ok((tx, Claimed { claim, owners: Some(held) }))
            }
            To::Stage => {
                let (tx, claim) = target.write(timeout, claim).await?;
                Ok((tx, Claimed { claim, owners: None }))
            }
        }
    }

    async fn commit(&self, run: &Run<'_>, target: Tx<'_>) -> Result<()> {
        let committing = |fault| losses::refused(fault, "could not commit the batch");
        let To::Book(bounds) = self.to else { return target.commit().await.map_err(committing) };
        let effects = target.commit_after(Effects::of(guard(bounds))).await.map_err(committing)?;
        Losses::of(&effects, 0)?.measured(&effects, &[]).tell(run.context().progress);
        Ok(())
    }
}

fn claiming(fault: Fault) -> Error {
    fault.error("could not claim the batch")
}
