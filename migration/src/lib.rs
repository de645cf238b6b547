//! Makes what `dewey-sync` needs in the target: its ledger, and the application's tables where it has made none.
//!
//! Two migrators of `sea-orm-migration`, each with its own history table. Invariants:
//! - every object of ours, both history tables included, lives in the schema `dewey_sync`, and none of them depends
//!   on an object of the application, so `DROP SCHEMA public CASCADE` leaves the ledger whole;
//! - an object of the application that somebody else made is adopted: never altered, never dropped, and nothing is made
//!   beside it;
//! - nothing is dropped with CASCADE.
//!
//! [`ledger_up`], [`up`] and [`down`] work inside a transaction of the caller, which must be READ COMMITTED (a
//! second process waits for the first and must then see what it did) and must be rolled back on an error. They
//! restore its `search_path`.

mod application;
mod ledger;
mod object;
mod removal;

use sea_orm_migration::prelude::DbErr;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

pub use crate::ledger::{LEDGER_HISTORY, LEDGER_VERSION, LedgerMigration, LedgerState};
pub use crate::object::{Kind, Object, State};
pub use crate::removal::{Dependent, Doomed, Removal};

/// Serialises the processes that change the schema of one database.
const LOCK: i64 = i64::from_be_bytes(*b"dewey-mg");

/// What [`status`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The ledger's migrations in their order, then those that only a newer tool knows.
    pub ledger: Vec<LedgerMigration>,
    /// The application's objects, in the order in which [`up`] makes them.
    pub objects: Vec<Object>,
}

/// Makes the schema `dewey_sync` and brings the ledger's tables up to date; the application is not looked at.
///
/// # Errors
/// [`DbErr::Migration`] when a newer tool made the ledger.
pub async fn ledger_up(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    let search_path = enter(tx).await?;
    ledger::up(tx).await?;
    search_in(tx, &search_path).await
}

/// Brings the ledger up to date, then makes the application's objects in an `application_schema` that has none of them
/// but our own; what is there is adopted.
///
/// # Errors
/// [`DbErr::Migration`] when a newer tool made the ledger. The schema itself is not made: the server answers 3F000.
pub async fn up(tx: &DatabaseTransaction, application_schema: &str) -> Result<Vec<Object>, DbErr> {
    let search_path = enter(tx).await?;
    ledger::up(tx).await?;
    let objects = application::up(tx, application_schema).await?;
    search_in(tx, &search_path).await?;
    Ok(objects)
}

/// Drops what [`up`] made and the ledger; the schema `dewey_sync` too, unless it holds something that is not ours.
///
/// An object that was adopted, or made again by somebody else since, stays and is reported unchanged.
///
/// # Errors
/// The server's 2BP01 when something depends on what would be dropped; [`DbErr::Migration`] when a newer tool made
/// the ledger.
pub async fn down(tx: &DatabaseTransaction, application_schema: &str) -> Result<Vec<Object>, DbErr> {
    let search_path = enter(tx).await?;
    let objects = application::down(tx, application_schema).await?;
    ledger::down(tx).await?;
    search_in(tx, &search_path).await?;
    Ok(objects)
}

/// The tables of the ledger, its histories included, without their schema.
pub fn ledger_tables() -> impl Iterator<Item = &'static str> {
    ledger::tables()
}

/// What [`down`] would drop; `None` where nothing of ours is. Reads only.
///
/// # Errors
/// [`DbErr::Migration`] when a newer tool made the ledger.
pub async fn removal<C: ConnectionTrait>(db: &C, application_schema: &str) -> Result<Option<Removal>, DbErr> {
    ledger::refuse_newer(db).await?;
    removal::removal(db, application_schema).await
}

/// What is applied, made, adopted and absent; reads only, and the ledger need not exist.
pub async fn status<C: ConnectionTrait>(db: &C, application_schema: &str) -> Result<Status, DbErr> {
    Ok(Status {
        ledger: ledger::migrations(db).await?,
        objects: application::objects(db, application_schema).await?,
    })
}

/// Whether the ledger needs [`ledger_up`], or a newer tool; two short queries, and it reads only.
pub async fn ledger_state<C: ConnectionTrait>(db: &C) -> Result<LedgerState, DbErr> {
    ledger::state(db).await
}

/// The statements of [`ledger_up`] for a ledger whose newest migration is `version`, or for none; without its history.
pub fn ledger_statements(version: Option<&str>) -> String {
    ledger::statements(version)
}

/// Waits for other migrating processes, refuses a newer ledger and points the bare names of `sea-orm-migration`'s
/// history tables to our schema. Answers the `search_path` to go back to.
async fn enter(tx: &DatabaseTransaction) -> Result<String, DbErr> {
    let row = tx
        .query_one_raw(sql(
            "select current_setting('search_path') as search_path from pg_advisory_xact_lock($1)",
            [LOCK.into()],
        ))
        .await?
        .ok_or_else(|| DbErr::RecordNotFound("search_path".to_owned()))?;
    ledger::refuse_newer(tx).await?;
    search_in(tx, "dewey_sync, pg_temp").await?;
    row.try_get("", "search_path")
}

async fn search_in(tx: &DatabaseTransaction, path: &str) -> Result<(), DbErr> {
    tx.execute_raw(sql("select set_config('search_path', $1, true)", [path.into()])).await?;
    Ok(())
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn sql(text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, text, values)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quote_in_an_identifier_is_doubled() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
    }
}
