//! Development: the side that is written to.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqlxPostgresConnector, TransactionTrait,
};
use sqlx::postgres::PgPoolOptions;

use super::Limit;
use super::connect::Server;
use super::fault::Fault;
use super::heartbeat::while_answering;
use super::query::Queries;
use super::settings::of_migration;
use super::tx::{SNAPSHOT, Tx};
use super::waiting::Watch;
use crate::error::{Error, Kind};

/// The server that books are written to.
#[derive(Debug)]
pub struct Target(Server);

impl Target {
    /// Wraps a server.
    pub fn new(server: Server) -> Self {
        Self(server)
    }

    /// The server, for what is true of both sides.
    pub fn server(&self) -> &Server {
        &self.0
    }

    /// Begins a READ ONLY transaction with one snapshot; with it the answers to `first`.
    pub async fn snapshot<Q: Queries>(
        &self,
        limit: impl Into<Limit>,
        first: Q,
    ) -> Result<(Tx<'_>, Q::Answers), Fault> {
        Tx::begin(&self.0, SNAPSHOT, limit.into(), first).await
    }

    /// The same for a guard that looks at the session's settings.
    pub async fn look<Q: Queries>(&self, limit: Limit, first: Q) -> Result<(Tx<'_>, Q::Answers), Fault> {
        Tx::open(&self.0, SNAPSHOT, limit).await?.tolerant().with(first).await
    }

    /// The same, but begins together with its first query.
    pub async fn open(&self, limit: impl Into<Limit>) -> Result<Tx<'_>, Fault> {
        Tx::open(&self.0, SNAPSHOT, limit.into()).await
    }

    /// Begins a writing transaction, whatever the role's defaults are; with it the answers to `first`.
    pub async fn write<Q: Queries>(
        &self,
        limit: impl Into<Limit>,
        first: Q,
    ) -> Result<(Tx<'_>, Q::Answers), Fault> {
        Tx::begin(&self.0, READ_WRITE, limit.into(), first).await
    }

    /// The same, for a transaction whose work is measured before it commits; see [`effects`](super::effects).
    pub async fn write_measured<Q: Queries>(
        &self,
        limit: impl Into<Limit>,
        first: Q,
    ) -> Result<(Tx<'_>, Q::Answers), Fault> {
        Tx::open(&self.0, READ_WRITE, limit.into()).await?.measured().with(first).await
    }

    /// Asks `queries` as a whole READ ONLY transaction with one snapshot, in one round trip.
    pub async fn read_once<Q: Queries>(
        &self,
        limit: impl Into<Limit>,
        queries: Q,
    ) -> Result<Q::Answers, Fault> {
        let (tx, rows) = self.snapshot(limit, &format!("{}; COMMIT", queries.sql())).await?;
        tx.ended();
        queries.read(rows)
    }

    /// Whether the book table is still the one that is expected.
    ///
    /// # Errors
    /// [`Origin::Guard`](super::fault::Origin::Guard) when it is not, and any other.
    pub async fn check_book(&self, limit: impl Into<Limit>) -> Result<(), Fault> {
        self.read_once(limit, &self.0.book_check()).await.map(drop)
    }

    /// Asks `queries` as a whole transaction, in one round trip.
    pub async fn once<Q: Queries>(&self, limit: impl Into<Limit>, queries: Q) -> Result<Q::Answers, Fault> {
        let (tx, rows) = self.write(limit, &format!("{}; COMMIT", queries.sql())).await?;
        tx.ended();
        queries.read(rows)
    }

    /// Asks `queries` in a measured transaction that is rolled back, in one round trip. No literal of them may depend on how the
    /// session is set.
    pub async fn try_and_roll_back<Q: Queries>(
        &self,
        limit: impl Into<Limit>,
        queries: Q,
    ) -> Result<Q::Answers, Fault> {
        let sql = format!("{}; ROLLBACK", queries.sql());
        let tx = Tx::open(&self.0, READ_WRITE, limit.into()).await?.measured();
        let (tx, rows) = tx.with_at_once(&sql).await?;
        tx.ended();
        queries.read(rows)
    }

    /// Ends what sessions were left alone, such as that of the lock, which would keep the next run waiting; `failed` is how
    /// the work ended. A server that is out of reach is not waited for once more. Failing to is no failure of what was done.
    pub async fn end_abandoned_sessions(&self, failed: Option<&Error>) {
        let is_unreachable =
            failed.is_some_and(|error| error.kind == Kind::Unreachable) && !self.0.is_heard();
        if is_unreachable || !self.0.has_abandoned() {
            return;
        }
        let ended = async {
            let mut opened = self.0.open().await?;
            self.0.end_abandoned(&mut opened.connection).await?;
            self.0.release(opened);
            Ok::<(), Fault>(())
        };
        if let Err(fault) = ended.await {
            tracing::info!(%fault, "sessions that were left alone could not be ended");
        }
    }

    /// Runs `migrate` in one transaction of a connection of its own, because the migrations are written for SeaORM's.
    pub async fn migrate<T>(
        &self,
        migrate: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, DbErr>,
    ) -> Result<T, Fault> {
        let name = self.0.next_name();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.0.connect_timeout())
            .connect_lazy_with(self.0.options(&name));
        let settings = of_migration(self.0.endpoint(), &name, self.0.version());
        let (watch, watched) = (Watch::default(), name.clone());
        let working = self.0.working(name);
        let connection: DatabaseConnection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
        let migrating = Box::pin(migrate_on(&connection, &settings, migrate));
        let migrating = watch.over(&self.0, &watched, MIGRATION_LOCK, migrating);
        let migrating = while_answering(&self.0, self.0.connect_timeout(), migrating);
        let migrated = tokio::time::timeout(MIGRATION, migrating).await;
        let migrated =
            migrated.map_err(|_| Fault::deadline(MIGRATION)).and_then(|done| done.map_err(Fault::from));
        let done = migrated.flatten().map_err(|fault| watch.explain(fault))?;
        working.ended();
        // A connection that does not answer is dropped instead.
        let closed = tokio::time::timeout(self.0.connect_timeout(), connection.close()).await;
        tracing::debug!(answered = closed.is_ok(), "closed the migration's connection");
        Ok(done)
    }
}

const READ_WRITE: &str = "ISOLATION LEVEL READ COMMITTED READ WRITE";

/// For all of a migration; it makes a few empty tables.
const MIGRATION: Duration = Duration::from_mins(2);

/// The longest that one of its statements waits for a lock.
const MIGRATION_LOCK: Duration = Duration::from_secs(30);

/// One transaction, with `settings`. SeaORM names its prepared statements as every client of its driver does, also those
/// that a pooler lent this session to before; so what is prepared goes before and after.
async fn migrate_on<T>(
    connection: &DatabaseConnection,
    settings: &str,
    migrate: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T, DbErr>,
) -> Result<T, Fault> {
    let transaction = connection.begin().await?;
    transaction.execute_unprepared(&format!("{settings}; DEALLOCATE ALL")).await?;
    let migrated = migrate(&transaction).await;
    let ended = match &migrated {
        Ok(_) => {
            // What is prepared would stay in a pooler's session.
            transaction.execute_unprepared("DEALLOCATE ALL").await?;
            transaction.commit().await
        }
        Err(_) => transaction.rollback().await,
    };
    let done = migrated?;
    ended?;
    Ok(done)
}
