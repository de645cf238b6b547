//! SeaORM's side of a transaction: statements with parameters.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::{Stream, TryStreamExt};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, StreamTrait,
};
use sea_query_sqlx::SqlxValues;
use sqlx::postgres::{PgQueryResult, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Either, Executor};

use super::Tx;
use crate::postgres::traffic::{row_bytes, values_bytes};

/// Parsing is waited for before anything is executed, unless the statement is known.
const PREPARED_ROUND_TRIPS: u64 = 2;

impl Tx<'_> {
    /// One statement with parameters; what it changed, and its rows.
    async fn prepared(&self, statement: Statement) -> Result<(PgQueryResult, Vec<PgRow>), sqlx::Error> {
        self.begin_now().await?;
        let bytes = statement.sql.len() + statement.values.as_ref().map_or(0, values_bytes);
        self.request(async |connection| {
            let known = connection.cached_statements_size();
            let (mut done, mut rows) = (PgQueryResult::default(), Vec::new());
            let mut answer = connection.fetch_many(query(statement, self.session_is_own()));
            while let Some(part) = answer.try_next().await? {
                match part {
                    Either::Left(changed) => done.extend([changed]),
                    Either::Right(row) => rows.push(row),
                }
            }
            drop(answer);
            let was_known = self.session_is_own() && connection.cached_statements_size() == known;
            let counter = self.server.counter();
            counter.sent(if was_known { 1 } else { PREPARED_ROUND_TRIPS }, bytes);
            counter.received(rows.iter().map(row_bytes).sum());
            Ok((done, rows))
        })
        .await
    }
}

/// Prepared without a name, unless nobody else can have the session: a pooler lends it to other clients, whose statements
/// have the driver's names too, and does not always show that it is one. Preparing again costs a round trip a batch, and the
/// server more time than the insert.
fn query(
    Statement { sql, values, .. }: Statement,
    session_is_own: bool,
) -> Query<'static, Postgres, SqlxValues> {
    let values = values.unwrap_or(sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(sql), SqlxValues(values)).persistent(session_is_own)
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
        let done = self.prepared(statement).await;
        done.map(|(done, _)| done.into()).map_err(executing)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.begin_now().await.map_err(executing)?;
        self.server.counter().sent(1, sql.len());
        let done = self
            .request(async |connection| connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await)
            .await;
        done.map(Into::into).map_err(executing)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let rows = self.query_all_raw(statement).await?;
        Ok(rows.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let done = self.prepared(statement).await;
        done.map(|(_, rows)| rows.into_iter().map(Into::into).collect()).map_err(querying)
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

    /// Rows as they arrive; each within the limit. A stream dropped before its end leaves the poison. Values become part
    /// of the text, so that the answer comes after one round trip, BEGIN included.
    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + Send + 'a>> {
        let rows = async_stream::try_stream! {
            let statement = statement.to_string();
            self.begin_before(&statement).await.map_err(querying)?;
            let (sql, mut opening) = self.with_opening(&statement);
            let counter = self.server.counter();
            counter.sent(1, sql.len());
            let mut connection = self.connection.lock().await;
            let failed_before = self.poisoned.swap(true, Ordering::AcqRel);
            let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut *connection);
            while let Some(row) = self.within_limit(rows.try_next()).await.map_err(querying)? {
                counter.received(row_bytes(&row));
                match opening.take() {
                    Some(opening) => drop(opening.check(Some(&row)).map_err(querying)?),
                    None => yield QueryResult::from(row),
                }
            }
            self.poisoned.store(failed_before, Ordering::Release);
        };
        let rows: Self::Stream<'a> = Box::pin(rows);
        Box::pin(std::future::ready(Ok(rows)))
    }
}
