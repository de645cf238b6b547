//! Keeps what an apply will replace, before it does: books, and the rows that foreign keys delete or change along with them.

use crate::book::{Column, KEY, TABLE, quoted};
use crate::dependents::{Dependents, Fate, Reach, Relation, Which};
use crate::ledger::replaced::columns_sql;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::query::{Query, json_at};
use crate::postgres::{Fingerprint, literal};
use crate::sync::changes::{changes_in, differs};
use crate::transfer::remap::Remap;

/// What was kept, in numbers.
pub(crate) struct Kept {
    /// Books that will be deleted because production lacks them.
    pub(super) removed: u64,
    /// Books that will be changed.
    pub(super) changed: u64,
    /// What is deleted or changed along, or keeps books from being deleted.
    pub(super) dependents: Vec<Dependents>,
    /// All books as they are, whole rows.
    pub(super) before: Fingerprint,
}

/// Keeps them, counts by what was kept, and takes the digest of all books. One pass over both tables finds what is deleted and
/// what changes; nothing is scanned unless the constant condition `staged` is true.
pub(super) fn keep(
    run_id: i64,
    remap: &Remap,
    staged: &str,
    reach: Option<&Reach<'_>>,
) -> Query<'static, Kept> {
    let columns = &remap.columns;
    let deleted = |alias: &str| deleted_by_sync(run_id, alias);
    let changed = |alias: &str, names: &[String]| {
        format!("{} AND {}", updated(run_id, alias), changes_in(run_id, columns, alias, names))
    };
    let which = Which { deleted: Some(&deleted), changed: &changed };
    let dependents = reach.map(|reach| reach.counted(&which));
    let digest = record_digest("b.*");
    let sql = format!(
        "INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, columns, book_id, source_id, row, digest)
  SELECT {run_id}, CASE WHEN s.source_id IS NULL THEN 'deleted' ELSE 'updated' END, 0, {name}, {table_columns},
    b.id, s.source_id, (b.*)::text, {digest}
  FROM {TABLE} b LEFT JOIN dewey_sync.stage s ON s.run_id = {run_id} AND s.{key} = b.{key}::text
  WHERE {staged} AND (s.source_id IS NULL OR {differs});
{keep_dependents}
ANALYZE dewey_sync.replaced (run_id, action, place, book_id, source_id);
SELECT json_build_array(removed, changed, {dependents})::text, books, digest
FROM (SELECT count(*) FILTER (WHERE action = 'deleted' AND source_id IS NULL) AS removed,
   count(*) FILTER (WHERE action = 'updated') AS changed
   FROM dewey_sync.replaced WHERE run_id = {run_id} AND place = 0) r,
  (SELECT count(*) AS books, coalesce(sum({digest}), 0)::text AS digest FROM {TABLE} b WHERE {staged}) t",
        name = literal(TABLE),
        table_columns = columns_sql(&literal(TABLE)),
        key = quoted(KEY),
        differs = differs(columns),
        keep_dependents = reach.and_then(|reach| dependents_sql(run_id, reach, &which)).unwrap_or_default(),
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
    );
    Query::last_row(sql, |row| {
        let (removed, changed, dependents) = json_at(row, 0)?;
        Ok(Kept { removed, changed, dependents, before: Fingerprint::from_row(row, 1)? })
    })
}

/// The condition that production lacks the book `alias`, as it was kept. Books that a foreign key deletes along are in the stage.
pub(super) fn deleted_by_sync(run_id: i64, alias: &str) -> String {
    format!(
        "{alias}.id IN (SELECT book_id FROM dewey_sync.replaced \
         WHERE run_id = {run_id} AND action = 'deleted' AND place = 0 AND source_id IS NULL)"
    )
}

fn updated(run_id: i64, alias: &str) -> String {
    format!(
        "{alias}.id IN (SELECT book_id FROM dewey_sync.replaced WHERE run_id = {run_id} AND action = 'updated' AND place = 0)"
    )
}

fn dependents_sql(run_id: i64, reach: &Reach<'_>, which: &Which<'_>) -> Option<String> {
    let rows = reach.rows(which, |fate, table: &Relation, distance| {
        let action = if fate == Fate::Detached { "detached" } else { "deleted" };
        let name = literal(if table.is_book { TABLE } else { &table.root });
        let columns = columns_sql(&name);
        let (id, key) = (quoted(Column::Id), quoted(KEY));
        let [book, staged] = if table.is_book {
            let staged = format!(
                "(SELECT source_id FROM dewey_sync.stage s WHERE s.run_id = {run_id} AND s.{key} = t.{key})"
            );
            [format!("t.{id}"), staged]
        } else {
            ["NULL::integer", "NULL::integer"].map(str::to_owned)
        };
        let digest = record_digest("t.*");
        format!(
            "{run_id}, '{action}', {distance}, {name}, {columns}, {book}, {staged}, (t.*)::text, {digest}"
        )
    })?;
    // A book is kept once, as what becomes of it in the end.
    let once = if reach.returns_to_books() {
        format!(
            "DELETE FROM dewey_sync.replaced r USING dewey_sync.replaced o WHERE r.run_id = {run_id} AND o.run_id = {run_id}
  AND r.place = 0 AND o.place = 0 AND r.book_id = o.book_id
  AND (r.action, o.action) IN (('updated', 'deleted'), ('detached', 'deleted'), ('detached', 'updated'));"
        )
    } else {
        String::new()
    };
    Some(format!(
        "INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, columns, book_id, source_id, row, digest) {rows};
{once}"
    ))
}
