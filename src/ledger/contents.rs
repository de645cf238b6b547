//! What a ledger holds that nothing brings back once it is dropped.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde::{Deserialize, Serialize};

use super::run::compatible;
use super::state::is_resumable;

/// A ledger in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Runs of the audit log.
    pub runs: u64,
    /// The run that `--resume` would complete.
    pub unfinished: Option<i64>,
    /// Whether it marks a development database.
    pub marked: bool,
    /// The sync that `undo` could take back.
    pub undo: Option<Undoable>,
}

/// A sync whose pre-images are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoable {
    /// Its run.
    pub run_id: i64,
    /// Books that it added.
    pub added: u64,
    /// Books that it changed.
    pub changed: u64,
    /// Books that it deleted.
    pub deleted: u64,
    /// Rows of other tables that were deleted or changed along.
    pub dependents: Vec<Kept>,
}

/// Rows that were kept of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// As a quoted identifier with its schema.
    pub table: String,
    /// How many.
    pub rows: u64,
}

/// Reads it from the tables that are there: an older ledger has fewer.
pub async fn read(db: &impl ConnectionTrait) -> Result<Contents, DbErr> {
    let tables = "SELECT to_regclass('dewey_sync.run') IS NOT NULL AS run, \
         to_regclass('dewey_sync.identity') IS NOT NULL AS identity, \
         to_regclass('dewey_sync.generation') IS NOT NULL AND to_regclass('dewey_sync.replaced') IS NOT NULL AS replaced";
    let tables = one(db, tables).await?;
    let has = |table| tables.try_get::<bool>("", table);
    let [runs, unfinished] = if has("run")? {
        [
            "(SELECT count(*) FROM dewey_sync.run)".to_owned(),
            format!(
                "(SELECT max(run_id) FROM dewey_sync.run WHERE action = 'sync' AND {} AND tool_version LIKE '{}.%')",
                is_resumable(),
                compatible(env!("CARGO_PKG_VERSION"))
            ),
        ]
    } else {
        ["0".to_owned(), "NULL".to_owned()]
    };
    let marked = if has("identity")? { "EXISTS (SELECT FROM dewey_sync.identity)" } else { "false" };
    let undo = if has("replaced")? { UNDO } else { "NULL" };
    let sql = format!(
        "SELECT json_build_object('runs', {runs}, 'unfinished', {unfinished}, 'marked', {marked}, 'undo', {undo})::text AS contents"
    );
    let contents: String = one(db, &sql).await?.try_get("", "contents")?;
    serde_json::from_str(&contents).map_err(|error| DbErr::Json(error.to_string()))
}

/// Of a first fill no list of the added books is kept.
const UNDO: &str = "(SELECT json_build_object('run_id', run_id,
    'added', CASE rows_before WHEN 0 THEN rows_after ELSE (SELECT count(*) FROM dewey_sync.replaced kept WHERE kept.run_id = last.run_id AND action = 'inserted') END,
    'changed', (SELECT count(*) FROM dewey_sync.replaced kept WHERE kept.run_id = last.run_id AND action = 'updated' AND place = 0),
    'deleted', (SELECT count(*) FROM dewey_sync.replaced kept WHERE kept.run_id = last.run_id AND action = 'deleted' AND place = 0),
    'dependents', coalesce((SELECT json_agg(json_build_object('table', table_name, 'rows', rows)) FROM (
        SELECT table_name, count(*) AS rows FROM dewey_sync.replaced kept WHERE kept.run_id = last.run_id AND place > 0 GROUP BY 1 ORDER BY 1) other), '[]'))
  FROM (SELECT * FROM dewey_sync.generation ORDER BY run_id DESC LIMIT 1) last)";

async fn one(db: &impl ConnectionTrait, sql: &str) -> Result<sea_orm::QueryResult, DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("a row".to_owned()))
}
