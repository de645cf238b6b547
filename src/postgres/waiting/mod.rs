//! For whom a session of ours waits: whoever has the lock that it wants, or a standby that does not answer.
//!
//! It is asked on another connection of the same server, once an answer is late. Nothing depends on it: where no connection
//! is to be had, nobody is named. The text of nobody's query is read.

mod found;

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::{Connection, Row};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::awaited::Awaited;
use super::connect::{Opened, Server};
use super::fault::Fault;
use super::mutex::locked;
use found::{Found, question};

/// An answer is late from then on, and whoever is waited for is told.
const LATE: Duration = Duration::from_secs(5);

/// For the question and a connection to ask it on. A pooler without one to spare would have it wait in a queue.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the requests of one session wait for, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Box<Awaited>>>);

impl Watch {
    /// What `answer` brings, for which the session `name` of `server` waits. `lock_timeout` is when the server gives up.
    pub(super) async fn over<T>(
        &self,
        server: &Server,
        name: &str,
        lock_timeout: Duration,
        answer: impl Future<Output = T>,
    ) -> T {
        self.take();
        tokio::select! {
            biased;
            answer = answer => answer,
            never = self.look(server, name, lock_timeout) => match never {},
        }
    }

    async fn look(&self, server: &Server, name: &str, lock_timeout: Duration) -> Infallible {
        let began = Instant::now();
        // Before the server gives up, so that its error can say why.
        let every = LATE.min(lock_timeout / 3).max(Duration::from_millis(1));
        let mut ticks = interval_at(began + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Of a question that was not answered in time, the answer to the one before is the best there is.
            let Ok(awaited) = Box::pin(awaited(server, name)).await else { continue };
            let waited = began.elapsed();
            if let Some(awaited) = awaited.as_ref().filter(|_| waited >= LATE) {
                server.waits().tell(server.endpoint().side, waited, awaited);
            }
            *locked(&self.0) = awaited.map(Box::new);
        }
    }

    fn take(&self) -> Option<Awaited> {
        locked(&self.0).take().map(|awaited| *awaited)
    }

    /// The same for an error of the driver.
    pub(super) fn explain_error(&self, error: sqlx::Error) -> sqlx::Error {
        if locked(&self.0).is_none() {
            return error;
        }
        let fault = Fault::from(&error);
        if fault.ends_a_wait() { self.explain(fault).into() } else { error }
    }

    /// `fault` with what was waited for, if that is why it came.
    pub(super) fn explain(&self, fault: Fault) -> Fault {
        match self.take() {
            Some(awaited) if fault.ends_a_wait() => fault.awaiting(awaited),
            _ => fault,
        }
    }
}

/// `None` where the session waits for nobody.
async fn awaited(server: &Server, name: &str) -> Result<Option<Awaited>, Fault> {
    let _turn = server.waits().turn.lock().await;
    let asked = timeout(PATIENCE, ask(server, &question(name))).await;
    let found = asked.map_err(|_| Fault::deadline(PATIENCE)).flatten();
    let found = found.inspect_err(|fault| tracing::debug!(%fault, "could not ask for whom is waited"))?;
    Ok(found.awaited(server.endpoint()))
}

async fn ask(server: &Server, question: &str) -> Result<Found, Fault> {
    // Behind a pooler of sessions a worker would look in vain for the one that it had left idle.
    let idle = if server.lacks_startup_options() { None } else { server.take_idle() };
    let is_kept = idle.is_some();
    let mut opened = match idle {
        Some(opened) => opened,
        None => server.open().await?,
    };
    let rows = server.simple(&mut opened.connection, question.to_owned()).await?;
    leave(server, opened, is_kept).await;
    let row = rows.first().ok_or_else(|| Fault::client("a question was not answered"))?;
    serde_json::from_str(row.try_get(0)?).map_err(|error| Fault::unreadable(&error))
}

async fn leave(server: &Server, opened: Opened, is_kept: bool) {
    if is_kept {
        return server.release(opened);
    }
    if let Err(error) = opened.connection.close().await {
        tracing::debug!(%error, "a connection was not closed as it should be");
    }
}
