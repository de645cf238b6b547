//! A server dies, is stopped at once, or stands still, at each COMMIT and while the question waits. On servers of its own.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::case::{Case, Lane};
use crate::check::{self, texts};
use crate::pause;
use crate::proxy::{Action, Seen};
use crate::question::Terminal;
use crate::record::Recording;
use crate::servers::{Pair, Which, kill};
use crate::world::{HANGS, World};

/// What happens to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    /// SIGKILL for its first process; the sessions notice by themselves.
    Killed,
    /// Without a checkpoint.
    StoppedAtOnce,
    /// SIGKILL for a session of the tool: the server ends all sessions and recovers.
    SessionKilled,
    /// SIGSTOP for all its processes, then SIGCONT.
    Frozen(Duration),
}

const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(10);

const CRASHES: [Crash; 4] = [Crash::Killed, Crash::StoppedAtOnce, Crash::SessionKilled, Crash::Frozen(SHORT)];

impl Crash {
    const fn kind(self) -> &'static str {
        match self {
            Self::Killed => "server killed at a COMMIT",
            Self::StoppedAtOnce => "server stopped at once at a COMMIT",
            Self::SessionKilled => "session's process killed at a COMMIT",
            Self::Frozen(_) => "server stands still at a COMMIT",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::StoppedAtOnce => "stopped at once",
            Self::SessionKilled => "session's process killed",
            Self::Frozen(_) => "stands still",
        }
    }

    /// Until the server is back.
    async fn happen(self, world: &World, which: Which) {
        let pair = &world.pair;
        match self {
            Self::Killed => pair.server(which).kill().unwrap(),
            Self::StoppedAtOnce => pair.server(which).stop_at_once().unwrap(),
            Self::SessionKilled => {
                let sessions = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
                                AND backend_type = 'client backend' ORDER BY application_name LIKE 'dewey-sync%' DESC, xact_start";
                let sessions = texts(&world.url(which), sessions).await;
                kill("KILL", &[sessions[0].parse().unwrap()]);
                return until_recovered(pair, which).await;
            }
            Self::Frozen(duration) => {
                pair.signal_all(which, "STOP");
                pause(duration).await;
                return pair.signal_all(which, "CONT");
            }
        }
        pair.start_again(which);
    }
}

/// A server that lost a session ends the others before it recovers.
async fn until_recovered(pair: &Arc<Pair>, which: Which) {
    pause(Duration::from_millis(20)).await;
    let recovered = async {
        while PgConnection::connect(&pair.url(which, "postgres")).await.is_err() {
            pause(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, recovered).await.expect("the server does not recover");
}

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    for which in recording.sides() {
        for crash in CRASHES {
            for seen in recording.commits(which) {
                for action in [Action::Hold, Action::HoldAnswer] {
                    cases.push(at_commit(recording, which, seen, action, crash));
                }
            }
            cases.push(at_question(recording, which, crash));
        }
        cases.push(at_question(recording, which, Crash::Frozen(LONG)));
    }
    for seen in recording.data_commits() {
        let crash = Crash::Frozen(LONG);
        cases.push(at_commit(recording, Which::Target, seen, Action::Hold, crash));
    }
    cases
}

fn at_commit(recording: &Recording, which: Which, seen: &Seen, action: Action, crash: Crash) -> Case {
    let place = seen.place;
    let when = if action == Action::Hold { "before" } else { "after" };
    let long = if crash == Crash::Frozen(LONG) { " for 10 s" } else { "" };
    let point = format!("{}{long} {when} {place} {}", which.name(), seen.what);
    Case::new(crash.kind(), recording.way, point, Lane::OwnServers, move |world: &mut World| {
        Box::pin(async move {
            let tool = world.start_until_held(which, (place, action), &[]).await?;
            if let Crash::Frozen(_) = crash {
                // What is held arrives at a server that stands still, and its answer comes late.
                let (happened, ran) = tokio::join!(crash.happen(world, which), async {
                    pause(Duration::from_millis(50)).await;
                    world.release();
                    tool.end().await
                });
                let () = happened;
                return check::ended(world, &ran?, &[0, 6]).await;
            }
            crash.happen(world, which).await;
            world.release();
            let ran = tool.end().await?;
            check::ended(world, &ran, &[0, 6]).await
        })
    })
}

/// Whatever was agreed to must not be done with a stage that a crash has emptied.
fn at_question(recording: &Recording, which: Which, crash: Crash) -> Case {
    let long = if crash == Crash::Frozen(LONG) { " for 10 s" } else { "" };
    let point = format!("{} {}{long}", which.name(), crash.name());
    let kind = "server crashes while the question waits";
    Case::new(kind, recording.way, point, Lane::OwnServers, move |world: &mut World| {
        Box::pin(async move {
            let mut terminal = Terminal::ask(world).await?;
            crash.happen(world, which).await;
            terminal.answer("y\n").await;
            let ran = terminal.end(world).await?;
            // 3 and 5: what was agreed to is not what is there any more.
            check::ended(world, &ran, &[0, 3, 5, 6]).await
        })
    })
}
