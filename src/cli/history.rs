//! `history`: past runs, newest first.

use dewey_sync_entity::ledger::run;
use dewey_sync_migration::LedgerState;
use sea_orm::{EntityTrait, QueryOrder, QuerySelect};
use serde_json::json;

use super::end::{Details, Ended, Outcome};
use super::output::{grouped, print, print_all, print_json};
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Target, Tx};
use crate::preflight::reach;
use crate::preflight::survey::made_by_newer;
use crate::printable::{cut, padded};

/// Older runs are shown by their number.
const RUNS_SHOWN: u64 = 20;

/// Longer than the name of a host and a database.
const DETAIL_COLUMNS: usize = 160;

/// Longer than any error of ours.
const ERROR_COLUMNS: usize = 2000;

pub(super) async fn run(session: &Session, run_id: Option<i64>) -> Result<Ended> {
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let work = async {
        reach(target.server()).await?;
        match run_id {
            None => runs(&target).await,
            Some(run_id) => one(&target, run_id).await.map(|run| vec![run]),
        }
    };
    let found = session.unless_interrupted(work).await;
    target.server().close().await;
    let found = found?;
    session.screen.clear();
    for run in &found {
        if session.screen.is_json() {
            print_json(&json(run));
        } else if run_id.is_some() {
            print_all(details(run));
        } else {
            print(&line(run));
        }
    }
    Ok(Ended::new(Outcome::Listed, Details::Runs { runs: found.len() }))
}

async fn runs(target: &Target) -> Result<Vec<run::Model>> {
    let tx = ledger(target).await?;
    let newest = run::Entity::find().order_by_desc(run::Column::RunId).limit(RUNS_SHOWN).all(&tx).await;
    match newest.map_err(Fault::from) {
        Ok(runs) => {
            tx.rollback().await;
            Ok(runs)
        }
        // No ledger, no runs.
        Err(fault) if fault.sqlstate() == Some("42P01") => Ok(Vec::new()),
        Err(fault) => Err(reading(fault)),
    }
}

/// A snapshot of the target, whose ledger no newer version made.
async fn ledger(target: &Target) -> Result<Tx<'_>> {
    let (tx, _) = target.snapshot(target.server().short_limit(), "").await.map_err(reading)?;
    match dewey_sync_migration::ledger_state(&tx).await.map_err(|error| reading(error.into()))? {
        LedgerState::Newer(migration) => Err(made_by_newer(&migration)),
        LedgerState::Absent | LedgerState::Older | LedgerState::Current => Ok(tx),
    }
}

async fn one(target: &Target, run_id: i64) -> Result<run::Model> {
    let tx = ledger(target).await?;
    let found = run::Entity::find_by_id(run_id).one(&tx).await.map_err(|error| reading(error.into()))?;
    tx.rollback().await;
    found.ok_or_else(|| {
        Error::new(Kind::Usage, format!("could not find run {run_id}"))
            .because("the ledger has no run of that number")
            .hint("`dewey-sync history` lists the runs")
    })
}

fn reading(fault: Fault) -> Error {
    Error::new(fault.kind_at_start(), "could not read the ledger").because(fault)
}

fn line(run: &run::Model) -> String {
    let took = run.finished_at.map_or_else(
        || "unfinished".to_owned(),
        |finished| format!("{:.1} s", (finished - run.started_at).as_seconds_f64()),
    );
    // Whatever wrote the ledger.
    let column = |text: &str, columns| padded(&cut(text, columns), columns);
    format!(
        "{:>5}  {}  {}  {}  {:>9} books changed  {took}",
        run.run_id,
        run.started_at.format("%Y-%m-%d %H:%M:%S UTC"),
        column(&run.state, 13),
        column(run.strategy.as_deref().unwrap_or(&run.action), 8),
        grouped((run.inserted + run.updated + run.deleted).unsigned_abs()),
    )
}

fn details(run: &run::Model) -> Vec<String> {
    let serde_json::Value::Object(fields) = json(run) else { return Vec::new() };
    let shown = fields.iter().filter(|(name, value)| *name != "event" && !value.is_null());
    let lines = shown.map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name:18}  {}", cut(&text, if name == "error" { ERROR_COLUMNS } else { DETAIL_COLUMNS }))
    });
    lines.collect()
}

fn json(run: &run::Model) -> serde_json::Value {
    json!({
        "event": "run",
        "run_id": run.run_id,
        "action": run.action,
        "state": run.state,
        "started_at": run.started_at.to_rfc3339(),
        "finished_at": run.finished_at.map(|at| at.to_rfc3339()),
        "os_user": run.os_user,
        "host": run.host,
        "tool_version": run.tool_version,
        "source": run.source,
        "target": run.target,
        "strategy": run.strategy,
        "mode": run.mode,
        "engine": run.engine,
        "owner_id": run.owner_id,
        "exported": run.exported,
        "inserted": run.inserted,
        "updated": run.updated,
        "deleted": run.deleted,
        "unchanged": run.unchanged,
        "skipped": run.skipped,
        "failed": run.failed,
        "retries": run.retries,
        "fingerprint_rows": run.fingerprint_rows,
        "fingerprint_digest": run.fingerprint_digest,
        "snapshot_at": run.snapshot_at.map(|at| at.to_rfc3339()),
        "apply_ms": run.apply_ms,
        "error": run.error,
    })
}
