//! Restores what was kept: inserted books are deleted, changed ones changed back, deleted ones inserted with their ids and
//! with the rows that referenced them.

use super::attach::{Attached, References};
use super::kept::KeptTable;
use crate::book::{Column, KEY, OTHER_KEY, TABLE, quoted};
use crate::dependents::{ForeignKey, Reach, Writes};
use crate::ledger::replaced::{Generation, columns_sql};
use crate::postgres::effects::measured;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::query::Query;
use crate::postgres::{Fault, Tx, literal};
use crate::sync::apply::PLACEHOLDER;

/// The tables of which the generation kept rows.
pub(super) async fn kept_tables(tx: &Tx<'_>, generation: i64) -> Result<Vec<KeptTable>, Fault> {
    let sql = format!(
        "SELECT coalesce(json_agg(json_build_object('name', table_name, 'deleted', deleted, 'detached', detached,
  'same', columns IS NOT DISTINCT FROM {columns}, 'is_digested', is_digested,
  'own_rows', coalesce((SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_class WHERE oid = to_regclass(table_name)), ''),
  'columns', (SELECT json_agg(format('%I', attname) ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = to_regclass(table_name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
  'key', (SELECT json_agg(format('%I', attname)) FROM pg_index JOIN pg_attribute ON attrelid = indrelid
    AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1]) WHERE indrelid = to_regclass(table_name) AND indisprimary)) ORDER BY table_name), '[]')::text
FROM (SELECT table_name, columns, count(*) FILTER (WHERE action <> 'detached') AS deleted,
    count(*) FILTER (WHERE action = 'detached') AS detached, bool_and(digest IS NOT NULL) AS is_digested FROM dewey_sync.replaced
  WHERE run_id = {generation} AND row IS NOT NULL GROUP BY table_name, columns) kept",
        columns = columns_sql("table_name"),
    );
    tx.ask(Query::json(sql)).await
}

impl KeptTable {
    pub(super) fn has_no_key(&self) -> bool {
        self.key.is_none()
    }

    /// Its kept rows that meet a condition as `old`, with the `book_id`. Not pulled up, or each column would read the row anew.
    fn rows(&self, generation: i64, which: &str) -> String {
        let Self { name, .. } = self;
        format!(
            "(SELECT book_id, r.row::{name} AS old FROM dewey_sync.replaced r WHERE run_id = {generation} \
             AND {which} AND table_name = {} OFFSET 0)",
            literal(name)
        )
    }

    fn columns(&self) -> &[String] {
        self.columns.as_deref().unwrap_or_default()
    }
}

