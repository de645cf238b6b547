//! Plain lines on stderr, for a log or a pipe.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::streams::say;
use super::{Event, Phase, Progress};

/// Batches are reported at most this often, so that a long run does not flood a log.
const BATCH_EVERY: Duration = Duration::from_secs(1);

/// Counts batches and prints what a reader of a log wants to see.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    books: u64,
    books_total: u64,
    batches: usize,
    reported: Option<Instant>,
}

impl Lines {
    fn batch_line(&self, batches: usize, books: u64) -> Option<String> {
        let mut counted = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counted.books += books;
        counted.batches += 1;
        let due = counted.reported.is_none_or(|at| at.elapsed() >= BATCH_EVERY) || counted.batches == batches;
        if !due {
            return None;
        }
        counted.reported = Some(Instant::now());
        let Counted { books, books_total, batches: done, .. } = *counted;
        Some(format!("copied {books} of {books_total} books, {done} of {batches} batches"))
    }
}

impl Progress for Lines {
    fn event(&self, event: &Event) {
        let line = match event {
            Event::Planned { books, .. } => {
                let mut counted = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *counted = Counted { books_total: *books, ..Counted::default() };
                None
            }
            Event::Batch { batches, books, .. } | Event::Staged { batches, books, .. } => {
                self.batch_line(*batches, *books)
            }
            Event::Resumed { batches, books, .. } => {
                let mut counted = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                counted.books += books;
                counted.batches += batches;
                drop(counted);
                line_of(event)
            }
            other => line_of(other),
        };
        if let Some(line) = line {
            say(&line);
        }
    }
}

/// The text of an event that needs no counting; `None` where the final report says it.
pub(super) fn line_of(event: &Event) -> Option<String> {
    match event {
        Event::Notice { text } => Some(format!("note: {text}")),
        Event::Waiting { side, waited_ms, awaited } => {
            Some(format!("note: the {side} has waited {} s for {awaited}", waited_ms / 1000))
        }
        Event::Phase { phase: Phase::Repairing } => {
            Some("copying again what changed in the source meanwhile".into())
        }
        Event::Measured { .. }
        | Event::Phase { .. }
        | Event::Planned { .. }
        | Event::Batch { .. }
        | Event::Staged { .. }
        | Event::Applied { .. }
        | Event::Unchanged { .. }
        | Event::Verified { .. } => None,
        Event::Resumed { batches, books, .. } => {
            Some(format!("resuming: {batches} batches with {books} books were already copied"))
        }
        Event::StagedAgain { batches, books } => Some(format!(
            "copied again {batches} batches with {books} books, because they changed in the source meanwhile"
        )),
        Event::Repaired { deleted, inserted, .. } => {
            Some(format!("replaced {deleted} books by {inserted} that changed in the source meanwhile"))
        }
        Event::RolledBack => Some("rolled back: the old books are still there".into()),
        Event::Deleted { books } => Some(format!("removed {books} old books")),
        Event::BatchFailed { batch, batches, cause, .. } => {
            Some(format!("batch {batch} of {batches} failed: {cause}"))
        }
        Event::Retry { what, attempt, delay_ms, cause, .. } => {
            #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
            let seconds = *delay_ms as f64 / 1000.0;
            Some(format!("retry {attempt} of {what} in {seconds:.1} s: {cause}"))
        }
    }
}
