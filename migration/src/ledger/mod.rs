//! The ledger: our tables in the schema `dewey_sync`, and their history.

mod application_object;
mod checkpoint;
mod generation;
mod identity;
mod measured;
mod replaced;
mod run;
mod run_session;
mod stage;
mod stage_checkpoint;
mod stage_optional;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseTransaction;
use sea_orm_migration::{MigrationName, MigratorTraitSelf};

use crate::{application, sql};

/// The name of the last migration that this tool knows.
pub const LEDGER_VERSION: &str = TABLES[TABLES.len() - 1].version;

/// The table that names the applied migrations in its column `version`.
pub const LEDGER_HISTORY: &str = "dewey_sync.ledger_migration";

/// In the order in which they are made.
const TABLES: &[Table] = &[
    identity::TABLE,
    application_object::TABLE,
    run::TABLE,
    checkpoint::TABLE,
    stage::TABLE,
    stage_checkpoint::TABLE,
    generation::TABLE,
    replaced::TABLE,
    run_session::TABLE,
    stage_optional::TABLE,
    measured::TABLE,
];

/// How the ledger of a database compares with the one that this tool makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerState {
    /// There is none.
    Absent,
    /// Some migrations are pending.
    Older,
    /// Every migration is applied.
    Current,
    /// A newer tool applied a migration of this name, unknown to us.
    Newer(String),
}

/// One migration of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerMigration {
    /// Its name in the history table.
    pub name: String,
    /// Applied, or else pending.
    pub applied: bool,
    /// Whether this tool knows it, and no newer one only.
    pub known: bool,
}

pub(crate) async fn up(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    // IF NOT EXISTS would want the right to create schemas also where the schema is there.
    if !schema_exists(tx).await? {
        tx.execute_unprepared("create schema dewey_sync").await?;
    }
    Ledger.up(tx, None).await
}

pub(crate) fn statements(version: Option<&str>) -> String {
    let schema = version.is_none().then_some("create schema if not exists dewey_sync");
    let pending = TABLES.iter().filter(|table| version.is_none_or(|version| table.version > version));
    schema.into_iter().chain(pending.map(|table| table.create)).collect::<Vec<_>>().join(";\n")
}

pub(crate) async fn down(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if state(tx).await? == LedgerState::Absent {
        return Ok(());
    }
    Ledger.down(tx, None).await?;
    // `sea-orm-migration` would drop its history with CASCADE.
    tx.execute_unprepared("drop table dewey_sync.ledger_migration").await?;
    if schema_is_ours_and_empty(tx).await? {
        tx.execute_unprepared("drop schema dewey_sync").await?;
    }
    Ok(())
}

pub(crate) async fn state<C: ConnectionTrait>(db: &C) -> Result<LedgerState, DbErr> {
    let Some(applied) = applied(db).await? else { return Ok(LedgerState::Absent) };
    if let Some(unknown) = applied.iter().find(|version| !is_known(version)) {
        return Ok(LedgerState::Newer(unknown.clone()));
    }
    let current = TABLES.iter().all(|table| applied.iter().any(|version| version == table.version));
    Ok(if current { LedgerState::Current } else { LedgerState::Older })
}

pub(crate) async fn migrations<C: ConnectionTrait>(db: &C) -> Result<Vec<LedgerMigration>, DbErr> {
    let applied = applied(db).await?.unwrap_or_default();
    let known = TABLES.iter().map(|table| LedgerMigration {
        name: table.version.to_owned(),
        applied: applied.iter().any(|version| version == table.version),
        known: true,
    });
    let unknown = applied.iter().filter(|version| !is_known(version));
    let unknown =
        unknown.map(|version| LedgerMigration { name: version.clone(), applied: true, known: false });
    Ok(known.chain(unknown).collect())
}

/// A newer ledger may give our columns another meaning.
pub(crate) async fn refuse_newer<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    match state(db).await? {
        LedgerState::Newer(version) => Err(DbErr::Migration(format!(
            "a newer dewey-sync made this ledger: it has the migration `{version}`, the last one known here is `{LEDGER_VERSION}`"
        ))),
        _ => Ok(()),
    }
}

/// The tables that `down` drops, without their schema.
pub(crate) fn tables() -> impl Iterator<Item = &'static str> {
    let dropped = TABLES.iter().filter_map(|table| table.drop.strip_prefix("drop table dewey_sync."));
    dropped.chain(["ledger_migration", "application_migration"])
}

/// Whether a table of the ledger is there; `name` without its schema.
pub(crate) async fn has_table<C: ConnectionTrait>(db: &C, name: &str) -> Result<bool, DbErr> {
    let text = "select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'dewey_sync' and c.relname = $1 and c.relkind = 'r'";
    Ok(db.query_one_raw(sql(text, [name.into()])).await?.is_some())
}

/// One migration: a table of the ledger, or a change to one.
#[derive(Clone, Copy)]
struct Table {
    version: &'static str,
    create: &'static str,
    drop: &'static str,
}

impl MigrationName for Table {
    fn name(&self) -> &str {
        self.version
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Table {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.create).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.drop).await.map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        application::WITHOUT_SAVEPOINT
    }
}

struct Ledger;

impl MigratorTraitSelf for Ledger {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        TABLES.iter().map(|table| Box::new(*table) as Box<dyn MigrationTrait>).collect()
    }

    fn migration_table_name(&self) -> DynIden {
        "ledger_migration".into_iden()
    }
}

fn is_known(version: &str) -> bool {
    TABLES.iter().any(|table| table.version == version)
}

/// The applied migrations by name; `None` where there is no ledger.
async fn applied<C: ConnectionTrait>(db: &C) -> Result<Option<Vec<String>>, DbErr> {
    if !has_table(db, "ledger_migration").await? {
        return Ok(None);
    }
    let text = "select version from dewey_sync.ledger_migration order by version collate \"C\"";
    let rows = db.query_all_raw(sql(text, [])).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect::<Result<_, _>>().map(Some)
}

async fn schema_exists(tx: &DatabaseTransaction) -> Result<bool, DbErr> {
    let text = "select from pg_catalog.pg_namespace where nspname = 'dewey_sync'";
    Ok(tx.query_one_raw(sql(text, [])).await?.is_some())
}

/// Looks where DROP SCHEMA itself looks; a schema of another role was prepared for us and stays.
async fn schema_is_ours_and_empty(tx: &DatabaseTransaction) -> Result<bool, DbErr> {
    let text = "select from pg_catalog.pg_namespace n
                where n.nspname = 'dewey_sync' and pg_has_role(n.nspowner, 'USAGE')
                  and not exists (select from pg_catalog.pg_depend d
                                  where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = n.oid
                                    and d.deptype = 'n')";
    Ok(tx.query_one_raw(sql(text, [])).await?.is_some())
}
