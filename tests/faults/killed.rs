//! The tool is killed with SIGKILL, before and after each thing that it asks of a server.

use std::time::Duration;

use crate::case::{Case, Lane};
use crate::check;
use crate::pause;
use crate::proxy::{Action, Seen};
use crate::record::Recording;
use crate::servers::Which;
use crate::world::World;

/// How long after the tool its last request arrives; the next run is on its way by then.
const LATE: Duration = Duration::from_millis(80);

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    for which in recording.sides() {
        for seen in recording.asked(which) {
            cases.push(killed("tool killed before a request", recording, which, seen, Action::Hold));
            cases.push(killed("tool killed before an answer", recording, which, seen, Action::HoldAnswer));
        }
    }
    let writes = |seen: &&Seen| !recording.codes(seen).contains(&6);
    cases.extend(recording.asked(Which::Target).filter(writes).map(|seen| late(recording, seen)));
    cases
}

/// Its message, or the answer, goes with it.
fn killed(kind: &'static str, recording: &Recording, which: Which, seen: &Seen, action: Action) -> Case {
    let place = seen.place;
    let point = format!("{} {place} {}", which.name(), seen.what);
    Case::new(kind, recording.way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let tool = world.start_until_held(which, (place, action), &[]).await?;
            tool.kill().await;
            world.heal();
            check::between(world).await?;
            check::recover(world).await
        })
    })
}

/// The network delivers its last request when the next run is at work.
fn late(recording: &Recording, seen: &Seen) -> Case {
    let place = seen.place;
    let point = format!("target {place} {}", seen.what);
    let kind = "a killed tool's request arrives later";
    Case::new(kind, recording.way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            world.changes.runs = true;
            let tool = world.start_until_held(Which::Target, (place, Action::Hold), &[]).await?;
            tool.kill().await;
            world.set_proxies_aside();
            let next = check::resume_or_run(world).await;
            pause(LATE).await;
            world.release();
            let ran = next.end().await?;
            // The request may have been the one that completes the run, and nothing is left to resume.
            check::code(&ran, &[0, 2, 7])?;
            if ran.code != Some(0) {
                return check::recover(world).await;
            }
            check::verified(world).await
        })
    })
}
