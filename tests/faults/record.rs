//! Which messages a run sends and gets when nothing goes wrong: the places at which something can.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};

use crate::check;
use crate::frames::Side;
use crate::proxy::Seen;
use crate::servers::{Pair, Which};
use crate::way::Way;
use crate::world::World;

/// The runs of each way.
pub(crate) struct Recordings(pub(crate) Vec<Recording>);

/// One way's run.
pub(crate) struct Recording {
    pub(crate) way: Way,
    pub(crate) target: Vec<Seen>,
    pub(crate) source: Vec<Seen>,
    /// When the ledger had the run's row.
    begun: Instant,
    /// Messages that did not come again in the same place.
    pub(crate) unsteady: usize,
}

/// How often each run is recorded; a place counts if it was there each time.
const TIMES: usize = 3;

/// Recordings at the same time: few, because messages of a hurried run may come in another order.
const AT_ONCE: usize = 2;

impl Recordings {
    pub(crate) async fn make(pair: &Arc<Pair>) -> Self {
        let making = Way::ALL.map(|way| Box::pin(Recording::make(pair, way)));
        Self(stream::iter(making).buffered(AT_ONCE).collect().await)
    }
}

impl Recording {
    async fn make(pair: &Arc<Pair>, way: Way) -> Self {
        let mut recording = record(pair, way, 0).await;
        let before = recording.target.len() + recording.source.len();
        for time in 1..TIMES {
            let again = record(pair, way, time).await;
            recording.target = common(recording.target, &again.target);
            recording.source = common(recording.source, &again.source);
        }
        recording.unsteady = before - recording.target.len() - recording.source.len();
        recording
    }

    /// The sides that the run talks to.
    pub(crate) fn sides(&self) -> impl Iterator<Item = Which> {
        Which::BOTH.into_iter().filter(|which| !self.of(*which).is_empty())
    }

    pub(crate) fn of(&self, which: Which) -> &[Seen] {
        if which == Which::Source { &self.source } else { &self.target }
    }

    /// What the client asked, without the further messages of a prepared statement, which come together with the
    /// first, and without farewells, which change nothing.
    pub(crate) fn asked(&self, which: Which) -> impl Iterator<Item = &Seen> {
        let begins = |seen: &&Seen| !is_rest(seen) && seen.what != "farewell";
        self.of(which).iter().filter(|seen| seen.place.side == Side::Client).filter(begins)
    }

    /// Every message but those that differ from the one before in nothing but their number, as rows do.
    pub(crate) fn turns(&self, which: Which) -> impl Iterator<Item = &Seen> {
        let mut before: Option<&Seen> = None;
        self.of(which).iter().filter(move |seen| {
            let same =
                |other: &Seen| other.what == seen.what && other.place.connection == seen.place.connection;
            !before.replace(seen).is_some_and(same)
        })
    }

    /// The first message of each kind that the client sent: where the phases begin.
    pub(crate) fn phases(&self, which: Which) -> Vec<&Seen> {
        let mut known = BTreeSet::new();
        self.asked(which).filter(|seen| known.insert(&seen.what)).collect()
    }

    pub(crate) fn commits(&self, which: Which) -> impl Iterator<Item = &Seen> {
        self.of(which).iter().filter(|seen| seen.commits)
    }

    /// Those of a strategy's own transactions on the target, the last of which completes the run; what clears up after
    /// it does not count, nor what is a whole transaction.
    pub(crate) fn data_commits(&self) -> Vec<&Seen> {
        let asked: Vec<&Seen> = self.asked(Which::Target).collect();
        let ends = |what: &str| what == "COMMIT" || what.ends_with(", COMMIT");
        let clears_up = |before: &Seen| before.what.starts_with("TRUNCATE");
        asked
            .windows(2)
            .filter(|pair| ends(&pair[1].what) && !clears_up(pair[0]))
            .map(|pair| pair[1])
            .collect()
    }

    /// Whether a signal at this message has to stop the run.
    pub(crate) fn can_stop(&self, seen: &Seen) -> bool {
        self.data_commits().iter().any(|commit| seen.at < commit.at)
    }

    /// The exit codes of a run that loses one message: before its row is there, nothing is tried again.
    pub(crate) fn codes(&self, seen: &Seen) -> &'static [i32] {
        if seen.at <= self.begun { &[0, 6] } else { &[0] }
    }
}

async fn record(pair: &Arc<Pair>, way: Way, time: usize) -> Recording {
    let name = format!("{way}_{time}").replace(' ', "_");
    pair.copy_source(&name).await;
    let mut world = World::new(Arc::clone(pair), way, name.clone(), name).await;
    for which in Which::BOTH {
        world.proxy(which, None).await;
    }
    let ran = world.run().await.unwrap_or_else(|failure| panic!("{}", failure.text));
    assert_eq!(ran.code, Some(0), "a run without a fault {ran}");
    let [source, target] = Which::BOTH.map(|which| world.proxy_of(which).seen());
    world.heal();
    if let Err(failure) = check::verified(&world).await {
        panic!("a run without a fault: {}\n{ran}", failure.text);
    }
    let begins = |seen: &&Seen| seen.commits && seen.what.starts_with("WITH lost AS");
    let begin = target.iter().find(begins).expect("no run begins").place;
    let answered =
        |seen: &&Seen| seen.place.connection == begin.connection && seen.place.side == Side::Client;
    // The next thing said on that connection comes after the answer.
    let next = target.iter().filter(answered).find(|seen| seen.place.number > begin.number);
    let run_has_row = next.map_or_else(Instant::now, |seen| seen.at);
    Recording { way, target, source, begun: run_has_row, unsteady: 0 }
}

fn is_rest(seen: &Seen) -> bool {
    seen.what.get(1..5) == Some(" of ")
}

fn common(mut one: Vec<Seen>, other: &[Seen]) -> Vec<Seen> {
    let other: BTreeSet<_> = other.iter().map(|seen| (seen.place, &seen.what)).collect();
    one.retain(|seen| other.contains(&(seen.place, &seen.what)));
    one
}
