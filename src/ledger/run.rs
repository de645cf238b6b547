//! One row for every run that passed its guards: the audit log, and the claim of the strategies that write in one
//! transaction.

use std::time::Duration;

use dewey_sync_entity::ledger::run;
use sea_orm::sea_query::PostgresQueryBuilder;
use sea_orm::{EntityTrait, NotSet, QueryTrait, Set};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::book::TargetUserId;
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::{Fault, Identity, Target, literal};

/// For statements on single rows of the ledger.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of a run when it begins.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Who runs it and where: the operating system's user and host.
    pub os_user: String,
    /// The name of this machine.
    pub host: String,
    /// The source, without its secrets.
    pub source: String,
    /// The target, without its secrets.
    pub target: String,
    /// Which database the source is.
    pub source_identity: Identity,
    /// Which database the target is.
    pub target_identity: Identity,
    /// The strategy's name.
    pub strategy: &'static str,
    /// The mode's name.
    pub mode: &'static str,
    /// The engine's name.
    pub engine: &'static str,
    /// Who owns the books afterwards.
    pub owner: TargetUserId,
}

/// Rows by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Read from the source.
    pub exported: u64,
    /// Written to the target as new rows.
    pub inserted: u64,
    /// Changed in place.
    pub updated: u64,
    /// Removed from the target.
    pub deleted: u64,
    /// Left as they were.
    pub unchanged: u64,
    /// Exported, but not to be found after the insert.
    pub skipped: u64,
    /// In batches that failed for good.
    pub failed: u64,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// The outcome's name.
    pub state: &'static str,
    /// Rows.
    pub counts: Counts,
    /// How often something was tried again.
    pub retries: u64,
    /// Of both sides, when they were found equal.
    pub fingerprint: Option<Fingerprint>,
    /// The source's time of the snapshot that was verified, RFC 3339.
    pub snapshot_at: Option<String>,
    /// What failed and why.
    pub error: Option<String>,
}

/// Writes the row of a run that begins; its id.
pub async fn begin(target: &Target, new: &NewRun) -> Result<i64, Fault> {
    let model = run::ActiveModel {
        run_id: NotSet,
        action: Set("sync".into()),
        state: Set("running".into()),
        os_user: Set(new.os_user.clone()),
        host: Set(new.host.clone()),
        tool_version: Set(env!("CARGO_PKG_VERSION").into()),
        source: Set(Some(new.source.clone())),
        target: Set(new.target.clone()),
        source_identity: Set(Some(new.source_identity.to_string())),
        target_identity: Set(new.target_identity.to_string()),
        strategy: Set(Some(new.strategy.into())),
        mode: Set(Some(new.mode.into())),
        engine: Set(Some(new.engine.into())),
        owner_id: Set(Some(new.owner.0)),
        ..Default::default()
    };
    let mut insert = run::Entity::insert(model).into_query();
    insert.returning_col(run::Column::RunId);
    let rows = target.once(STATEMENT_TIMEOUT, &insert.to_string(PostgresQueryBuilder)).await?;
    rows.first().map(|row| row.try_get(0)).transpose()?.ok_or_else(|| Fault::client("no run was begun"))
}

/// Keeps the frozen plan of a run, as JSON.
pub async fn record_plan(target: &Target, run_id: i64, plan: &impl Serialize) -> Result<(), Fault> {
    let plan = serde_json::to_string(plan).map_err(|error| Fault::client(error.to_string()))?;
    let sql = format!("UPDATE dewey_sync.run SET plan = {}::jsonb WHERE run_id = {run_id}", literal(&plan));
    target.once(STATEMENT_TIMEOUT, &sql).await.map(drop)
}

/// A statement that moves the run from `from` to its end; it changes no row when the run is not in that state.
pub fn end_sql(run_id: i64, from: &str, end: &RunEnd) -> String {
    let Counts { exported, inserted, updated, deleted, unchanged, skipped, failed } = end.counts;
    let optional = |text: Option<String>| text.map_or_else(|| "NULL".into(), |text| literal(&text));
    let rows = end.fingerprint.map_or_else(|| "NULL".into(), |print| print.rows.to_string());
    format!(
        "UPDATE dewey_sync.run SET state = {state}, finished_at = clock_timestamp(), exported = {exported}, \
         inserted = {inserted}, updated = {updated}, deleted = {deleted}, unchanged = {unchanged}, \
         skipped = {skipped}, failed = {failed}, retries = {retries}, fingerprint_rows = {rows}, \
         fingerprint_digest = {digest}, snapshot_at = {snapshot_at}::timestamptz, error = {error} \
         WHERE run_id = {run_id} AND state = {from}",
        state = literal(end.state),
        retries = end.retries,
        digest = optional(end.fingerprint.map(|print| print.digest_hex())),
        snapshot_at = optional(end.snapshot_at.clone()),
        error = optional(end.error.clone()),
        from = literal(from),
    )
}

/// Writes how a run ended, in a transaction of its own.
pub async fn record_end(target: &Target, run_id: i64, end: &RunEnd) -> Result<(), Fault> {
    target.once(STATEMENT_TIMEOUT, &end_sql(run_id, "running", end)).await.map(drop)
}

/// The first statement of a transaction that does the whole run: it waits for another one that does the same.
pub fn claim_sql(run_id: i64) -> String {
    format!("SELECT state FROM dewey_sync.run WHERE run_id = {run_id} FOR UPDATE")
}

/// Finds the answer to [`claim_sql`] among the rows of a query that began with it.
pub fn claim_whole(rows: &[PgRow]) -> Claim {
    let state = rows.iter().find_map(|row| row.try_get::<String, _>("state").ok());
    match state.as_deref() {
        Some("running") => Claim::Ours,
        Some("verified") => Claim::AlreadyDone,
        _ => Claim::Lost,
    }
}

/// What a claim found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The work is ours to do.
    Ours,
    /// It is committed, though its answer may have been lost.
    AlreadyDone,
    /// The run was ended by somebody else.
    Lost,
}
