//! What a run did, added up from its events, so that the summary is whole also when the run fails.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::request::Strategy;
use crate::ledger::checkpoint::Destination;
use crate::ledger::run::Counts;
use crate::postgres::Effect;
use crate::progress::{Event, Phase, Progress};
use crate::sync::changes::BookChanges;
use crate::transfer::engine::Engine;

/// Batches by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Batches {
    /// In the plan.
    pub total: usize,
    /// Written.
    pub done: usize,
    /// Failed for good.
    pub failed: usize,
}

/// Everything that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The row of the ledger, once there is one.
    pub run_id: Option<i64>,
    /// How a sync writes, once it has begun.
    pub how: Option<(Strategy, Engine)>,
    /// Rows.
    pub counts: Counts,
    /// What the run changed, once that is committed, or found equal.
    pub changes: Option<BookChanges>,
    /// Batches.
    pub batches: Batches,
    /// Repeated attempts.
    pub retries: u64,
    /// How long books were copied, without guards, questions and verification.
    pub copying: Duration,
    copying_since: Option<Instant>,
    /// How long the applying transaction held its locks, in milliseconds.
    pub apply_ms: Option<u64>,
    /// Old rows of other tables that are gone or changed.
    pub losses: Vec<Effect>,
    /// What `undo` neither puts back nor takes away.
    pub not_undone: Vec<Effect>,
}

/// Adds up the events on their way to whoever shows them.
pub struct Tally<'a> {
    shown: &'a dyn Progress,
    summary: Mutex<Summary>,
}

impl<'a> Tally<'a> {
    /// Passes every event on to `shown`.
    pub fn new(shown: &'a dyn Progress) -> Self {
        Self { shown, summary: Mutex::default() }
    }

    /// What was counted until now.
    pub fn summary(&self) -> Summary {
        self.lock().clone()
    }

    /// There is a row in the ledger; that of a sync says `how` it writes.
    pub fn begun(&self, run_id: i64, how: Option<(Strategy, Engine)>) {
        let mut summary = self.lock();
        summary.run_id = Some(run_id);
        summary.how = how;
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Tally<'_> {
    fn event(&self, event: &Event) {
        self.lock().add(event);
        self.shown.event(event);
    }
}

impl Summary {
    fn add(&mut self, event: &Event) {
        match event {
            Event::Phase { phase: Phase::Copying } => self.copying_since = Some(Instant::now()),
            Event::Phase { .. } => {
                self.copying += self.copying_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            }
            // A plan comes first, or again when everything before it was rolled back.
            Event::Planned { batches: total, .. } => {
                self.counts = Counts::default();
                self.batches = Batches { total: *total, ..Batches::default() };
            }
            Event::RolledBack => {
                self.counts = Counts::default();
                self.batches = Batches { total: self.batches.total, ..Batches::default() };
            }
            Event::Deleted { books } => self.counts.deleted += books,
            Event::Batch { books, inserted, .. } => {
                self.batches.done += 1;
                self.counts.copied(*books, *inserted);
            }
            Event::Staged { books, .. } => {
                self.batches.done += 1;
                self.counts.exported += books;
            }
            Event::Resumed { batches: done, books, destination } => {
                self.batches.done += done;
                self.counts.exported += books;
                if *destination == Destination::Book {
                    self.counts.inserted += books;
                }
            }
            Event::StagedAgain { books, .. } => self.counts.exported += books,
            Event::Applied { added, changed, deleted, unchanged, apply_ms: took } => {
                let (added, changed, deleted, unchanged) = (*added, *changed, *deleted, *unchanged);
                self.apply_ms = Some(*took);
                self.counts = Counts { inserted: added, updated: changed, deleted, unchanged, ..self.counts };
                self.changes = Some(BookChanges { added, changed, deleted, unchanged });
            }
            Event::Unchanged { rows, .. } => {
                self.counts.unchanged = rows.unsigned_abs();
                self.changes =
                    Some(BookChanges { unchanged: self.counts.unchanged, ..BookChanges::default() });
            }
            Event::Repaired { deleted, books, inserted } => {
                self.counts.deleted += deleted;
                self.counts.copied(*books, *inserted);
            }
            Event::BatchFailed { books, .. } => {
                self.batches.failed += 1;
                self.counts.failed += books;
            }
            Event::Measured { losses: more, not_undone: left } => {
                self.losses.extend(more.iter().cloned());
                self.not_undone.extend(left.iter().cloned());
            }
            Event::Retry { .. } => self.retries += 1,
            Event::Notice { .. } | Event::Waiting { .. } | Event::Verified { .. } => {}
        }
    }
}

impl Counts {
    fn copied(&mut self, exported: u64, inserted: u64) {
        self.exported += exported;
        self.inserted += inserted;
        self.skipped += exported.saturating_sub(inserted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_plan_forgets_what_was_rolled_back_but_not_the_retries() {
        let mut summary = Summary::default();
        let planned = Event::Planned { batches: 2, books: 10 };
        let batch = Event::Batch { batch: 1, batches: 2, books: 5, inserted: 4 };
        let retry = Event::Retry {
            what: String::new(),
            attempt: 1,
            delay_ms: 1,
            class: "transient",
            cause: String::new(),
        };
        for event in [&planned, &batch, &retry, &planned, &batch] {
            summary.add(event);
        }
        assert_eq!(summary.counts, Counts { exported: 5, inserted: 4, skipped: 1, ..Counts::default() });
        assert_eq!(summary.batches, Batches { total: 2, done: 1, failed: 0 });
        assert_eq!(summary.retries, 1);
    }
}