/// Changes everything back. The rows that come back refer to each other in any order, so one statement brings all.
pub(super) async fn restore(
    tx: &Tx<'_>,
    undone: &Generation,
    tables: &[KeptTable],
    keys: &[ForeignKey],
    references: &[References<'_>],
) -> Result<(), Fault> {
    let reach = Reach::of(keys, Writes::Anything);
    let remove = format!("DELETE FROM {TABLE} b WHERE {}", inserted(undone, "b"));
    let mut statements: Vec<String> = references.iter().map(References::choose_sql).collect();
    if reach.is_some_and(|reach| reach.returns_to_books()) {
        // A book that stays may refer to one that was inserted, until it is changed back; until then that one gives up the keys
        // that another one had.
        statements.extend(given_up(undone, tables));
        let [vacate, change] = changed_back(undone.run_id, tables);
        statements.extend(vacate);
        statements.extend(bring_back(undone.run_id, tables));
        statements.extend(change);
        statements.push(remove);
    } else {
        statements.push(remove);
        statements.extend(changed_back(undone.run_id, tables).into_iter().flatten());
        statements.extend(bring_back(undone.run_id, tables));
    }
    statements.extend(references.iter().map(References::put_back_sql));
    statements.push("SET CONSTRAINTS ALL IMMEDIATE".into());
    tx.simple(&statements.join(";\n")).await.map(drop)
}

/// Statements that take from the inserted books the keys of books that come back.
fn given_up(undone: &Generation, tables: &[KeptTable]) -> Vec<String> {
    let Some(books) = tables.iter().find(|table| table.name == TABLE) else { return Vec::new() };
    let kept = books.rows(undone.run_id, "action <> 'inserted'");
    let give_up = |column: Column| {
        let column = quoted(column);
        format!(
            "UPDATE {TABLE} b SET {column} = {PLACEHOLDER} WHERE {} AND b.{column} IN (SELECT (k.old).{column} FROM {kept} k)",
            inserted(undone, "b")
        )
    };
    vec![give_up(KEY), give_up(OTHER_KEY)]
}

/// Statements that give up the values which changed books have to leave, and that make them what they were.
fn changed_back(generation: i64, tables: &[KeptTable]) -> [Option<String>; 2] {
    let Some(books) = tables.iter().find(|table| table.name == TABLE) else { return [None, None] };
    let changed = books.rows(generation, "action IN ('updated', 'detached')");
    let other = quoted(OTHER_KEY);
    let set = books.columns().iter().filter(|column| *column != "id");
    let set: Vec<String> = set.map(|column| format!("{column} = (k.old).{column}")).collect();
    [
        Some(format!(
            "UPDATE {TABLE} b SET {other} = {PLACEHOLDER} FROM {changed} k \
             WHERE b.id = k.book_id AND b.{other} <> (k.old).{other}"
        )),
        Some(format!("UPDATE {TABLE} b SET {} FROM {changed} k WHERE b.id = k.book_id", set.join(", "))),
    ]
}

/// A statement that inserts every row that was deleted.
fn bring_back(generation: i64, tables: &[KeptTable]) -> Option<String> {
    let inserts = tables.iter().filter(|table| table.deleted > 0).enumerate().map(|(number, table)| {
        let columns = table.columns().join(", ");
        let values: Vec<String> = table.columns().iter().map(|column| format!("(k.old).{column}")).collect();
        format!(
            "back_{number} AS (INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} k)",
            table.name,
            values.join(", "),
            table.rows(generation, "action = 'deleted'"),
        )
    });
    let inserts: Vec<String> = inserts.collect();
    (!inserts.is_empty()).then(|| format!("WITH {} SELECT", inserts.join(", ")))
}

/// The condition that the sync inserted the book `alias`. It lists none where there were no books before.
pub(super) fn inserted(Generation { run_id: generation, before, .. }: &Generation, alias: &str) -> String {
    if before.rows == 0 {
        return "true".into();
    }
    format!(
        "{alias}.id IN (SELECT book_id FROM dewey_sync.replaced WHERE run_id = {generation} AND action = 'inserted')"
    )
}

/// How many rows that were deleted along with books are not there again exactly as they were, what became of the rows of
/// each of the `references`, and what the whole work did to every table.
pub(super) async fn not_as_they_were(
    tx: &Tx<'_>,
    generation: i64,
    tables: &[KeptTable],
    references: &[References<'_>],
) -> Result<(u64, Vec<Attached>, String), Fault> {
    let dependents = tables.iter().filter(|table| table.name != TABLE && table.deleted > 0);
    let counts = dependents.map(|KeptTable { name, is_digested, own_rows, .. }| {
        // Older versions kept no digest.
        let [kept, found] = if *is_digested {
            ["digest".to_owned(), record_digest("t.*")]
        } else {
            ["row", "(t.*)::text"].map(str::to_owned)
        };
        format!(
            "(SELECT count(*) FROM (SELECT {kept} FROM dewey_sync.replaced WHERE run_id = {generation} \
             AND action = 'deleted' AND table_name = {} EXCEPT ALL SELECT {found} FROM {own_rows}{name} t) lost)",
            literal(name)
        )
    });
    let sum = std::iter::once("0".to_owned()).chain(counts).collect::<Vec<_>>().join(" + ");
    let attached = references.iter().map(References::counted).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT json_build_array({sum}, to_json(ARRAY[{attached}]::json[]), {measured})::text",
        measured = measured()
    );
    tx.ask(Query::json(sql)).await
}
