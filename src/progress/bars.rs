//! A bar on the terminal: done/total, books a second, time left, retries.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::lines::line_of;
use super::{Event, Phase, Progress};
use crate::printable::Printable;

const TICK: Duration = Duration::from_millis(100);

/// One bar whose message is the phase. It is on the screen from a phase on until it rests.
#[derive(Debug)]
pub struct Bars {
    bar: ProgressBar,
    retries: AtomicU64,
}

impl Default for Bars {
    fn default() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.finish_and_clear();
        Self { bar, retries: AtomicU64::new(0) }
    }
}

impl Bars {
    /// Takes the bar off the screen while `show` writes to it.
    pub fn suspend<T>(&self, show: impl FnOnce() -> T) -> T {
        self.bar.suspend(show)
    }

    /// Takes the bar off the screen until the next phase, if there is one.
    pub fn rest(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}

impl Progress for Bars {
    fn event(&self, event: &Event) {
        match event {
            Event::Phase { phase } => self.phase(*phase),
            Event::Planned { books, .. } => {
                self.bar.reset();
                self.bar.set_length(*books);
            }
            Event::Batch { books, .. } | Event::Staged { books, .. } | Event::Resumed { books, .. } => {
                self.bar.inc(*books);
            }
            Event::Retry { .. } => {
                let retries = self.retries.fetch_add(1, Ordering::Relaxed) + 1;
                let noun = if retries == 1 { "retry" } else { "retries" };
                self.bar.set_prefix(format!("  {retries} {noun}"));
            }
            _ => {}
        }
        // The final report says it, and nobody reads it in between.
        if !matches!(event, Event::Deleted { .. })
            && let Some(line) = line_of(event)
        {
            self.bar.println(Printable(&line).to_string());
        }
    }
}

impl Bars {
    fn phase(&self, phase: Phase) {
        self.bar.set_message(match phase {
            Phase::Checking => "checking both sides",
            Phase::Rehearsing => "rehearsing with a sample",
            Phase::Planning => "planning",
            Phase::Deleting => "removing the old books",
            Phase::Copying => "copying",
            Phase::Verifying => "verifying every row",
            Phase::Repairing => "copying what changed meanwhile",
            Phase::Comparing => "comparing",
            Phase::Applying => "applying",
            Phase::Undoing => "putting back what was replaced",
            Phase::Committing => "committing",
        });
        let style = if phase == Phase::Copying { counting() } else { waiting() };
        self.bar.set_style(style);
        if self.bar.is_finished() {
            self.bar.reset();
            self.bar.enable_steady_tick(TICK);
        }
    }
}

/// As wide as the terminal, whatever the numbers are.
fn counting() -> ProgressStyle {
    style("{msg} [{wide_bar}] {human_pos}/{human_len}{speed}{prefix}", "=> ").with_key("speed", speed)
}

/// Books a second and the time left, once there is something to tell them by.
fn speed(state: &ProgressState, text: &mut dyn Write) {
    if state.pos() > 0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown without digits")]
        let per_second = HumanCount(state.per_sec() as u64);
        // Writing to a string does not fail.
        let _ = write!(text, "  {per_second} books/s  {:#} left", HumanDuration(state.eta()));
    }
}

fn waiting() -> ProgressStyle {
    style("{spinner} {msg}{prefix}", "-\\|/ ")
}

fn style(template: &str, chars: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    if template.starts_with("{spinner}") { style.tick_chars(chars) } else { style.progress_chars(chars) }
}
