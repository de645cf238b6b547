//! How often a run waited for the other end of a line, one wait after the other.
//!
//! A logical clock (Lamport 1978) for all connections of the run: what the client says carries the clock's time to the
//! server, the answer carries it back, and when it arrives it is one later than that at least. Waits at the same time
//! count once, an answer in many pieces counts once, and a background heartbeat cannot add up. The clock never runs
//! faster than one tick a round-trip time.

use std::fmt;
use std::sync::Mutex;

/// Shared by the lines of one run.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Vec<Vec<String>>>);

/// When the client said something, and what.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    time: usize,
    what: String,
}

impl Waits {
    /// Waits that followed each other.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn stamp(&self, side: &str, what: &str) -> Stamp {
        Stamp { time: self.count(), what: format!("{side}: {what}") }
    }

    /// An answer to that arrives, or a part of one.
    pub(super) fn answered(&self, stamp: &Stamp) {
        let mut waits = self.0.lock().unwrap();
        if waits.len() == stamp.time {
            waits.push(Vec::new());
        }
        let at_once = &mut waits[stamp.time];
        if !at_once.contains(&stamp.what) {
            at_once.push(stamp.what.clone());
        }
    }
}

/// A line for each wait, and in it all that was waited for from then on.
impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at_once, number) in self.0.lock().unwrap().iter().zip(1..) {
            writeln!(f, "{number:>3}  {}", at_once.join("\n     "))?;
        }
        Ok(())
    }
}
