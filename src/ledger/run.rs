//! One row for every run that passed its guards: the audit log, and the claim of the strategies that write in one
//! transaction.

use serde::Serialize;
use sqlx::Row;

use super::state::{RunState, is_resumable};
use crate::book::TargetUserId;
use crate::error::{Error, Kind};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::query::Query;
use crate::postgres::{Fault, Identity, Target, literal};

/// A run and the epoch in which it may write. Whoever takes over raises the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The row of the ledger.
    pub run_id: i64,
    /// Unlike that of every other run, and of the same run before it was resumed.
    pub epoch: i64,
}

/// Versions that understand each other's plans: the same number up to the first that is not 0.
pub fn compatible(version: &str) -> String {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if major == "0" { format!("0.{minor}") } else { major.to_owned() }
}

/// What is known of a run when it begins.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Who runs it and where: the operating system's user and host.
    pub os_user: String,
    /// The name of this machine.
    pub host: String,
    /// The name that the sessions of this process have in common.
    pub session: String,
    /// `sync` or `undo`.
    pub action: &'static str,
    /// The source, without its secrets.
    pub source: Option<String>,
    /// The target, without its secrets.
    pub target: String,
    /// Which database the source is.
    pub source_identity: Option<Identity>,
    /// Which database the target is.
    pub target_identity: Identity,
    /// The strategy's, the mode's and the engine's name.
    pub how: Option<[&'static str; 3]>,
    /// Who owns the books afterwards.
    pub owner: Option<TargetUserId>,
    /// The frozen plan, as JSON.
    pub plan: Option<String>,
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
    /// The outcome.
    pub state: RunState,
    /// Rows.
    pub counts: Counts,
    /// How often something was tried again.
    pub retries: u64,
    /// Of both sides, when they were found equal.
    pub fingerprint: Option<Fingerprint>,
    /// The source's time of the snapshot that was verified, RFC 3339.
    pub snapshot_at: Option<String>,
    /// How long the applying transaction held its locks.
    pub apply_ms: Option<u64>,
    /// What failed and why.
    pub error: Option<String>,
}

impl RunEnd {
    /// Without what only some ends have.
    pub fn new(state: RunState, counts: Counts, retries: u64) -> Self {
        Self { state, counts, retries, fingerprint: None, snapshot_at: None, apply_ms: None, error: None }
    }
}

/// Takes over: ends every unfinished run, empties the stage and writes the row of a new run, whose epoch is higher than
/// that of any other. Doing it again after a lost answer finds the row that is there.
pub async fn begin(target: &Target, new: &NewRun) -> Result<Lease, Fault> {
    let text = |text: Option<&str>| text.map_or_else(|| "NULL".into(), literal);
    let session = literal(&new.session);
    let [strategy, mode, engine] = [0, 1, 2].map(|which| text(new.how.map(|how| how[which])));
    let sql = format!(
        "{end_sessions}; {LOCK}; {end_others}; TRUNCATE dewey_sync.stage, dewey_sync.stage_checkpoint;
         INSERT INTO dewey_sync.run (action, state, os_user, host, tool_version, source, target, source_identity, \
           target_identity, strategy, mode, engine, owner_id, plan, session, epoch)
         SELECT {action}, 'running', {os_user}, {host}, '{version}', {source}, {at}, {source_identity}, \
           {target_identity}, {strategy}, {mode}, {engine}, {owner}, {plan}::jsonb, {session}, {NEXT_EPOCH}
         WHERE NOT EXISTS (SELECT FROM dewey_sync.run WHERE session = {session})",
        end_sessions = end_sessions_sql(&new.session),
        end_others = end_unfinished(&format!("session IS DISTINCT FROM {session}")),
        action = literal(new.action),
        os_user = literal(&new.os_user),
        host = literal(&new.host),
        version = env!("CARGO_PKG_VERSION"),
        source = text(new.source.as_deref()),
        at = literal(&new.target),
        source_identity = text(new.source_identity.as_ref().map(ToString::to_string).as_deref()),
        target_identity = literal(&new.target_identity.to_string()),
        owner = new.owner.map_or_else(|| "NULL".into(), |owner| owner.0.to_string()),
        plan = text(new.plan.as_deref()),
    );
    let begun = lease(&format!("session = {session}"));
    let ((), begun) = target.once(target.server().short_limit(), (Query::silent(sql), begun)).await?;
    begun.ok_or_else(|| Fault::client("no run was begun"))
}

