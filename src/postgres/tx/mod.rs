//! One transaction on one connection of our own.
//!
//! Invariants: a `Tx` is poisoned by its first error and by an await that was dropped before its answer, and then
//! refuses to commit, because PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and the
//! driver does not report it. Only a transaction that ended as it should gives its connection back.

mod orm;

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use sea_orm::ConnectionTrait;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::sync::Mutex;

use super::Limit;
use super::connect::{Opened, Server, Working};
use super::effects::first_reading;
use super::fault::{Fault, Origin};
use super::mutex::locked;
use super::opening::Opening;
use super::query::Queries;
use super::waiting::Watch;

/// For COMMIT and ROLLBACK, whatever the statements before were given.
const ENDING: Duration = Duration::from_mins(2);

/// The server's readiness is waited for before the rows are sent.
const COPY_IN_ROUND_TRIPS: u64 = 2;

/// One snapshot from the first query on, and no writes.
pub(super) const SNAPSHOT: &str = "ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// An open transaction; dropping it closes the connection, which rolls it back. Where the server does not come to know of
/// that, the next transaction on the target ends the session.
#[derive(Debug)]
pub struct Tx<'server> {
    server: &'server Server,
    connection: Mutex<PgConnection>,
    session: Working<'server>,
    poisoned: AtomicBool,
    /// For the answer to one statement.
    limit: std::sync::Mutex<Limit>,
    /// Until the first request takes it along, so that it costs no round trip of its own.
    opening: std::sync::Mutex<Option<Opening>>,
    /// No pooler has lent the server's session to others, so that a statement that was prepared in it is still there.
    session_is_own: AtomicBool,
    watch: Watch,
}

impl<'server> Tx<'server> {
    /// Begins in `mode` (what follows BEGIN), makes the settings that every transaction of ours has, and asks
    /// `first`: all of it one simple query, so one round trip.
    pub(super) async fn begin<Q: Queries>(
        server: &'server Server,
        mode: &str,
        limit: Limit,
        first: Q,
    ) -> Result<(Self, Q::Answers), Fault> {
        Self::open(server, mode, limit).await?.with(first).await
    }

    /// Asks `first`, which the transaction begins together with.
    pub(super) async fn with<Q: Queries>(self, first: Q) -> Result<(Self, Q::Answers), Fault> {
        let answers = self.ask(first).await?;
        Ok((self, answers))
    }

    /// The same for a text of which no literal depends on how the session is set, backslashes or not: nothing begins by itself.
    pub(super) async fn with_at_once(self, first: &str) -> Result<(Self, Vec<PgRow>), Fault> {
        let rows = self.send(first).await?;
        Ok((self, rows))
    }

    /// Its first statement takes the first reading of what it does; see [`effects`](super::effects).
    pub(super) fn measured(self) -> Self {
        let reading = format!("{} IS NOT NULL AS is_measured", first_reading());
        self.changed(|opening| opening.answer_also(&reading))
    }

    /// For a guard that has more to say about settings that only some roles may make; to all other transactions they are an
    /// error.
    pub(super) fn tolerant(self) -> Self {
        self.changed(Opening::tolerate)
    }

    fn changed(mut self, change: impl FnOnce(&mut Opening)) -> Self {
        if let Some(opening) = self.opening.get_mut().unwrap_or_else(PoisonError::into_inner) {
            change(opening);
        }
        self
    }

    /// A transaction that begins together with the first request.
    pub(super) async fn open(server: &'server Server, mode: &str, limit: Limit) -> Result<Self, Fault> {
        let Opened { mut connection, name } = server.acquire().await?;
        server.end_abandoned(&mut connection).await?;
        let version = connection.server_version_num();
        let opening = Opening::new(server.endpoint(), version, &name, mode, limit);
        Ok(Self {
            server,
            connection: Mutex::new(connection),
            session: server.working(name),
            poisoned: AtomicBool::new(false),
            limit: std::sync::Mutex::new(limit),
            opening: std::sync::Mutex::new(Some(opening)),
            session_is_own: AtomicBool::new(false),
            watch: Watch::default(),
        })
    }

