//! The one loop that tries again what failed and may pass by itself.
//!
//! Invariant: this is the only user of the `backoff` crate and the only place that waits. The crate
//! gives the delays; the loop, the count of attempts and the decision are ours, because its own
//! loop makes any error transient and knows no maximum of attempts.

mod class;

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::postgres::Fault;
use crate::progress::{Event, Progress};
pub use class::{Class, classify, classify_error, fault_of};

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Retries after a transient error.
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
/// The last attempt's, which says how often it was tried; [`interrupted`] when `cancel` fires during a delay.
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
        let retries = if last.number == 1 { "1 retry".into() } else { format!("{} retries", last.number) };
        error.doing = format!("{}, after {retries} over {seconds:.0} s", error.doing);
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
            Err(fault) if is_starting(&fault) && waited < patience => {
                let delay = delays.next_backoff().unwrap_or(DELAY_MAX).min(patience.saturating_sub(waited));
                wait(delay).await;
                waited += delay;
            }
            done => return done,
        }
    }
}

fn is_starting(fault: &Fault) -> bool {
    matches!(fault.sqlstate(), Some("57P03" | "53300")) || fault.is_of_absent_server()
}

/// Stops waiting for `work` when the first signal comes; what it had begun is rolled back. `what` was interrupted then.
pub(crate) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    what: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = cancel.cancelled() => Err(interrupted(what)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::postgres::Origin;

    fn server(sqlstate: &str, fatal: bool) -> Fault {
        Fault::of(Origin::Server { sqlstate: sqlstate.to_owned(), fatal }, "why")
    }

    /// Keeps the events, and fires `cancel` at the one with this number.
    #[derive(Default)]
    struct Recorder {
        events: Mutex<Vec<Event>>,
        cancel_at: Option<usize>,
        cancel: CancellationToken,
    }

    impl Progress for Recorder {
        fn event(&self, event: &Event) {
            let mut events = self.events.lock().unwrap();
            events.push(event.clone());
            if Some(events.len()) == self.cancel_at {
                self.cancel.cancel();
            }
        }
    }

    impl Recorder {
        /// `(attempt, delay_ms, class)` of every event.
        fn retries(&self) -> Vec<(u32, u64, &'static str)> {
            let retry = |event: &Event| match event {
                Event::Retry { attempt, delay_ms, class, .. } => (*attempt, *delay_ms, *class),
                other => panic!("{other:?}"),
            };
            self.events.lock().unwrap().iter().map(retry).collect()
        }
    }

    /// Runs the loop over an operation that fails as `faults` say, and then succeeds; the attempts it was told.
    async fn check(recorder: &Recorder, policy: Policy, faults: &[Fault]) -> (Result<()>, Vec<Attempt>) {
        let mut attempts = Vec::new();
        let done = retry(policy, "the thing", &recorder.cancel, recorder, async |attempt| {
            attempts.push(attempt);
            match faults.get(attempts.len() - 1) {
                Some(fault) => Err(fault.clone().error("could not do the thing")),
                None => Ok(()),
            }
        })
        .await;
        (done, attempts)
    }

    const QUICK: Policy = Policy { retries_max: 3, delay_first: Duration::from_millis(1) };

    #[tokio::test]
    async fn as_many_transient_failures_as_allowed_are_retried_and_the_error_counts_them() {
        let reset = || Fault::of(Origin::Io, "reset by peer");
        for (failures, retries_max, doing) in [
            (0, 3, None),
            (3, 3, None),
            (4, 3, Some("could not do the thing, after 3 retries over 0 s")),
            (1, 0, Some("could not do the thing")),
        ] {
            let recorder = Recorder::default();
            let policy = Policy { retries_max, ..QUICK };
            let (done, attempts) = check(&recorder, policy, &vec![reset(); failures]).await;
            let retries = failures.min(retries_max as usize);
            assert_eq!((recorder.retries().len(), attempts.len()), (retries, retries + 1));
            assert_eq!(done.as_ref().err().map(|error| error.doing.as_str()), doing);
        }
        let error = check(&Recorder::default(), QUICK, &vec![reset(); 4]).await.0.unwrap_err();
        assert_eq!((error.kind, error.causes()), (Kind::Unreachable, vec!["reset by peer".to_owned()]));
    }

    #[tokio::test]
    async fn a_permanent_failure_ends_the_loop_at_once_also_after_a_transient_one() {
        for (sqlstates, retries) in [(&["23505"][..], 0), (&["40001", "23505"], 1)] {
            let recorder = Recorder::default();
            let faults: Vec<_> = sqlstates.iter().map(|sqlstate| server(sqlstate, false)).collect();
            let (done, attempts) = check(&recorder, QUICK, &faults).await;
            assert_eq!(done.unwrap_err().kind, Kind::NotCompleted);
            assert_eq!((recorder.retries().len(), attempts.len()), (retries, retries + 1));
        }
    }

    #[tokio::test]
    async fn statements_are_halved_twice_at_most_and_only_for_their_own_class() {
        let recorder = Recorder::default();
        let faults =
            [server("57014", false), server("40001", false), server("53200", false), server("57014", false)];
        let policy = Policy { retries_max: 9, ..QUICK };
        let (done, attempts) = check(&recorder, policy, &faults).await;
        assert_eq!(fault_of(&done.unwrap_err()).unwrap().sqlstate(), Some("57014"));
        let told: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.shrinks)).collect();
        assert_eq!(told, [(0, 0), (1, 1), (2, 1), (3, 2)]);
        let classes: Vec<_> = recorder.retries().into_iter().map(|(_, _, class)| class).collect();
        assert_eq!(classes, ["shrink", "transient", "shrink"]);
    }

    #[tokio::test]
    async fn a_signal_during_a_delay_ends_the_loop_without_another_attempt() {
        let recorder = Recorder { cancel_at: Some(1), ..Recorder::default() };
        let policy = Policy { delay_first: Duration::from_hours(1), ..QUICK };
        let (done, attempts) = check(&recorder, policy, &[server("40001", false)]).await;
        let error = done.unwrap_err();
        assert_eq!((error.kind, error.doing.as_str()), (Kind::Interrupted, "the thing was interrupted"));
        assert_eq!(attempts.len(), 1);
    }

    #[tokio::test]
    async fn delays_double_around_their_mean_and_differ_from_run_to_run() {
        let policy = Policy { retries_max: 3, delay_first: Duration::from_millis(8) };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let recorder = Recorder::default();
            let faults = vec![server("40P01", false); 3];
            check(&recorder, policy, &faults).await.0.unwrap();
            let delays: Vec<u64> = recorder.retries().into_iter().map(|(_, delay_ms, _)| delay_ms).collect();
            for (delay, mean) in delays.iter().zip([8, 16, 32]) {
                assert!((mean * 3 / 4..=mean * 5 / 4).contains(delay), "{delays:?}");
            }
            assert!(delays.is_sorted_by(|one, next| one < next), "{delays:?}");
            seen.insert(delays);
        }
        assert!(seen.len() > 1, "ten times the same delays: {seen:?}");
    }

    /// Calls an operation that fails as `sqlstates` say, and then succeeds; how often, and for how long on a paused clock.
    async fn check_starting(
        patience: Duration,
        sqlstates: &[&str],
    ) -> (Result<(), Option<String>>, usize, Duration) {
        let began = tokio::time::Instant::now();
        let mut attempts = 0;
        let done = while_starting(patience, async || {
            attempts += 1;
            sqlstates.get(attempts - 1).map_or(Ok(()), |sqlstate| Err(server(sqlstate, true)))
        })
        .await;
        (done.map_err(|fault| fault.sqlstate().map(str::to_owned)), attempts, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_starts_or_is_full_is_waited_for_until_patience_ends() {
        let failing = |sqlstate| Err(Some(String::from(sqlstate)));
        let patience = Duration::from_secs(5);
        // One delay is a quarter of a second, give or take a quarter of that.
        let (done, attempts, waited) = check_starting(patience, &["57P03"]).await;
        assert_eq!((done, attempts), (Ok(()), 2));
        assert!((Duration::from_millis(187)..=Duration::from_millis(314)).contains(&waited), "{waited:?}");
        // The last delay is what patience is left, to the clock's millisecond.
        let (done, attempts, waited) = check_starting(patience, &["53300"; 100]).await;
        assert_eq!(done, failing("53300"));
        assert!((5..10).contains(&attempts), "{attempts}");
        assert!(waited >= patience && waited < patience + Duration::from_millis(20), "{waited:?}");
        // Any other fault, and one where there is no patience, come back at once.
        for (patience, sqlstate) in [(patience, "28P01"), (Duration::ZERO, "57P03")] {
            let began = check_starting(patience, &[sqlstate]).await;
            assert_eq!(began, (failing(sqlstate), 1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_that_is_announced_is_the_delay_that_is_waited() {
        let recorder = Recorder::default();
        let policy = Policy { retries_max: 1, delay_first: Duration::from_hours(1) };
        let began = tokio::time::Instant::now();
        check(&recorder, policy, &[server("40001", false)]).await.0.unwrap();
        let announced = Duration::from_millis(recorder.retries()[0].1);
        let waited = began.elapsed();
        assert!(waited >= announced && waited < announced + Duration::from_millis(20), "{waited:?}");
    }
}
