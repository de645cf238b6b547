//! An end for every wait for what comes by itself.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// On a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// Whoever looks without a pause takes the processor from what is looked for.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn new() -> Self {
        Self::of(PATIENCE)
    }

    pub(crate) fn of(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// Returns when it is time to look again; `missing` is what is wrong when it has been looked for long enough.
    #[track_caller]
    pub(crate) fn pause(&self, missing: impl Display) {
        assert!(Instant::now() < self.0, "{missing}");
        sleep(PAUSE);
    }
}