    /// `sql` with what has to come before it; the first row is the answer to that.
    fn with_opening(&self, sql: &str) -> (String, Option<Opening>) {
        let opening = locked(&self.opening).take();
        let sql = opening.as_ref().map_or_else(|| sql.to_owned(), |opening| format!("{}{sql}", opening.sql));
        (sql, opening)
    }

    /// Begins, if that has not happened yet, before a request that cannot take it along.
    async fn begin_now(&self) -> Result<(), sqlx::Error> {
        let waits = locked(&self.opening).is_some();
        if waits { self.send("").await.map(drop) } else { Ok(()) }
    }

    /// The name of the session, as `pg_stat_activity` shows it.
    pub fn session(&self) -> &str {
        &self.session.name
    }

    /// Whether the server's session is known to serve nobody else, since the transaction has begun.
    pub fn session_is_own(&self) -> bool {
        self.session_is_own.load(Ordering::Acquire)
    }

    /// Runs SQL text without parameters in one round trip; the rows of all its statements.
    pub async fn simple(&self, sql: &str) -> Result<Vec<PgRow>, Fault> {
        Ok(self.rows(sql).await?)
    }

    /// Asks queries in one round trip.
    pub async fn ask<Q: Queries>(&self, queries: Q) -> Result<Q::Answers, Fault> {
        let rows = self.simple(&queries.sql()).await?;
        queries.read(rows)
    }

    async fn rows(&self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        self.begin_before(sql).await?;
        self.send(sql).await
    }

    /// A text is cut into literals before any of its statements runs, as the session was set before. Where that could make
    /// a difference, the transaction begins by itself.
    async fn begin_before(&self, sql: &str) -> Result<(), sqlx::Error> {
        if sql.contains('\\') { self.begin_now().await } else { Ok(()) }
    }

    async fn send(&self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        let (sql, opening) = self.with_opening(sql);
        let rows = self.request(async |connection| self.server.simple(connection, sql).await);
        let mut rows = rows.await?;
        if let Some(opening) = opening {
            self.session_is_own.store(opening.check(rows.first())?, Ordering::Release);
            rows.remove(0);
        }
        Ok(rows)
    }

    /// Runs SQL text that changes rows, in one round trip; how many all its statements changed.
    pub async fn execute_simple(&self, sql: &str) -> Result<u64, Fault> {
        Ok(self.execute_unprepared(sql).await?.rows_affected())
    }

    /// Runs SQL text that changes rows, and from then on grants each statement `limit`; how many rows.
    pub async fn execute_then_limit(&self, sql: &str, limit: impl Into<Limit>) -> Result<u64, Fault> {
        let limit = limit.into();
        let done = self.execute_simple(&format!("{sql}; {}", limit.sql())).await;
        self.limit(limit);
        done
    }

    /// Runs a COPY FROM STDIN with these bytes; how many rows it inserted.
    pub async fn copy_in(&self, statement: &str, bytes: &[u8]) -> Result<u64, Fault> {
        self.begin_now().await?;
        self.server.counter().sent(COPY_IN_ROUND_TRIPS, statement.len() + bytes.len());
        self.request(async |connection| {
            let mut copy = connection.copy_in_raw(statement).await?;
            copy.send(bytes).await?;
            copy.finish().await
        })
        .await
        .map_err(|error| Fault::from(&error))
    }

    /// The messages of a COPY TO STDOUT as they arrive; each within the limit. A stream dropped before its end leaves the
    /// poison, and a connection that can only be closed.
    pub(super) fn copy_out(
        &self,
        statement: &str,
    ) -> impl Stream<Item = Result<impl AsRef<[u8]> + use<>, Fault>> + Send {
        async_stream::try_stream! {
            self.begin_now().await?;
            let counter = self.server.counter();
            counter.sent(1, statement.len());
            let mut connection = self.connection.lock().await;
            let failed_before = self.poisoned.swap(true, Ordering::AcqRel);
            let mut messages = self.within_limit(connection.copy_out_raw(statement)).await?;
            while let Some(message) = self.within_limit(messages.try_next()).await? {
                counter.received(message.as_ref().len());
                yield message;
            }
            self.poisoned.store(failed_before, Ordering::Release);
        }
    }

