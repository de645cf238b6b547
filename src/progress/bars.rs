//! A bar on the terminal: done/total, books a second, time left, retries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::line_of;
use super::{Event, Phase, Progress};

const TICK: Duration = Duration::from_millis(100);

/// One bar whose message is the phase.
#[derive(Debug)]
pub struct Bars {
    bar: ProgressBar,
    retries: AtomicU64,
}

impl Default for Bars {
    fn default() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(waiting());
        bar.enable_steady_tick(TICK);
        Self { bar, retries: AtomicU64::new(0) }
    }
}

impl Bars {
    /// Takes the bar off the screen while `show` writes to it, and for good when nothing follows.
    pub fn suspend<T>(&self, show: impl FnOnce() -> T) -> T {
        self.bar.suspend(show)
    }

    /// Removes the bar.
    pub fn clear(&self) {
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
                self.bar.set_style(counting());
            }
            Event::Batch { books, .. } => self.bar.inc(*books),
            Event::Retry { .. } => {
                let retries = self.retries.fetch_add(1, Ordering::Relaxed) + 1;
                self.bar.set_prefix(format!("  {retries} retries"));
            }
            _ => {}
        }
        if let Some(line) = line_of(event) {
            self.bar.println(line);
        }
    }
}

impl Bars {
    fn phase(&self, phase: Phase) {
        self.bar.set_message(match phase {
            Phase::Checking => "checking both sides",
            Phase::Planning => "planning",
            Phase::Deleting => "removing the old books",
            Phase::Copying => "copying",
            Phase::Verifying => "verifying every row",
            Phase::Repairing => "copying what changed meanwhile",
            Phase::Committing => "committing",
        });
        let style = if phase == Phase::Copying { counting() } else { waiting() };
        self.bar.set_style(style);
    }
}

fn counting() -> ProgressStyle {
    style("{msg} [{bar:30}] {human_pos}/{human_len}  {per_sec:.0} books/s  {eta} left{prefix}", "=> ")
}

fn waiting() -> ProgressStyle {
    style("{spinner} {msg}{prefix}", "-\\|/ ")
}

fn style(template: &str, chars: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    if template.starts_with("{spinner}") { style.tick_chars(chars) } else { style.progress_chars(chars) }
}
