//! Connections to one side, kept for the next transaction when one has ended well.
//!
//! Not sqlx's pool: it pings on release, hides why nothing could be reached, and lends out connections that our
//! [`Tx`](super::Tx) has to own. At most one connection a worker is ever open, and one for the
//! [heartbeat](super::heartbeat), and for a moment one that asks [for whom](super::waiting) is waited; on the target also one
//! for the lock, and one that fills an empty book table meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::Limit;
use super::awaited::{Listener, Told};
use super::fault::Fault;
use super::limit::OUTSIDE;
use super::mutex::locked;
use super::nodelay::send_at_once;
use super::same_table::check_sql;
use super::settings::TRANSACTION_TIMEOUT;
use super::traffic::{Counter, Traffic, row_bytes};
use crate::config::{Endpoint, Side};
use crate::quote::literal;

/// How long a connection attempt may take when nobody says so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The setting that a session has from its start, if it was the server itself that took our start-up options: a session with
/// the connection's own name in it belongs to nobody else.
pub(super) const OWN_SESSION: &str = "dewey_sync.session";

/// One of the two servers, and the connections to it that nobody uses now.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    session_base: String,
    connections_opened: AtomicU64,
    traffic: Counter,
    connect_timeout: Duration,
    /// A pooler refused start-up options, so settings are made in each transaction only.
    reduced: AtomicBool,
    /// A connection was opened with them, so they are not what is refused later.
    takes_options: AtomicBool,
    /// A connection was opened, so user, password and database are right.
    admitted: AtomicBool,
    /// It did not know a setting that PostgreSQL has since version 14.
    is_old: AtomicBool,
    /// The version of the last connection, such as 150018; 0 is unknown.
    version: AtomicU32,
    /// The oid of the table that the guards looked at; 0 where there was none.
    book: AtomicU32,
    idle: Mutex<Vec<Opened>>,
    /// The names of sessions that may go on although their client is gone.
    abandoned: Mutex<Vec<String>>,
    waits: Told,
    /// Whether the last ping was answered, if there was one.
    heard: AtomicBool,
}

/// A connection, and the `application_name` by which `pg_stat_activity` tells its session from all others.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: PgConnection,
    pub(super) name: String,
}

/// The name of a session that is at work; dropping it says that the session was left alone with that.
#[derive(Debug)]
pub(super) struct Working<'server> {
    server: &'server Server,
    pub(super) name: String,
}

impl Working<'_> {
    /// The session has nothing left to do; its name.
    pub(super) fn ended(mut self) -> String {
        std::mem::take(&mut self.name)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        // A session of the source writes nothing, and is not ours to end.
        if !self.name.is_empty() && self.server.endpoint.side == Side::Target {
            locked(&self.server.abandoned).push(std::mem::take(&mut self.name));
        }
    }
}

impl Server {
    /// Nothing is connected yet. `session_base` with `.1`, `.2`, … is what the server's `pg_stat_activity` shows as the
    /// application; without `connect_timeout` the URL's counts, else 10 s.
    pub fn new(endpoint: Endpoint, session_base: String, connect_timeout: Option<Duration>) -> Self {
        let connect_timeout = connect_timeout.or(endpoint.connect_timeout()).unwrap_or(CONNECT_TIMEOUT);
        let reduced = AtomicBool::new(endpoint.pooled());
        Self {
            endpoint,
            session_base,
            connections_opened: AtomicU64::default(),
            traffic: Counter::default(),
            connect_timeout,
            reduced,
            takes_options: AtomicBool::default(),
            admitted: AtomicBool::default(),
            is_old: AtomicBool::default(),
            version: AtomicU32::default(),
            book: AtomicU32::default(),
            idle: Mutex::default(),
            abandoned: Mutex::default(),
            waits: Told::default(),
            heard: AtomicBool::default(),
        }
    }

    /// Tells `listener` of what waits for longer than usual.
    #[must_use]
    pub fn telling(self, listener: Listener) -> Self {
        Self { waits: Told::to(listener), ..self }
    }

