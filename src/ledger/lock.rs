//! One run at a time on a target: an advisory lock in a transaction that stays open on a connection of its own.
//!
//! The transaction holds no snapshot and no table, and unlike a session's lock it does not stay behind in a pooler. A lock that is
//! lost with its connection does no harm, because every writing transaction compares the epoch; so it is taken again,
//! and the epoch decides whether the run goes on.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use super::run::{Lease, is_current};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Target, Tx, name_of_stranger};

/// The lock's key; the pooler's and the application's own advisory locks are other numbers.
pub const KEY: i64 = i64::from_be_bytes(*b"dewey-rn");

/// How often the connection is heard: before a router on the way forgets it.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The right to be the only run on the target.
#[derive(Debug)]
pub struct RunLock<'a> {
    target: &'a Target,
    wait: Duration,
    state: Mutex<State<'a>>,
}

#[derive(Debug)]
enum State<'a> {
    Held(Tx<'a>),
    /// While a question waits.
    Released,
    /// To be taken again.
    Lost,
}

impl<'a> RunLock<'a> {
    /// Takes the lock, or waits `wait` for it.
    ///
    /// # Errors
    /// [`Kind::Busy`], naming the holder.
    pub async fn acquire(target: &'a Target, wait: Duration) -> Result<Self> {
        let state = Mutex::new(State::Held(take(target, wait).await?));
        Ok(Self { target, wait, state })
    }

    /// Takes the lock if it is free at once; later, `wait` is how long it is waited for. Why it was not had is found out by
    /// [`acquire`](Self::acquire).
    pub async fn attempt(target: &'a Target, wait: Duration) -> Option<Self> {
        let sql = format!("{NO_IDLE_TIMEOUT}; SELECT pg_try_advisory_xact_lock({KEY})");
        let (tx, rows) = target.write(target.server().short_limit(), &sql).await.ok()?;
        if rows.first().is_some_and(|row| row.try_get(0).unwrap_or_default()) {
            return Some(Self { target, wait, state: Mutex::new(State::Held(tx)) });
        }
        tx.rollback().await;
        None
    }

    /// Lets go, so that no transaction is open while a question waits.
    pub async fn release(&self) {
        let held = std::mem::replace(&mut *self.state.lock().await, State::Released);
        if let State::Held(tx) = held {
            tx.rollback().await;
        }
    }

    /// Takes the lock again.
    ///
    /// # Errors
    /// [`Kind::Busy`] when somebody else has it, or had it meanwhile and ended the run.
    pub async fn retake(&self, lease: Lease) -> Result<()> {
        let mut state = self.state.lock().await;
        *state = State::Held(self.take_again(lease).await?);
        Ok(())
    }

    /// Keeps the lock until it is dropped, taking it again when it is lost; the reason when that cannot be done.
    pub async fn keep(&self, lease: Lease) -> Error {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut state = self.state.lock().await;
            if let State::Held(tx) = &*state
                && let Err(fault) = tx.simple("SELECT 1").await
            {
                tracing::info!(%fault, "lost the lock of this run; taking it again");
                *state = State::Lost;
            }
            if matches!(*state, State::Lost) {
                match self.take_again(lease).await {
                    Ok(tx) => *state = State::Held(tx),
                    Err(error) if error.kind == Kind::Busy => return error,
                    // The work's own attempts say whether the server comes back.
                    Err(error) => tracing::info!(%error, "the lock could not be taken again yet"),
                }
            }
        }
    }

    async fn take_again(&self, lease: Lease) -> Result<Tx<'a>> {
        let tx = take(self.target, self.wait).await?;
        let rows = tx.simple(&without_a_trace(&is_current(lease))).await.map_err(locking)?;
        let current = rows.first().map(|row| row.try_get::<bool, _>(0)).transpose().map_err(Fault::from);
        match current.map_err(locking)? {
            Some(true) => Ok(tx),
            _ => Err(super::run::taken_over(lease)),
        }
    }
}

/// `query`, whose tables are free again before the transaction ends. It is open as long as the run is: whoever waited for a
/// table of ours until then would keep the run's own transactions waiting.
fn without_a_trace(query: &str) -> String {
    format!("SAVEPOINT before; {query}; ROLLBACK TO SAVEPOINT before; RELEASE SAVEPOINT before")
}

const NO_IDLE_TIMEOUT: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";

async fn take(target: &Target, wait: Duration) -> Result<Tx<'_>> {
    // A lock_timeout of 0 would wait for ever.
    let wait_ms = wait.as_millis().max(1);
    let sql = format!(
        "{NO_IDLE_TIMEOUT}; SET LOCAL lock_timeout = {wait_ms}; \
         SELECT pg_advisory_xact_lock({KEY})"
    );
    match target.write(target.server().short_limit(), &sql).await {
        Ok((tx, _)) => Ok(tx),
        Err(fault) if fault.sqlstate() == Some("55P03") => Err(busy(target).await),
        Err(fault) => Err(locking(fault)),
    }
}

fn locking(fault: Fault) -> Error {
    fault.error("could not take the lock of a run on the target")
}

/// The error that names the holder; it may let go while it is asked for.
async fn busy(target: &Target) -> Error {
    let error = Error::new(Kind::Busy, "another run is active on the target");
    let high = KEY >> 32;
    let low = KEY & 0xffff_ffff;
    let holder = format!(
        "SELECT a.pid, coalesce(a.application_name, ''),
           ', since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')
         FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {high} AND l.objid = {low}
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    let named = async {
        let rows = target.read_once(target.server().short_limit(), &holder).await?;
        let named = |row: &PgRow| {
            let (pid, application, since): (i32, String, Option<String>) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let application = name_of_stranger(&application);
            Ok::<_, Fault>(format!("pid {pid}, application {application}{}", since.unwrap_or_default()))
        };
        rows.first().map(named).transpose()
    };
    let hint = "wait for it to end, or give it time with `--lock-wait`";
    match named.await {
        Ok(Some(holder)) => error.because(format!("it holds the lock: {holder}")).hint(hint),
        _ => error.hint(hint),
    }
}
