//! Plays the cases: some at a time, each with databases of its own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;

use crate::case::{Case, Lane};
use crate::log;
use crate::report::Report;
use crate::servers::{Pair, Which};
use crate::world::{Failure, Harm, Verdict, World};

/// Cases that mostly wait, for each worker.
const PATIENT: usize = 5;

/// Pairs of servers that cases may stop and kill.
const OWN_PAIRS: usize = 2;

/// A message that a slow machine sends in another place is not there to be cut: how often a case is played until its
/// fault happens.
const ATTEMPTS: usize = 3;

/// The last limit, should all others fail.
const CASE: Duration = Duration::from_mins(3);

type Queue = Arc<Mutex<VecDeque<Case>>>;

/// Plays them; what became of each.
pub(crate) async fn all(cases: Vec<Case>, workers: usize, shared: &Arc<Pair>) -> Report {
    let report = Arc::new(Mutex::new(Report::new(cases.len())));
    let mut lanes: [VecDeque<Case>; 3] = Default::default();
    for case in cases {
        lanes[case.lane as usize].push_back(case);
    }
    let mut playing = JoinSet::new();
    for (lane, queue) in [Lane::Busy, Lane::Patient, Lane::OwnServers].into_iter().zip(lanes) {
        let number = match lane {
            Lane::Busy => workers,
            Lane::Patient => workers * PATIENT,
            Lane::OwnServers => OWN_PAIRS,
        };
        let queue: Queue = Arc::new(Mutex::new(queue));
        for _ in 0..number.min(queue.lock().unwrap().len()) {
            let shared = Arc::clone(shared);
            playing.spawn(work(Arc::clone(&queue), lane, shared, Arc::clone(&report)));
        }
    }
    while let Some(worked) = playing.join_next().await {
        worked.unwrap();
    }
    let mut report = std::mem::take(&mut *report.lock().unwrap());
    report.source_log(&log::only_read(&shared.server(Which::Source).log_path()));
    report
}

/// Plays what is in the queue, one after another.
async fn work(queue: Queue, lane: Lane, shared: Arc<Pair>, report: Arc<Mutex<Report>>) {
    let mut place = Place::new(lane, shared).await;
    loop {
        let Some(case) = queue.lock().unwrap().pop_front() else { break };
        let mut verdict = place.play(&case).await;
        for _ in 1..ATTEMPTS {
            if verdict.as_ref().is_err_and(|failure| failure.harm == Harm::NotFired) {
                verdict = place.play(&case).await;
            }
        }
        report.lock().unwrap().add(&case, verdict);
    }
    place.leave(&report);
}

/// Where one worker's cases are played.
struct Place {
    lane: Lane,
    pair: Arc<Pair>,
    /// The name of a source that no case has changed yet, if it is there.
    source: Option<String>,
}

impl Place {
    async fn new(lane: Lane, shared: Arc<Pair>) -> Self {
        let pair = if lane == Lane::OwnServers { Arc::new(Pair::start().await) } else { shared };
        Self { lane, pair, source: None }
    }

    async fn play(&mut self, case: &Case) -> Verdict {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let fresh = self.source.is_none();
        let source = self.source.take().unwrap_or_else(|| format!("source_{number}"));
        if fresh {
            self.pair.copy_source(&source).await;
        }
        let target = format!("target_{number}");
        let mut world = World::new(Arc::clone(&self.pair), case.way, source, target).await;
        let verdict = one(case, &mut world).await;
        world.heal();
        let World { source, target, changes, .. } = world;
        if verdict.is_err() && self.lane == Lane::OwnServers {
            // Who knows in which state it left them.
            self.pair = Arc::new(Pair::start().await);
            return verdict;
        }
        self.pair.forget(Which::Target, &target).await;
        if verdict.is_ok() && !changes.source {
            self.source = Some(source);
        } else {
            self.pair.forget(Which::Source, &source).await;
        }
        verdict
    }

    fn leave(&self, report: &Mutex<Report>) {
        if self.lane == Lane::OwnServers {
            let read = log::only_read(&self.pair.server(Which::Source).log_path());
            report.lock().unwrap().source_log(&read);
        }
    }
}

async fn one(case: &Case, world: &mut World) -> Verdict {
    let playing = AssertUnwindSafe((case.play)(world)).catch_unwind();
    match tokio::time::timeout(CASE, playing).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Failure { harm: Harm::Other, text: format!("panicked: {}", text.unwrap_or_default()) })
        }
        Err(_) => Err(Failure { harm: Harm::Hung, text: format!("the case goes on after {CASE:?}") }),
    }
}
