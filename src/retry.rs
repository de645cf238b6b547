//! Which failures may pass by themselves, and the one loop that tries again.
//!
//! Invariant: this is the only user of the `backoff` crate and the only place that waits. The crate
//! gives the delays; the loop, the count of attempts and the decision are ours, because its own
//! loop makes any error transient and knows no maximum of attempts.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Origin};
use crate::progress::{Event, Progress};

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again on a new connection.
    Transient,
    /// Try again with statements of half the size, at most twice.
    Shrink,
    /// The COMMIT may have happened: try again, the claim decides.
    Ambiguous,
    /// Trying again would fail again.
    Permanent,
}

impl Class {
    /// The word used in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Shrink => "shrink",
            Self::Ambiguous => "ambiguous",
            Self::Permanent => "permanent",
        }
    }
}

/// The class of one fault. Unknown is permanent.
pub fn classify(fault: &Fault) -> Class {
    match &fault.origin {
        Origin::Server { fatal: true, .. } | Origin::Io | Origin::Deadline if fault.at_commit => {
            Class::Ambiguous
        }
        Origin::Server { sqlstate, .. } => classify_sqlstate(sqlstate),
        Origin::Io | Origin::Deadline => Class::Transient,
        Origin::Tls | Origin::Client => Class::Permanent,
    }
}

/// PostgreSQL's appendix A, as far as an answer may be another one next time.
fn classify_sqlstate(sqlstate: &str) -> Class {
    match sqlstate {
        // serialization failure, deadlock, lock not available, object in use
        "40001" | "40P01" | "55P03" | "55006"
        // administrator or crash shutdown, starting up, idle session ended, time-outs that end the session
        | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04"
        // too many connections
        | "53300" => Class::Transient,
        // statement completion unknown, transaction resolution unknown
        "40003" | "08007" => Class::Ambiguous,
        // a pooler that refuses the start-up packet
        "08P01" => Class::Permanent,
        // statement time-out, out of memory
        "57014" | "53200" => Class::Shrink,
        code if code.starts_with("08") => Class::Transient,
        _ => Class::Permanent,
    }
}

/// The class of an error: that of the fault it carries.
pub fn classify_error(error: &Error) -> Class {
    fault_of(error).map_or(Class::Permanent, classify)
}

/// The fault that an error carries, if a server or the way to it caused it.
pub fn fault_of(error: &Error) -> Option<&Fault> {
    error.cause.as_ref().and_then(|cause| cause.downcast_ref::<Fault>())
}

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Attempts after the first one.
    pub retries_max: u32,
    /// The mean of the first delay; each next one is twice as long.
    pub delay_first: Duration,
}

/// A delay differs from its mean by up to a quarter: two tools that failed together do not come
/// back together, and with doubling means each delay is still longer than the one before.
const JITTER: f64 = 0.25;
const DELAY_MAX: Duration = Duration::from_secs(30);
const SHRINKS_MAX: u32 = 2;

impl Policy {
    fn delays(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.delay_first)
            .with_multiplier(2.0)
            .with_randomization_factor(JITTER)
            .with_max_interval(DELAY_MAX)
            .with_max_elapsed_time(None)
            .build()
    }
}

/// What an attempt is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// 0 for the first.
    pub number: u32,
    /// How often statements were halved.
    pub shrinks: u32,
}

/// Runs `attempt` until it succeeds, fails for good, or the retries are used up.
///
/// # Errors
/// The last attempt's error, its kind raised to [`Kind::Unreachable`] when the way to the server was the cause to the
/// end; [`interrupted`] when `cancel` fires during a delay.
pub async fn retry<T>(
    policy: Policy,
    what: &str,
    cancel: &CancellationToken,
    progress: &dyn Progress,
    mut attempt: impl AsyncFnMut(Attempt) -> Result<T>,
) -> Result<T> {
    let mut delays = policy.delays();
    let mut now = Attempt::default();
    let mut waited = Duration::ZERO;
    loop {
        let error = match attempt(now).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let class = classify_error(&error);
        let shrinks_left = class != Class::Shrink || now.shrinks < SHRINKS_MAX;
        if class == Class::Permanent || now.number >= policy.retries_max || !shrinks_left {
            return Err(given_up(error, now, waited));
        }
        let delay = delays.next_backoff().unwrap_or(DELAY_MAX);
        now = Attempt { number: now.number + 1, shrinks: now.shrinks + u32::from(class == Class::Shrink) };
        progress.event(&Event::Retry {
            what: what.to_owned(),
            attempt: now.number,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            class: class.name(),
            cause: error.causes().join(": "),
        });
        tokio::select! {
            () = wait(delay) => waited += delay,
            () = cancel.cancelled() => return Err(interrupted(what)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that waits")]
async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// The ending of work that a signal stopped; the command line knows which signal it was.
pub fn interrupted(what: &str) -> Error {
    Error::new(Kind::Interrupted, format!("{what} was interrupted"))
}

fn given_up(mut error: Error, last: Attempt, waited: Duration) -> Error {
    if last.number > 0 {
        let seconds = waited.as_secs_f64();
        error.doing = format!("{}, after {} retries over {seconds:.0} s", error.doing, last.number);
    }
    error
}

/// Waits for a server that is starting up or full, which is no reason to give up at once.
///
/// # Errors
/// Any other fault at once; the last one when `patience` is over.
pub async fn while_starting<T>(
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut delays = Policy { retries_max: 0, delay_first: Duration::from_millis(250) }.delays();
    let mut waited = Duration::ZERO;
    loop {
        match attempt().await {
            Err(fault) if matches!(fault.sqlstate(), Some("57P03" | "53300")) && waited < patience => {
                let delay = delays.next_backoff().unwrap_or(DELAY_MAX).min(patience.saturating_sub(waited));
                wait(delay).await;
                waited += delay;
            }
            done => return done,
        }
    }
}
