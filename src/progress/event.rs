//! What is told to whoever watches a run.

use serde::Serialize;

use crate::config::Side;
use crate::ledger::checkpoint::Destination;
use crate::postgres::Effect;

/// Something that happened. Serialised, it is a line of `--output json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Something the user should know that stops nothing.
    Notice {
        /// One sentence.
        text: String,
    },
    /// A server has not answered for a while, because another session of it is in the way.
    Waiting {
        /// At which server.
        side: Side,
        /// Until now.
        waited_ms: u64,
        /// For what, and who is in the way.
        awaited: String,
    },
    /// Work of another kind begins.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// The ranges are frozen. Comes again, with the counts back at none, when `atomic` starts anew.
    Planned {
        /// How many batches.
        batches: usize,
        /// Rows that the plan saw in the source.
        books: u64,
    },
    /// The old books are gone, in the transaction of the strategy.
    Deleted {
        /// Rows.
        books: u64,
    },
    /// A batch is written; under `batched` it is committed.
    Batch {
        /// Counted from 1.
        batch: usize,
        /// Of how many.
        batches: usize,
        /// Rows read from the source.
        books: u64,
        /// Rows that the target says it inserted.
        inserted: u64,
    },
    /// A batch is in the stage, and committed there.
    Staged {
        /// Counted from 1.
        batch: usize,
        /// Of how many.
        batches: usize,
        /// Rows.
        books: u64,
    },
    /// An earlier life of the run has committed these.
    Resumed {
        /// Batches.
        batches: usize,
        /// Their rows.
        books: u64,
        /// Where they are.
        destination: Destination,
    },
    /// What changed in the source since it was staged is staged again.
    StagedAgain {
        /// Batches.
        batches: usize,
        /// Their rows.
        books: u64,
    },
    /// What changed in the source during a `batched` run was copied again.
    Repaired {
        /// Rows removed again.
        deleted: u64,
        /// Rows read again from the source.
        books: u64,
        /// Rows inserted for them.
        inserted: u64,
    },
    /// A batch failed for good; the others go on.
    BatchFailed {
        /// Counted from 1.
        batch: usize,
        /// Of how many.
        batches: usize,
        /// Rows that the plan saw in it.
        books: u64,
        /// Why.
        cause: String,
    },
    /// What was deleted and inserted was rolled back; the target is as it was.
    RolledBack,
    /// The books are as the stage is; committed.
    Applied {
        /// Inserted.
        added: u64,
        /// Changed in place.
        changed: u64,
        /// Only the target had them.
        deleted: u64,
        /// Left as they were.
        unchanged: u64,
        /// How long the books were locked.
        apply_ms: u64,
    },
    /// What the committed transaction did to other tables than the books'.
    Measured {
        /// Old rows that are gone or changed, by table.
        losses: Vec<Effect>,
        /// What `undo` neither puts back nor takes away.
        not_undone: Vec<Effect>,
    },
    /// Something is tried again after a delay.
    Retry {
        /// What failed.
        what: String,
        /// The number of the coming attempt, counted from 1 after the first.
        attempt: u32,
        /// Until then.
        delay_ms: u64,
        /// The class of the failure.
        class: &'static str,
        /// Why.
        cause: String,
    },
    /// Source and target were equal before anything was done.
    Unchanged {
        /// Rows compared.
        rows: i64,
        /// The digest of both.
        digest: String,
    },
    /// Source and target were found equal, or with `staged` the source and the stage.
    Verified {
        /// Rows compared.
        rows: i64,
        /// The digest of both.
        digest: String,
    },
}

/// The kinds of work, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reaching both servers and passing the guards.
    Checking,
    /// Writing a sample of the books and rolling it back.
    Rehearsing,
    /// Cutting the ranges.
    Planning,
    /// Removing the old books.
    Deleting,
    /// Export, remap and import, batch by batch.
    Copying,
    /// Comparing every row.
    Verifying,
    /// Copying again what changed in the source meanwhile.
    Repairing,
    /// Comparing the books of both sides, or those of the target with the stage.
    Comparing,
    /// Making the books equal to the stage, in one transaction.
    Applying,
    /// Putting back what a sync replaced.
    Undoing,
    /// Waiting for the answer to COMMIT.
    Committing,
}

/// Who is told.
pub trait Progress: Send + Sync {
    /// Takes note of `event`; must not block for long.
    fn event(&self, event: &Event);
}

impl<P: Progress + ?Sized> Progress for std::sync::Arc<P> {
    fn event(&self, event: &Event) {
        (**self).event(event);
    }
}
