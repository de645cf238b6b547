//! One transaction on one connection of our own.
//!
//! Invariants: a `Tx` is poisoned by its first error and by an await that was dropped before its answer, and then
//! refuses to commit, because PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and the
//! driver does not report it. Only a transaction that ended as it should gives its connection back.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, StreamTrait,
};
use sea_query_sqlx::SqlxValues;
use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor};
use tokio::sync::Mutex;

use super::connect::{Server, identifier};
use super::fault::{Fault, Origin};

/// How long the client waits beyond the server's own time-out, whose answer says more.
const GRACE: Duration = Duration::from_secs(5);

/// For a lock that an application's open transaction holds; waiting for it is tried again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// For COMMIT and ROLLBACK, whatever the statements before were given.
const ENDING: Duration = Duration::from_mins(2);

/// A side may be idle while the other one works on a few statements.
const IDLE_FACTOR: u128 = 4;

/// One snapshot from the first query on, and no writes.
pub(super) const SNAPSHOT: &str = "ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// An open transaction; dropping it closes the connection, which rolls it back.
#[derive(Debug)]
pub struct Tx<'server> {
    server: &'server Server,
    connection: Mutex<PgConnection>,
    poisoned: AtomicBool,
    /// For the answer to one statement, in milliseconds.
    deadline_ms: AtomicU64,
}

impl<'server> Tx<'server> {
    /// Begins in `mode` (what follows BEGIN), makes the settings that every transaction of ours has, and runs
    /// `first`: all of it one simple query, so one round trip. The rows are those of `first`.
    pub(super) async fn begin(
        server: &'server Server,
        mode: &str,
        statement_timeout: Duration,
        first: &str,
    ) -> Result<(Self, Vec<PgRow>), Fault> {
        let connection = server.acquire().await?;
        let settings =
            settings(&server.endpoint().schema, statement_timeout, connection.server_version_num());
        let tx = Self {
            server,
            connection: Mutex::new(connection),
            poisoned: AtomicBool::new(false),
            deadline_ms: AtomicU64::new(deadline_ms(statement_timeout)),
        };
        let begun = tx.simple(&format!("BEGIN {mode}; {settings}; {first}")).await;
        if begun.as_ref().is_err_and(|fault| fault.origin == Origin::Io) {
            // What ended this connection has probably ended those that wait, too.
            server.forget_idle();
        }
        Ok((tx, begun?))
    }

    /// Runs SQL text without parameters in one round trip; the rows of all its statements.
    pub async fn simple(&self, sql: &str) -> Result<Vec<PgRow>, Fault> {
        self.request(async |connection| sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await)
            .await
            .map_err(|error| Fault::from(&error))
    }

    /// Runs SQL text that changes rows, in one round trip; how many all its statements changed.
    pub async fn execute_simple(&self, sql: &str) -> Result<u64, Fault> {
        Ok(self.execute_unprepared(sql).await?.rows_affected())
    }

    /// Runs SQL text that changes rows, and from then on gives each statement `statement_timeout`; how many rows.
    pub async fn execute_then_limit(&self, sql: &str, statement_timeout: Duration) -> Result<u64, Fault> {
        let timeout_ms = statement_timeout.as_millis();
        let done = self.execute_simple(&format!("{sql}; SET LOCAL statement_timeout = {timeout_ms}")).await;
        self.limit(statement_timeout);
        done
    }

    /// From now on waits this long, and a little more, for an answer.
    pub(super) fn limit(&self, wait: Duration) {
        self.deadline_ms.store(deadline_ms(wait), Ordering::Release);
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.load(Ordering::Acquire))
    }

    /// Commits, and gives the connection back.
    ///
    /// # Errors
    /// With `at_commit` set: unless the server itself answered, the transaction may have been committed.
    pub async fn commit(self) -> Result<(), Fault> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Fault::client("a transaction that had failed was to be committed"));
        }
        let ended = self.end("COMMIT").await;
        ended.map(drop).map_err(Fault::at_commit)
    }

    /// Rolls back, and gives the connection back; when that fails, closing the connection does the same.
    pub async fn rollback(self) {
        if let Err(fault) = self.end("ROLLBACK").await {
            tracing::debug!(%fault, "a ROLLBACK was not answered; the connection is closed instead");
        }
    }

    /// Runs the last query and rolls back, in one round trip; its rows.
    pub async fn last(self, sql: &str) -> Result<Vec<PgRow>, Fault> {
        self.end(&format!("{sql}; ROLLBACK")).await
    }

    /// Sends the last statements, the one that ends the transaction among them; their rows.
    pub(super) async fn end(self, sql: &str) -> Result<Vec<PgRow>, Fault> {
        self.limit(self.deadline().min(ENDING));
        let rows = self.simple(sql).await?;
        self.ended();
        Ok(rows)
    }

    /// Gives the connection back after the transaction was ended by the text of [`begin`](Self::begin) itself.
    pub(super) fn ended(self) {
        self.server.release(self.connection.into_inner());
    }

    /// One request and its answer, within the deadline, leaving the poison unless both came through.
    async fn request<T>(
        &self,
        send: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut connection = self.connection.lock().await;
        let failed_before = self.poisoned.swap(true, Ordering::AcqRel);
        let answer = tokio::time::timeout(self.deadline(), send(&mut connection)).await;
        let answer = answer.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??;
        self.poisoned.store(failed_before, Ordering::Release);
        Ok(answer)
    }
}