/// Takes over and makes run `run_id` the current one again; `None` when it cannot be resumed any more.
/// `plan` is for one that had none yet.
pub async fn resume(
    target: &Target,
    run_id: i64,
    session: &str,
    plan: Option<&str>,
) -> Result<Option<Lease>, Fault> {
    let plan = plan.map_or_else(|| "NULL".into(), literal);
    let of_session = literal(session);
    let sql = format!(
        "{end_sessions}; {LOCK}; {end_others};
         UPDATE dewey_sync.run SET state = 'running', epoch = {NEXT_EPOCH}, session = {of_session}, \
           finished_at = NULL, error = NULL, plan = coalesce(plan, {plan}::jsonb) WHERE run_id = {run_id} AND {is_resumable}",
        end_sessions = end_sessions_sql(session),
        is_resumable = is_resumable(),
        end_others = end_unfinished(&format!("run_id <> {run_id}")),
    );
    let resumed = lease(&format!("run_id = {run_id} AND session = {of_session}"));
    Ok(target.once(target.server().short_limit(), (Query::silent(sql), resumed)).await?.1)
}

/// Waits for every transaction that has claimed in an older epoch. An UPDATE alone would starve behind the shared row
/// locks of the claims, which overlap.
const LOCK: &str = "LOCK TABLE dewey_sync.run IN EXCLUSIVE MODE";

const NEXT_EPOCH: &str = "(SELECT coalesce(max(epoch), 0) + 1 FROM dewey_sync.run)";

/// Statements that take over for a change of the schema: no unfinished run goes on after it.
pub fn end_all() -> String {
    format!("{LOCK}; {}", end_unfinished("true"))
}

/// Ends what sessions an unfinished run of another process still has: whoever takes over has the lock, so that process has
/// lost it, and may be stopped in the middle of a transaction. Materialized, or every session could be ended before it is
/// asked whose it is.
pub fn end_sessions_sql(session: &str) -> String {
    let session = literal(session);
    format!(
        "SELECT set_config('dewey_sync.lost', coalesce(json_agg(session), '[]')::text, true)
           FROM dewey_sync.run WHERE {is_resumable} AND session <> {session};
         {AS_LOGIN};
         WITH lost AS MATERIALIZED (SELECT a.pid FROM json_array_elements_text(current_setting('dewey_sync.lost')::json)
             AS r (session) JOIN pg_stat_activity a ON starts_with(a.application_name, r.session || '.')
           WHERE a.usename = session_user AND a.datname = current_database())
         SELECT pg_terminate_backend(pid) FROM lost; {AS_BEFORE}",
        is_resumable = is_resumable(),
    )
}

/// Sessions may be ended by the role that logged in, for which another one may act by a setting of its.
const AS_LOGIN: &str =
    "SELECT set_config('dewey_sync.role', current_setting('role'), true), set_config('role', 'none', true)";

const AS_BEFORE: &str = "SELECT set_config('role', current_setting('dewey_sync.role'), true)";

fn end_unfinished(which: &str) -> String {
    format!(
        "UPDATE dewey_sync.run SET state = 'superseded', finished_at = clock_timestamp() \
         WHERE {} AND {which}",
        is_resumable()
    )
}

fn lease(of_run: &str) -> Query<'static, Option<Lease>> {
    Query::new(format!("SELECT run_id, epoch FROM dewey_sync.run WHERE {of_run}"), |rows| {
        rows.first().map(|row| Ok(Lease { run_id: row.try_get(0)?, epoch: row.try_get(1)? })).transpose()
    })
}

/// The first statement of a transaction that may be done twice without harm, but not by a run that was ended: a row when
/// `lease` may write, and nobody takes over before the transaction ends.
pub fn fence_sql(Lease { run_id, epoch }: Lease) -> String {
    format!(
        "SELECT epoch FROM dewey_sync.run WHERE run_id = {run_id} AND epoch = {epoch} AND state = 'running' FOR SHARE"
    )
}

