//! A person or a system asks the run to stop, in every phase.

use std::time::Duration;

use crate::case::{Case, Lane};
use crate::check;
use crate::proxy::{Action, Seen};
use crate::record::Recording;
use crate::servers::Which;
use crate::world::World;

/// The second signal waits for nothing.
const AT_ONCE: Duration = Duration::from_secs(5);

const SAID: &str = "stopping safely; press Ctrl-C again to stop now";

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    for which in recording.sides() {
        for seen in recording.phases(which) {
            cases.push(once(("SIGINT", "INT", 130), recording, which, seen));
            cases.push(once(("SIGTERM", "TERM", 143), recording, which, seen));
            cases.push(once(("SIGHUP", "HUP", 143), recording, which, seen));
            cases.push(twice(recording, which, seen));
            cases.push(closed_stdout(recording, which, seen));
        }
    }
    cases
}

fn once(
    (kind, signal, code): (&'static str, &'static str, i32),
    recording: &Recording,
    which: Which,
    seen: &Seen,
) -> Case {
    let place = seen.place;
    let codes = if recording.can_stop(seen) { vec![code] } else { vec![0, code] };
    let point = format!("{} {place} {}", which.name(), seen.what);
    Case::new(kind, recording.way, point, Lane::Busy, move |world: &mut World| {
        let codes = codes.clone();
        Box::pin(async move {
            let mut tool = world.start_until_held(which, (place, Action::Hold), &[]).await?;
            tool.signal(signal);
            tool.until_said(SAID).await?;
            world.release();
            let ran = tool.end().await?;
            check::ended(world, &ran, &codes).await
        })
    })
}

fn twice(recording: &Recording, which: Which, seen: &Seen) -> Case {
    let place = seen.place;
    let point = format!("{} {place} {}", which.name(), seen.what);
    Case::new("SIGINT twice", recording.way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let mut tool = world.start_until_held(which, (place, Action::HoldAnswer), &[]).await?;
            tool.signal("INT");
            tool.until_said(SAID).await?;
            tool.signal("INT");
            let ran = tool.end_within(AT_ONCE).await?;
            check::ended(world, &ran, &[130]).await
        })
    })
}

fn closed_stdout(recording: &Recording, which: Which, seen: &Seen) -> Case {
    let place = seen.place;
    let point = format!("{} {place} {}", which.name(), seen.what);
    Case::new("closed stdout", recording.way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let more = ["--output", "json"];
            let tool = world.start_until_held(which, (place, Action::Hold), &more).await?;
            tool.close_stdout();
            world.release();
            let ran = tool.end().await?;
            check::ended(world, &ran, &[0]).await
        })
    })
}