    /// Whether it was seen to be there although it did not answer a request.
    pub(super) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    pub(super) fn note_heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::Release);
    }

    pub(super) fn waits(&self) -> &Told {
        &self.waits
    }

    /// What the application names of all sessions of this process begin with.
    pub fn session_base(&self) -> &str {
        &self.session_base
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether settings are made without the start-up packet, for a pooler's sake.
    pub fn lacks_startup_options(&self) -> bool {
        self.reduced.load(Ordering::Acquire)
    }

    /// Its version, such as 150018, if a connection was opened.
    pub fn version(&self) -> Option<u32> {
        Some(self.version.load(Ordering::Acquire)).filter(|version| *version > 0)
    }

    /// From now on, transactions that write, and those of the source, end well only while the book table is the one with this oid.
    pub fn expect_book(&self, oid: Option<u32>) {
        self.book.store(oid.unwrap_or_default(), Ordering::Release);
    }

    /// A statement that fails unless the book table is the one that is expected.
    pub fn book_check(&self) -> String {
        match self.book.load(Ordering::Acquire) {
            0 => "SELECT".into(),
            oid => check_sql(self.endpoint(), oid),
        }
    }

    /// What went to it and came back until now.
    pub fn traffic(&self) -> Traffic {
        self.traffic.counted()
    }

    pub(super) fn counter(&self) -> &Counter {
        &self.traffic
    }

    /// Runs SQL text without parameters on a connection to it.
    pub(super) async fn simple(
        &self,
        connection: &mut PgConnection,
        sql: String,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        self.traffic.sent(1, sql.len());
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
        self.traffic.received(rows.iter().map(row_bytes).sum());
        Ok(rows)
    }

    /// For statements that know no other limit: a server that is silent for as long as a connection may take is out of reach.
    pub fn short_limit(&self) -> Limit {
        Limit::Heartbeat(self.connect_timeout)
    }

    /// How long a connection attempt may take.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Opens a connection and keeps it for the first transaction.
    pub async fn connect(&self) -> Result<(), Fault> {
        self.release(self.open().await?);
        Ok(())
    }

    /// Closes what is idle, in the protocol's way, so that the server does not report a lost client.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *locked(&self.idle));
        let closing = join_all(idle.into_iter().map(|opened| opened.connection.close()));
        let closed = tokio::time::timeout(self.connect_timeout, closing).await;
        tracing::debug!(answered = closed.is_ok(), "closed the connections to the {}", self.endpoint.side);
    }

    pub(super) async fn acquire(&self) -> Result<Opened, Fault> {
        match self.take_idle() {
            Some(opened) => Ok(opened),
            None => self.open().await,
        }
    }

    pub(super) fn take_idle(&self) -> Option<Opened> {
        locked(&self.idle).pop()
    }

    pub(super) fn release(&self, opened: Opened) {
        locked(&self.idle).push(opened);
    }

    /// Drops the idle connections, so that the next transaction opens one of its own.
    pub(super) fn forget_idle(&self) {
        locked(&self.idle).clear();
    }

    /// To be told when the session called `name` has ended its work.
    pub(super) fn working(&self, name: String) -> Working<'_> {
        Working { server: self, name }
    }

    pub(super) fn has_abandoned(&self) -> bool {
        !locked(&self.abandoned).is_empty()
    }

    /// Ends, through `connection`, the sessions that were left alone: what one of them still does would be in the way of
    /// who does it again.
    pub(super) async fn end_abandoned(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let names = locked(&self.abandoned).clone();
        if names.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = names.iter().map(|name| literal(name)).collect();
        let end = format!(
            "{OUTSIDE}; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name IN ({}) \
             AND datname = current_database() AND usename = session_user AND pid <> pg_backend_pid(); COMMIT",
            list.join(", ")
        );
        let ended = tokio::time::timeout(self.connect_timeout, self.simple(connection, end)).await;
        let ended = ended.map_err(|_| Fault::deadline(self.connect_timeout))??;
        tracing::debug!(sessions = ended.len(), "ended sessions of ours that were left alone");
        locked(&self.abandoned).retain(|name| !names.contains(name));
        Ok(())
    }

    pub(super) async fn open(&self) -> Result<Opened, Fault> {
        let name = self.next_name();
        let connection = self.open_as(&name).await?;
        self.version.store(connection.server_version_num().unwrap_or_default(), Ordering::Release);
        send_at_once();
        Ok(Opened { connection, name })
    }

    async fn open_as(&self, name: &str) -> Result<PgConnection, Fault> {
        let reduced = self.lacks_startup_options();
        match self.open_with(self.options_for(name, reduced)).await {
            Err(fault)
                if fault.is_protocol_violation()
                    && !reduced
                    && !self.takes_options.load(Ordering::Acquire) =>
            {
                let opened = self.open_with(self.options_for(name, true)).await?;
                // Only now it is known that it was the options.
                self.reduced.store(true, Ordering::Release);
                tracing::info!("the {} refuses start-up options: connected without them", self.endpoint.side);
                Ok(opened)
            }
            Err(fault) if fault.sqlstate() == Some("42704") && !reduced => {
                self.is_old.store(true, Ordering::Release);
                let opened = self.open_with(self.options_for(name, false)).await;
                self.takes_options.fetch_or(opened.is_ok(), Ordering::AcqRel);
                opened
            }
            opened => {
                self.takes_options.fetch_or(opened.is_ok() && !reduced, Ordering::AcqRel);
                opened
            }
        }
    }

    async fn open_with(&self, options: PgConnectOptions) -> Result<PgConnection, Fault> {
        let opened = tokio::time::timeout(self.connect_timeout, options.connect())
            .await
            .map_err(|_| Fault::deadline(self.connect_timeout))?
            .map_err(|error| Fault::at_startup(&error, !self.admitted.load(Ordering::Acquire)))?;
        self.admitted.store(true, Ordering::Release);
        Ok(opened)
    }

    /// The name of the next connection's session.
    pub(super) fn next_name(&self) -> String {
        format!("{}.{}", self.session_base, self.connections_opened.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The options of a connection whose session is called `name`.
    pub(super) fn options(&self, name: &str) -> PgConnectOptions {
        self.options_for(name, self.lacks_startup_options())
    }

    fn options_for(&self, name: &str, reduced: bool) -> PgConnectOptions {
        let options = self.endpoint.connect_options(name);
        if reduced {
            // A pooler would leave a name on the server's session, for clients without one to find; and whoever ends ours
            // by its name would end theirs. Transactions set it for themselves.
            return options.application_name("").extra_float_digits(None);
        }
        // A role's own time limits would end the session between two transactions, or one before it lifts them.
        let options =
            options.options([("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")]);
        let limits_transactions = self.version().is_some_and(|version| version >= TRANSACTION_TIMEOUT);
        let options =
            if limits_transactions { options.options([("transaction_timeout", "0")]) } else { options };
        let is_old = self.is_old.load(Ordering::Acquire);
        let options = if is_old { options } else { options.options([("idle_session_timeout", "0")]) };
        match self.endpoint.side {
            Side::Source => options.options([("default_transaction_read_only", "on")]),
            Side::Target => options.options([(OWN_SESSION, name)]),
        }
    }
}
