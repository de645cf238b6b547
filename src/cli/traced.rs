//! What each phase cost on the way to both servers, for `-vv`.

use std::mem::replace;
use std::sync::{Mutex, PoisonError};

use indicatif::HumanBytes;

use super::output::plural;
use crate::config::Side;
use crate::postgres::Traffic;
use crate::preflight::Sides;
use crate::progress::{Event, Phase, Progress};

/// Passes events on, and logs what went to and fro since the last phase began. What is done at the same time belongs to
/// the phase that was announced last.
pub(super) struct Traced<'a> {
    shown: &'a dyn Progress,
    sides: &'a Sides,
    since: Mutex<(Option<Phase>, [Traffic; 2])>,
}

impl<'a> Traced<'a> {
    pub(super) fn new(shown: &'a dyn Progress, sides: &'a Sides) -> Self {
        Self { shown, sides, since: Mutex::default() }
    }

    /// Logs the last phase, and what the whole run took.
    pub(super) fn end(&self) {
        self.turn(None);
        log("whole", self.traffic());
    }

    fn traffic(&self) -> [Traffic; 2] {
        [self.sides.source.server(), self.sides.target.server()].map(crate::postgres::Server::traffic)
    }

    fn turn(&self, phase: Option<Phase>) {
        let now = self.traffic();
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (ended, before) = replace(&mut *since, (phase, now));
        if let Some(ended) = ended {
            log(&format!("{ended:?}").to_lowercase(), [0, 1].map(|side| now[side] - before[side]));
        }
    }
}

impl Progress for Traced<'_> {
    fn event(&self, event: &Event) {
        if let Event::Phase { phase } = event {
            self.turn(Some(*phase));
        }
        self.shown.event(event);
    }
}

fn log(phase: &str, traffic: [Traffic; 2]) {
    let [source, target] = [Side::Source, Side::Target].map(|side| {
        let Traffic { round_trips, bytes_sent, bytes_received } = traffic[usize::from(side == Side::Target)];
        let [sent, received] = [bytes_sent, bytes_received].map(HumanBytes);
        format!(
            "{side} {}, {sent} sent, {received} received",
            plural(round_trips, "round trip", "round trips")
        )
    });
    tracing::debug!("{phase}: {source}; {target}");
}