    /// From now on waits as `limit` says for an answer; the server's own time-out stays.
    pub fn limit(&self, limit: impl Into<Limit>) {
        *locked(&self.limit) = limit.into();
    }

    /// Commits, and gives the connection back.
    ///
    /// # Errors
    /// With `at_commit` set: unless the server itself answered, the transaction may have been committed.
    pub async fn commit(self) -> Result<(), Fault> {
        self.refuse_if_poisoned()?;
        let last = format!("{}; COMMIT", self.book_check());
        let ended = self.end(&last).await;
        ended.map(drop).map_err(Fault::at_commit)
    }

    /// Runs the last statements and commits, in one round trip; their rows. They may take as long as the statements before.
    ///
    /// # Errors
    /// As [`commit`](Self::commit): PostgreSQL skips the COMMIT when a statement before it in the same text fails.
    pub async fn commit_after<Q: Queries>(self, last: Q) -> Result<Q::Answers, Fault> {
        self.refuse_if_poisoned()?;
        // Whatever `last` reads of the transaction is read last.
        let sql = format!("{}; {}; COMMIT", self.book_check(), last.sql());
        let mut rows = self.simple(&sql).await.map_err(Fault::at_commit)?;
        rows.remove(0);
        self.ended();
        last.read(rows)
    }

    /// A statement that fails unless the book table is the one that the guards looked at; one row.
    pub fn book_check(&self) -> String {
        self.server.book_check()
    }

    fn refuse_if_poisoned(&self) -> Result<(), Fault> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Fault::client("a transaction that had failed was to be committed"));
        }
        Ok(())
    }

    /// Rolls back, and gives the connection back; when that fails, closing the connection does the same.
    pub async fn rollback(self) {
        if let Err(fault) = self.end("ROLLBACK").await {
            tracing::debug!(%fault, "a ROLLBACK was not answered; the connection is closed instead");
        }
    }

    /// Asks the last queries and rolls back, in one round trip.
    pub async fn last<Q: Queries>(self, queries: Q) -> Result<Q::Answers, Fault> {
        let rows = self.simple(&format!("{}; ROLLBACK", queries.sql())).await?;
        self.ended();
        queries.read(rows)
    }

    /// Sends the last statements, the one that ends the transaction among them; their rows.
    pub(super) async fn end(self, sql: &str) -> Result<Vec<PgRow>, Fault> {
        let rows = tokio::time::timeout(ENDING, self.simple(sql)).await;
        let rows = rows.map_err(|_| self.watch.explain(Fault::deadline(ENDING)))??;
        self.ended();
        Ok(rows)
    }

    /// Gives the connection back after the transaction was ended by the text of [`begin`](Self::begin) itself.
    pub(super) fn ended(self) {
        let Self { server, connection, session, .. } = self;
        server.release(Opened { connection: connection.into_inner(), name: session.ended() });
    }

    /// One request and its answer, within the deadline, leaving the poison unless both came through.
    async fn request<T>(
        &self,
        send: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut connection = self.connection.lock().await;
        let failed_before = self.poisoned.swap(true, Ordering::AcqRel);
        let answer = self.within_limit(Box::pin(send(&mut connection))).await?;
        self.poisoned.store(failed_before, Ordering::Release);
        Ok(answer)
    }

    /// What ended this connection has probably ended those that wait, too.
    fn forget_idle_after(&self, error: &sqlx::Error) {
        let origin = Fault::from(error).origin;
        if matches!(origin, Origin::Io | Origin::Deadline | Origin::Server { fatal: true, .. }) {
            self.server.forget_idle();
        }
    }

    /// What `answer` brings within the deadline; an error says for what was waited, where it is known.
    async fn within_limit<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let limit = *locked(&self.limit);
        let answer = self.watch.over(self.server, self.session(), limit.lock_timeout(), answer);
        let answer = limit.wait(self.server, self.session(), answer).await;
        answer.map_err(sqlx::Error::from).flatten().map_err(|error| {
            self.forget_idle_after(&error);
            self.watch.explain_error(error)
        })
    }
}
