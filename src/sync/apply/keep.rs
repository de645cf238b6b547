//! Keeps what an apply will replace, before it does: the books and what hangs on those that go.

use super::Applying;
use crate::book::{KEY, PRIVATE, TABLE, VISIBILITY, quoted};
use crate::ledger::replaced::columns_sql;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::{Fault, Fingerprint, literal};
use crate::sync::changes::{Changes, differs, only_in_target};
use crate::sync::facts::from_json;
use crate::sync::guard::dependents::{Fate, Reach};

/// What was kept, in numbers.
pub(super) struct Kept {
    /// What will change.
    pub(super) changes: Changes,
    /// How many books there are before.
    pub(super) books: i64,
    /// The whole rows of those that will be changed or removed.
    pub(super) touched: Fingerprint,
}

/// Keeps them, and counts by what was kept.
pub(super) async fn keep(apply: &Applying<'_>, reach: Option<&Reach<'_>>) -> Result<Kept, Fault> {
    let run_id = apply.run_id;
    let doomed = doomed(run_id);
    let dependents = reach.map(|reach| reach.counted(Some(&doomed)));
    let sql = format!(
        "INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, columns, book_id, row)
  SELECT {run_id}, 'deleted', 0, {name}, {columns}, b.id, (b.*)::text FROM {TABLE} b WHERE {only_in_target};
INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, columns, book_id, source_id, row)
  SELECT {run_id}, 'updated', 0, {name}, {columns}, b.id, s.source_id, (b.*)::text
  FROM dewey_sync.stage s JOIN {TABLE} b ON b.{key} = s.{key} WHERE s.run_id = {run_id} AND {differs};
{keep_dependents}
ANALYZE dewey_sync.replaced (run_id, action, place, book_id, source_id);
SELECT json_build_object('new', {staged} - books + removed, 'changed', changed, 'removed', removed,
  'unchanged', books - removed - changed, 'private', private, 'dependents', {dependents})::text,
  books, touched, digest
FROM (SELECT count(*) AS books FROM {TABLE}) b,
  (SELECT count(*) FILTER (WHERE action = 'deleted') AS removed, count(*) FILTER (WHERE action = 'updated') AS changed
   FROM dewey_sync.replaced WHERE run_id = {run_id} AND place = 0) r,
  (SELECT count(*) AS private FROM dewey_sync.stage s WHERE run_id = {run_id} AND {visibility} = '{PRIVATE}'
   AND (source_id IN (SELECT source_id FROM dewey_sync.replaced WHERE run_id = {run_id} AND action = 'updated')
     OR NOT EXISTS (SELECT FROM {TABLE} b WHERE b.{key} = s.{key}))) p,
  (SELECT count(*) AS touched, coalesce(sum({digest}), 0)::text AS digest FROM {TABLE} b
   WHERE id IN (SELECT book_id FROM dewey_sync.replaced WHERE run_id = {run_id} AND place = 0)) t",
        name = literal(TABLE),
        columns = columns_sql(&literal(TABLE)),
        key = quoted(KEY),
        visibility = quoted(VISIBILITY),
        only_in_target = only_in_target(run_id),
        differs = differs(&apply.remap.columns),
        keep_dependents = reach.and_then(|reach| dependents_sql(run_id, reach, &doomed)).unwrap_or_default(),
        staged = apply.staged,
        digest = record_digest("b.*"),
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
    );
    let rows = apply.tx.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| Fault::client("what was kept was not counted"))?;
    Ok(Kept {
        changes: from_json(&rows)?,
        books: sqlx::Row::try_get(row, 1)?,
        touched: Fingerprint::from_row(row, 2)?,
    })
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
