//! Other runs of the tool at the same time: one is turned away, one that slept finds itself overtaken, a lost lock is
//! taken again.

use std::time::Duration;

use crate::case::{Case, Lane};
use crate::check::{self, texts};
use crate::pause;
use crate::proxy::{Action, Seen};
use crate::record::Recording;
use crate::servers::Which;
use crate::world::{Harm, Verdict, World, ensure};

/// Ends the sessions that hold the tool's advisory lock, or all of its sessions.
const END_LOCK: &str = "SELECT pg_terminate_backend(pid)::text FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The first run waits for its message as long as the second one runs.
const WAITS: &str = "30s";

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    for which in recording.sides() {
        let begun = |seen: &&Seen| !recording.codes(seen).contains(&6);
        for seen in recording.asked(which).filter(begun).filter(|seen| recording.can_stop(seen)) {
            cases.push(turned_away(recording, which, seen));
            cases.push(overtaken(recording, which, seen));
            cases.push(lock_lost(recording, which, seen));
        }
    }
    cases
}

fn point(which: Which, seen: &Seen) -> String {
    format!("{} {} {}", which.name(), seen.place, seen.what)
}

fn turned_away(recording: &Recording, which: Which, seen: &Seen) -> Case {
    let place = seen.place;
    let kind = "two runs at once";
    Case::new(kind, recording.way, point(which, seen), Lane::Patient, move |world: &mut World| {
        Box::pin(async move {
            world.batch_timeout = WAITS;
            let first = world.start_until_held(which, (place, Action::Hold), &[]).await?;
            world.set_proxies_aside();
            let second = world.run().await?;
            world.release();
            let first = first.end().await?;
            check::code(&second, &[7])?;
            check::ended(world, &first, &[0]).await
        })
    })
}

/// The first run sleeps and loses its lock; the second one takes over; the first one wakes up.
fn overtaken(recording: &Recording, which: Which, seen: &Seen) -> Case {
    let place = seen.place;
    let kind = "an overtaken run wakes up";
    Case::new(kind, recording.way, point(which, seen), Lane::Patient, move |world: &mut World| {
        Box::pin(async move {
            let first = world.start_until_held(which, (place, Action::Hold), &[]).await?;
            first.signal("STOP");
            world.set_proxies_aside();
            end_lock(world).await?;
            let second = world.run().await;
            let after_second = check::target(world).await;
            first.signal("CONT");
            world.release();
            let first = first.end().await?;
            check::code(&second?, &[0])?;
            check::code(&first, &[7])?;
            let unchanged = check::target(world).await == after_second;
            ensure(unchanged, Harm::HalfSynced, || "the overtaken run changed the books".into())?;
            world.heal();
            check::verified(world).await
        })
    })
}

fn lock_lost(recording: &Recording, which: Which, seen: &Seen) -> Case {
    let place = seen.place;
    let kind = "lock lost and taken again";
    Case::new(kind, recording.way, point(which, seen), Lane::Patient, move |world: &mut World| {
        Box::pin(async move {
            world.batch_timeout = WAITS;
            let tool = world.start_until_held(which, (place, Action::Hold), &[]).await?;
            end_lock(world).await?;
            // Time for whoever watches the lock.
            pause(Duration::from_millis(20)).await;
            world.release();
            let ran = tool.end().await?;
            check::ended(world, &ran, &[0]).await
        })
    })
}

async fn end_lock(world: &World) -> Verdict {
    let ended = texts(&world.url(Which::Target), END_LOCK).await;
    ensure(!ended.is_empty(), Harm::NotFired, || "the fault did not fire: no lock is held".into())
}
