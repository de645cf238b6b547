//! Keeps what an apply will replace, before it does: the books and what hangs on those that go.

use sqlx::postgres::PgRow;

use crate::book::{KEY, TABLE, quoted};
use crate::ledger::replaced::columns_sql;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::{Fault, Fingerprint, literal};
use crate::sync::changes::{differs, named_json};
use crate::sync::guard::dependents::{Dependents, Fate, Reach};
use crate::sync::strategy::Job;

/// What was kept, in numbers.
pub(super) struct Kept {
    /// Books that will go.
    pub(super) removed: u64,
    /// Books that will be changed.
    pub(super) changed: u64,
    /// What goes along, or keeps books from going.
    pub(super) dependents: Vec<Dependents>,
    /// The whole rows of those books.
    pub(super) touched: Fingerprint,
}

/// Statements that keep them, and count by what was kept. One pass over both tables finds what goes and what changes;
/// nothing is looked at unless `staged` holds, a condition on no table.
pub(super) fn sql(job: &Job<'_>, staged: &str, reach: Option<&Reach<'_>>) -> String {
    let run_id = job.tenure.run_id;
    let doomed = doomed(run_id);
    let dependents = reach.map(|reach| reach.counted(Some(&doomed)));
    format!(
        "INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, columns, book_id, source_id, row)
  SELECT {run_id}, CASE WHEN s.source_id IS NULL THEN 'deleted' ELSE 'updated' END, 0, {name}, {columns},
    b.id, s.source_id, (b.*)::text
  FROM {TABLE} b LEFT JOIN dewey_sync.stage s ON s.run_id = {run_id} AND s.{key} = b.{key}::text
  WHERE {staged} AND (s.source_id IS NULL OR {differs});
{keep_dependents}
ANALYZE dewey_sync.replaced (run_id, action, place, book_id, source_id);
SELECT json_build_array(removed, changed, {dependents})::text AS kept, touched, digest
FROM (SELECT count(*) FILTER (WHERE action = 'deleted') AS removed, count(*) FILTER (WHERE action = 'updated') AS changed
   FROM dewey_sync.replaced WHERE run_id = {run_id} AND place = 0) r,
  (SELECT count(*) AS touched, coalesce(sum({digest}), 0)::text AS digest FROM {TABLE} b
   WHERE id IN (SELECT book_id FROM dewey_sync.replaced WHERE run_id = {run_id} AND place = 0)) t",
        name = literal(TABLE),
        columns = columns_sql(&literal(TABLE)),
        key = quoted(KEY),
        differs = differs(&job.remap.columns),
        keep_dependents = reach.and_then(|reach| dependents_sql(run_id, reach, &doomed)).unwrap_or_default(),
        digest = record_digest("b.*"),
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
    )
}

/// Finds the answer to [`sql`] among the rows of a query that ended with it.
pub(super) fn found(rows: &[PgRow]) -> Result<Kept, Fault> {
    let (removed, changed, dependents) = named_json(rows, "kept")?;
    let row = rows.last().ok_or_else(|| Fault::client("what was kept was not counted"))?;
    Ok(Kept { removed, changed, dependents, touched: Fingerprint::from_row(row, 1)? })
}

/// The condition that a book `b` is to be removed, as it was kept.
pub(super) fn doomed(run_id: i64) -> String {
    format!(
        "b.id IN (SELECT book_id FROM dewey_sync.replaced \
         WHERE run_id = {run_id} AND action = 'deleted' AND place = 0)"
    )
}

fn dependents_sql(run_id: i64, reach: &Reach<'_>, doomed: &str) -> Option<String> {
    let rows = reach.rows(doomed, |fate, table| {
        let action = if fate == Fate::Detached { "detached" } else { "deleted" };
        let name = literal(table.name);
        let columns = columns_sql(&name);
        format!("{run_id}, '{action}', {}, {name}, {columns}, (t.*)::text", table.distance)
    })?;
    Some(format!("INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, columns, row) {rows};"))
}
