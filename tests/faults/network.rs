//! The network breaks at one message.

use crate::case::{Case, Lane};
use crate::check;
use crate::frames::Side;
use crate::proxy::{Action, Seen};
use crate::record::Recording;
use crate::servers::Which;
use crate::world::World;

/// A fault at a message of a run.
struct Fault {
    kind: &'static str,
    which: Which,
    action: Action,
    lane: Lane,
}

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    use Action::{Cut, CutAfter, Dark, DelayAnswer, HalfOpen, HalfOpenAfter, LoseAnswer, SlowAnswer};
    use Lane::{Busy, Patient};
    use Which::{Source, Target};
    let mut cases = Vec::new();
    let mut add = |kind, which, action, lane, seen: &mut dyn Iterator<Item = &Seen>| {
        cases.extend(seen.map(|seen| Fault { kind, which, action, lane }.at(recording, seen)));
    };
    let from_client = |seen: &&Seen| seen.place.side == Side::Client;
    let all = |which| recording.of(which).iter();
    add("target cut before each message", Target, Cut, Busy, &mut all(Target));
    add("target cut after each message", Target, CutAfter, Busy, &mut all(Target).filter(from_client));
    add("target half-open at each message", Target, HalfOpen, Patient, &mut recording.turns(Target));
    add("target half-open after each request", Target, HalfOpenAfter, Patient, &mut recording.asked(Target));
    add("source cut before each message", Source, Cut, Busy, &mut recording.turns(Source));
    add("source half-open at each request", Source, HalfOpen, Patient, &mut recording.asked(Source));
    for which in Which::BOTH {
        add("answer to COMMIT lost", which, LoseAnswer, Busy, &mut recording.commits(which));
        add("answer to COMMIT delayed", which, DelayAnswer, Patient, &mut recording.commits(which));
        add("answer to COMMIT slow", which, SlowAnswer, Patient, &mut recording.commits(which));
        let phases = recording.phases(which);
        add("server dark for good", which, Dark, Patient, &mut phases.into_iter());
    }
    cases
}

impl Fault {
    fn at(self, recording: &Recording, seen: &Seen) -> Case {
        let place = seen.place;
        let codes = match self.action {
            // A last farewell may be lost in the dark.
            Action::Dark => &[0, 6],
            Action::DelayAnswer | Action::SlowAnswer => &[0][..],
            _ => recording.codes(seen),
        };
        let Self { kind, which, action, lane } = self;
        let point = format!("{} {place} {}", which.name(), seen.what);
        Case::new(kind, recording.way, point, lane, move |world: &mut World| {
            Box::pin(async move {
                world.fault(which, place, action).await;
                if action == Action::Dark {
                    world.retries = 1;
                }
                let ran = world.run().await?;
                if action == Action::Dark && ran.code == Some(0) {
                    // It could not clear up what it cannot reach; the next run does.
                    world.fired(&ran)?;
                    return check::recover(world).await;
                }
                check::ended(world, &ran, codes).await
            })
        })
    }
}