fn deadline_ms(statement_timeout: Duration) -> u64 {
    u64::try_from((statement_timeout + GRACE).as_millis()).unwrap_or(u64::MAX)
}

/// What every transaction sets for itself, because a pooler may have lent the session to somebody else and a role or a
/// database may have defaults of its own. With the keepalives the server notices within a minute that a client vanished.
fn settings(schema: &str, statement_timeout: Duration, version: Option<u32>) -> String {
    let timeout_ms = statement_timeout.as_millis();
    let idle_ms = (timeout_ms * IDLE_FACTOR).min(i32::MAX.unsigned_abs().into());
    let lock_ms = timeout_ms.min(LOCK_TIMEOUT.as_millis());
    let schema = identifier(schema);
    let mut settings = format!(
        "SET LOCAL search_path = {schema}; SET LOCAL client_encoding = 'UTF8'; SET LOCAL DateStyle = 'ISO, MDY'; \
         SET LOCAL TimeZone = 'UTC'; SET LOCAL standard_conforming_strings = on; SET LOCAL row_security = off; \
         SET LOCAL statement_timeout = {timeout_ms}; SET LOCAL lock_timeout = {lock_ms}; \
         SET LOCAL idle_in_transaction_session_timeout = {idle_ms}; SET LOCAL tcp_keepalives_idle = 30; \
         SET LOCAL tcp_keepalives_interval = 10; SET LOCAL tcp_keepalives_count = 3"
    );
    // PostgreSQL 14 and later end a statement whose client is gone; without it, it goes on to its end.
    if version.is_some_and(|version| version >= 140_000) {
        settings.push_str("; SET LOCAL client_connection_check_interval = 1000");
    }
    settings
}

/// Prepared without a name: a pooler lends the server's session to other clients, whose statements have the driver's
/// names too, and does not always show that it is one. Preparing again costs a round trip a batch.
fn query(statement: &Statement) -> Query<'_, Postgres, SqlxValues> {
    let values = statement.values.clone().unwrap_or(sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), SqlxValues(values)).persistent(false)
}

fn executing(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn querying(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

#[async_trait]
impl ConnectionTrait for Tx<'_> {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let done = self.request(async |connection| query(&statement).execute(connection).await).await;
        done.map(Into::into).map_err(executing)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = self
            .request(async |connection| connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await)
            .await;
        done.map(Into::into).map_err(executing)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let row = self.request(async |connection| query(&statement).fetch_optional(connection).await).await;
        row.map(|row| row.map(Into::into)).map_err(querying)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = self.request(async |connection| query(&statement).fetch_all(connection).await).await;
        rows.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(querying)
    }
}

impl StreamTrait for Tx<'_> {
    type Stream<'a>
        = Pin<Box<dyn Stream<Item = Result<QueryResult, DbErr>> + Send + 'a>>
    where
        Self: 'a;

    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    /// Rows as they arrive; each within the deadline. A stream dropped before its end leaves the poison.
    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + Send + 'a>> {
        let rows = async_stream::try_stream! {
            let mut connection = self.connection.lock().await;
            let failed_before = self.poisoned.swap(true, Ordering::AcqRel);
            let mut rows = query(&statement).fetch(&mut *connection);
            loop {
                let row = tokio::time::timeout(self.deadline(), rows.next()).await;
                let row = row.map_err(|_| querying(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))?;
                match row {
                    Some(row) => yield QueryResult::from(row.map_err(querying)?),
                    None => break,
                }
            }
            self.poisoned.store(failed_before, Ordering::Release);
        };
        let rows: Self::Stream<'a> = Box::pin(rows);
        Box::pin(std::future::ready(Ok(rows)))
    }
}
