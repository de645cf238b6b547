//! One distinct fault: what happens, where, in which way.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::record::Recordings;
use crate::way::Way;
use crate::world::{Verdict, World};

/// Where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the shared servers, as many as there are workers.
    Busy,
    /// On the shared servers; it mostly waits, so that many run at once.
    Patient,
    /// On servers that it may stop and kill.
    OwnServers,
}

/// So many points of a kind in one way are very many.
const MANY: usize = 100;

type Playing<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

pub(crate) struct Case {
    pub(crate) kind: &'static str,
    pub(crate) way: Way,
    /// The place and what tells it from other cases of its kind.
    pub(crate) point: String,
    pub(crate) lane: Lane,
    pub(crate) play: Box<dyn for<'a> Fn(&'a mut World) -> Playing<'a> + Send + Sync>,
}

impl Case {
    pub(crate) fn new(
        kind: &'static str,
        way: Way,
        point: impl Into<String>,
        lane: Lane,
        play: impl for<'a> Fn(&'a mut World) -> Playing<'a> + Send + Sync + 'static,
    ) -> Self {
        Self { kind, way, point: point.into(), lane, play: Box::new(play) }
    }

    /// What `--only` is compared with.
    pub(crate) fn name(&self) -> String {
        format!("{} / {} / {}", self.kind, self.way, self.point)
    }
}

/// Every case there is.
pub(crate) fn all(recordings: &Recordings) -> Vec<Case> {
    let mut cases = Vec::new();
    for recording in &recordings.0 {
        cases.extend(crate::network::cases(recording));
        cases.extend(crate::killed::cases(recording));
        cases.extend(crate::signals::cases(recording));
        cases.extend(crate::raised::cases(recording));
        cases.extend(crate::crashes::cases(recording));
        cases.extend(crate::others::cases(recording));
        cases.extend(crate::live::cases(recording));
        cases.extend(crate::disk::cases(recording));
        cases.extend(crate::settings::cases(recording));
    }
    let cases = thinned(cases);
    let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    cases
}

/// Leaves out every second point of `copy`'s runs that `insert`'s have as well, where one of them has very many of a kind.
fn thinned(mut cases: Vec<Case>) -> Vec<Case> {
    let mut counts: BTreeMap<(&str, Way), usize> = BTreeMap::new();
    for case in &cases {
        *counts.entry((case.kind, case.way)).or_default() += 1;
    }
    let many = |case: &Case| counts[&(case.kind, case.way)] > MANY;
    let mut every_second = [true, false].into_iter().cycle();
    cases.retain(|case| {
        let shared = case.way.engine == "copy" && !case.point.contains("COPY");
        !(shared && many(case)) || every_second.next().unwrap()
    });
    cases
}

/// At least one of each kind with each engine and with each work, `count` if those are fewer, chosen by `seed`.
pub(crate) fn sample(mut cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    cases.shuffle(&mut StdRng::seed_from_u64(seed));
    let (mut engines, mut works) = (BTreeSet::new(), BTreeSet::new());
    let is_first = |case: &Case| {
        let with_engine = engines.insert((case.kind, case.way.engine));
        works.insert((case.kind, case.way.work)) || with_engine
    };
    let (mut chosen, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(is_first);
    let more = count.saturating_sub(chosen.len());
    chosen.extend(others.into_iter().take(more));
    chosen
}