/// A query for whether `lease` is still the run that may write, or has done its work.
pub fn is_current(Lease { run_id, epoch }: Lease) -> String {
    format!("SELECT epoch = {epoch} AND state <> 'superseded' FROM dewey_sync.run WHERE run_id = {run_id}")
}

/// The error of a run that was ended by another one.
pub fn taken_over(lease: Lease) -> Error {
    Error::new(Kind::Busy, "another run took over the target")
        .because(format!("run {} may not write any more", lease.run_id))
        .hint("`dewey-sync history` lists the runs")
}

/// A statement that moves the run from `from` to its end; it changes no row when the run is not in that state.
pub fn end_sql(Lease { run_id, epoch }: Lease, from: RunState, end: &RunEnd) -> String {
    let Counts { exported, inserted, updated, deleted, unchanged, skipped, failed } = end.counts;
    let optional = |text: Option<String>| text.map_or_else(|| "NULL".into(), |text| literal(&text));
    let rows = end.fingerprint.map_or_else(|| "NULL".into(), |print| print.rows.to_string());
    format!(
        "UPDATE dewey_sync.run SET state = {state}, finished_at = clock_timestamp(), exported = {exported}, \
         inserted = {inserted}, updated = {updated}, deleted = {deleted}, unchanged = {unchanged}, \
         skipped = {skipped}, failed = {failed}, retries = {retries}, fingerprint_rows = {rows}, \
         fingerprint_digest = {digest}, snapshot_at = {snapshot_at}::timestamptz, apply_ms = {apply_ms}, error = {error} \
         WHERE run_id = {run_id} AND epoch = {epoch} AND state = {from}",
        state = literal(end.state.name()),
        retries = end.retries,
        digest = optional(end.fingerprint.map(|print| print.digest_hex())),
        snapshot_at = optional(end.snapshot_at.clone()),
        error = optional(end.error.clone()),
        apply_ms = end.apply_ms.map_or_else(|| "NULL".into(), |ms| ms.to_string()),
        from = literal(from.name()),
    )
}

/// Writes how a run ended, in a transaction of its own. False when another run had ended it before.
pub async fn record_end(target: &Target, lease: Lease, end: &RunEnd) -> Result<bool, Fault> {
    // The answer to an earlier attempt may have been lost.
    let Lease { run_id, epoch } = lease;
    let is_recorded = format!(
        "SELECT EXISTS (SELECT FROM dewey_sync.run WHERE run_id = {run_id} AND epoch = {epoch} AND state = {})",
        literal(end.state.name()),
    );
    let is_recorded = Query::last_row(is_recorded, |row| Ok(row.try_get(0)?));
    let record = Query::silent(end_sql(lease, RunState::Running, end));
    Ok(target.once(target.server().short_limit(), (record, is_recorded)).await?.1)
}

/// The first statements of a transaction that does the whole run: they wait for another one that does the same, and
/// move the run to its end, which is true when the transaction is committed.
pub(crate) fn claim_run(Lease { run_id, epoch }: Lease) -> Query<'static, Claim> {
    let sql = format!(
        "UPDATE dewey_sync.run SET state = 'verified' WHERE run_id = {run_id} AND epoch = {epoch} \
         AND state = 'running' RETURNING true;
         SELECT state FROM dewey_sync.run WHERE run_id = {run_id} AND epoch = {epoch}"
    );
    Query::new(sql, |rows| match rows {
        [_moved, _state] => Ok(Claim::Ours),
        [state] if state.try_get::<&str, _>(0)? == RunState::Verified.name() => Ok(Claim::AlreadyDone),
        _ => Ok(Claim::Lost),
    })
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

#[cfg(test)]
mod tests {
    use super::compatible;

    #[test]
    fn versions_are_compatible_up_to_the_first_number_that_is_not_0() {
        for (one, other, equal) in [
            ("0.1.0", "0.1.9", true),
            ("0.1.0", "0.2.0", false),
            ("1.2.0", "1.9.3", true),
            ("1.0.0", "2.0.0", false),
        ] {
            assert_eq!(compatible(one) == compatible(other), equal, "{one} {other}");
        }
    }
}
