//! Production: a side that can only be read.
//!
//! Invariant: no value of this module gives out a connection or runs a statement outside a READ ONLY transaction. The
//! layers, outermost first: this type, the start-up option `default_transaction_read_only`, `BEGIN … READ ONLY` checked
//! inside, and `pg_current_xact_id_if_assigned()` at the end.

use dewey_sync_entity::book;
use futures_util::Stream;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, QueryResult, Select, Statement};
use sqlx::Row;

use super::Limit;
use super::connect::Server;
use super::fault::Fault;
use super::query::Queries;
use super::traffic::row_bytes;
use super::tx::{SNAPSHOT, Tx};

/// The server that books are read from.
#[derive(Debug)]
pub struct Source(Server);

impl Source {
    /// Wraps a server.
    pub fn new(server: Server) -> Self {
        Self(server)
    }

    /// The server, for what is true of both sides.
    pub fn server(&self) -> &Server {
        &self.0
    }

    /// Begins a transaction with one snapshot from its first query on; with it the answers to `first`.
    pub async fn snapshot<Q: Queries>(
        &self,
        limit: impl Into<Limit>,
        first: Q,
    ) -> Result<(SourceTx<'_>, Q::Answers), Fault> {
        let (tx, rows) = Tx::begin(&self.0, SNAPSHOT, limit.into(), first).await?;
        Ok((SourceTx(tx), rows))
    }

    /// The same for a guard that looks at the session's settings.
    pub async fn look<Q: Queries>(
        &self,
        limit: Limit,
        first: Q,
    ) -> Result<(SourceTx<'_>, Q::Answers), Fault> {
        let (tx, rows) = Tx::open(&self.0, SNAPSHOT, limit).await?.tolerant().with(first).await?;
        Ok((SourceTx(tx), rows))
    }

    /// The same, but begins together with its first query.
    pub async fn open(&self, limit: impl Into<Limit>) -> Result<SourceTx<'_>, Fault> {
        Tx::open(&self.0, SNAPSHOT, limit.into()).await.map(SourceTx)
    }
}

/// A book and its size.
#[derive(Debug)]
pub struct SizedBook {
    /// As it was read.
    pub book: book::Model,
    /// Bytes of its values, of every column.
    pub bytes: usize,
}

impl FromQueryResult for SizedBook {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let bytes = row.try_as_pg_row().map_or(0, row_bytes);
        Ok(Self { book: book::Model::from_query_result(row, prefix)?, bytes })
    }
}

/// An open READ ONLY transaction on the source.
#[derive(Debug)]
pub struct SourceTx<'server>(Tx<'server>);

impl SourceTx<'_> {
    /// Asks queries without parameters in one round trip.
    pub async fn read<Q: Queries>(&self, queries: Q) -> Result<Q::Answers, Fault> {
        self.0.ask(queries).await
    }

    /// Runs one statement, which a text of several is not.
    pub async fn parse(&self, statement: &str) -> Result<(), Fault> {
        let statement = Statement::from_string(DbBackend::Postgres, statement);
        Ok(self.0.query_all_raw(statement).await.map(drop)?)
    }

    /// The books of a SeaORM query, as they arrive.
    pub async fn books(
        &self,
        select: Select<book::Entity>,
    ) -> Result<impl Stream<Item = Result<SizedBook, DbErr>> + Send, Fault> {
        Ok(select.into_model().stream(&self.0).await?)
    }

    /// The messages of a COPY TO STDOUT, as they arrive.
    pub fn copy_out(
        &self,
        statement: &str,
    ) -> impl Stream<Item = Result<impl AsRef<[u8]> + use<>, Fault>> + Send {
        self.0.copy_out(statement)
    }

    /// From now on waits this long for an answer, or for the next row of one. The server's own time-out stays: while
    /// rows wait for the other side, it goes on.
    pub fn limit(&self, limit: impl Into<Limit>) {
        self.0.limit(limit);
    }

    /// Ends the transaction, having checked that it wrote nothing and read the book table that the guards looked at.
    pub async fn finish(self) -> Result<(), Fault> {
        self.last("").await.map(drop)
    }

    /// Runs the last query and ends the transaction as [`finish`](Self::finish) does, in one round trip.
    pub async fn last<Q: Queries>(self, queries: Q) -> Result<Q::Answers, Fault> {
        let query = queries.sql();
        let separator = if query.is_empty() { "" } else { "; " };
        let check = self.0.book_check();
        let ending =
            format!("{query}{separator}SELECT pg_current_xact_id_if_assigned() IS NULL; {check}; COMMIT");
        let mut rows = self.0.simple(&ending).await?;
        self.0.ended();
        // The check's own row.
        rows.pop();
        let untouched = rows.pop().map(|row| row.try_get::<bool, _>(0)).transpose()?;
        if untouched != Some(true) {
            return Err(Fault::client("the source assigned a transaction id to a reading transaction"));
        }
        queries.read(rows)
    }
}
