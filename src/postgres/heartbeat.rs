//! How long an answer is waited for: never without an end.
//!
//! A statement on a whole table may take minutes on a healthy server, so its wait has no length; it lasts as long as the
//! server, asked on another connection, says that it is at work for us.

use std::time::Duration;

use sqlx::Row;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::Limit;
use super::connect::{Opened, Server};
use super::fault::{Fault, Origin, Overdue};
use super::limit::{GRACE, OUTSIDE};
use crate::quote::literal;

impl Limit {
    /// What `answer` brings, which the session `name` of `server` works on.
    pub(super) async fn wait<T>(
        self,
        server: &Server,
        name: &str,
        answer: impl Future<Output = T>,
    ) -> Result<T, Overdue> {
        match self {
            Self::Statement(statement) => {
                let patience = statement + GRACE;
                timeout(patience, answer).await.map_err(|_| Overdue(patience))
            }
            Self::Heartbeat(silence) => while_alive(server, &is_at_work(name), silence, answer).await,
        }
    }
}

/// What `work` brings, which is more than one request to `server`: whether it is there is all that can be asked.
pub(super) async fn while_answering<T>(
    server: &Server,
    silence: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Overdue> {
    while_alive(server, &format!("{OUTSIDE}; SELECT true; COMMIT"), silence, work).await
}

async fn while_alive<T>(
    server: &Server,
    question: &str,
    silence: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, Overdue> {
    tokio::select! {
        biased;
        answer = answer => Ok(answer),
        () = until_silent(server, question, silence) => Err(Overdue(silence)),
    }
}

/// Asks three times in `silence`, and ends when nobody said yes for so long.
async fn until_silent(server: &Server, question: &str, silence: Duration) {
    let beat = (silence / 3).max(Duration::from_millis(1));
    let mut beats = interval_at(Instant::now() + beat, beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while timeout(silence, sign_of_life(server, question, &mut beats)).await.is_ok() {}
}

async fn sign_of_life(server: &Server, question: &str, beats: &mut Interval) {
    loop {
        beats.tick().await;
        let answer = Box::pin(ping(server, question, beats.period())).await;
        server.note_heard(answer.as_ref().map_or_else(answers, |_| true));
        match answer {
            Ok(true) => return,
            Ok(false) => tracing::debug!("the {} is not at work for us", server.endpoint().side),
            Err(fault) if answers(&fault) => return,
            Err(fault) => tracing::debug!(%fault, "the {} did not answer a ping", server.endpoint().side),
        }
    }
}

/// Whether a server that refuses a ping is there all the same; it may have no room for another connection. A pooler's
/// answer says nothing of the server behind it.
fn answers(fault: &Fault) -> bool {
    !fault.is_protocol_violation()
        && matches!(&fault.origin, Origin::Server { sqlstate, fatal } if !fatal || sqlstate == "53300")
}

async fn ping(server: &Server, question: &str, patience: Duration) -> Result<bool, Fault> {
    // A connection that nobody used for a while may be dead without a word, a new one is not.
    if let Some(idle) = server.take_idle() {
        if let Ok(Ok(is_at_work)) = timeout(patience, ask(server, idle, question)).await {
            return Ok(is_at_work);
        }
        server.forget_idle();
    }
    ask(server, server.open().await?, question).await
}

async fn ask(server: &Server, mut opened: Opened, question: &str) -> Result<bool, Fault> {
    let rows = server.simple(&mut opened.connection, question.to_owned()).await?;
    server.release(opened);
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

/// A session whose request was lost on the way there, or whose answer was on the way back, waits for its client. One that
/// has committed and waits for a standby has nothing left to do, and would wait for ever for one that is not there. One that
/// is not found has ended, unless a balancer connected us to another standby.
pub(crate) fn is_at_work(name: &str) -> String {
    format!(
        "{OUTSIDE}; SELECT coalesce(bool_or(state NOT LIKE 'idle%' AND wait_event IS DISTINCT FROM 'SyncRep'), \
           pg_is_in_recovery()) FROM pg_stat_activity WHERE application_name = {}; COMMIT",
        literal(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::Environment;
    use crate::config::Locations;

    /// Nothing listens there.
    fn nowhere() -> Server {
        let url = "postgres://u:p@127.0.0.1:1/db?sslmode=disable";
        let environment: Environment = [("DEWEY_TARGET_DATABASE_URL", url)].into_iter().collect();
        Server::new(config::target(&Locations::default(), &environment).unwrap(), "us".into(), None)
    }

    #[tokio::test]
    async fn who_answers_soon_is_not_asked() {
        let server = nowhere();
        let soon = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        let waited = Limit::Heartbeat(Duration::from_mins(1)).wait(&server, "us.0", soon).await;
        assert!(waited.is_ok());
        assert_eq!(server.next_name(), "us.1");
    }

    #[tokio::test]
    async fn who_cannot_be_asked_is_given_up() {
        let server = nowhere();
        let limit = Limit::Heartbeat(Duration::from_millis(60));
        let waited = limit.wait(&server, "us.0", std::future::pending::<()>()).await;
        assert!(waited.is_err());
        assert_ne!(server.next_name(), "us.1");
    }

    #[test]
    fn the_servers_own_time_outs_follow_the_limit() {
        let seconds = Duration::from_secs;
        for (limit, statement, lock, idle) in [
            (Limit::Statement(seconds(10)), 10, 10, 40),
            (Limit::Statement(seconds(100)), 100, 30, 400),
            (Limit::Heartbeat(seconds(10)), 0, 10, 3600),
            (Limit::Heartbeat(seconds(1000)), 0, 30, 4000),
        ] {
            let timeouts = [limit.statement_timeout(), limit.lock_timeout(), limit.idle_timeout()];
            assert_eq!(timeouts, [statement, lock, idle].map(seconds), "{limit:?}");
        }
    }
}
