//! What somebody does between a sync and its undo, as a statement.

use crate::model::{BOOK, Case, Key, Meanwhile, Role, Table};
use crate::script::{list, literal, qualified, quoted};
use crate::snapshot::{RowState, Snapshot, array};

/// An id that no row has.
const NEW_ID: u32 = 900;

/// `None` where there is nothing to do it to.
pub(crate) fn sql(case: &Case, before: &Snapshot, applied: &Snapshot) -> Option<String> {
    match case.meanwhile {
        Meanwhile::Nothing => None,
        Meanwhile::ChangeBook => Some(
            r#"UPDATE public."Book" SET title = title || '!' WHERE id = (SELECT max(id) FROM public."Book")"#
                .into(),
        ),
        Meanwhile::AddRows(key) => case.keys.get(key).and_then(|key| add_rows(case, key, before, applied)),
        Meanwhile::ChangeRow(table) => {
            let column = case.tables[table].columns.iter().find(|column| {
                column.role == Role::Soft || (column.role == Role::Payload && column.sql_type == "text")
            })?;
            let name = quoted(&column.name);
            let value = if column.role == Role::Soft {
                format!("coalesce({name}, 0) + 5000")
            } else {
                format!("{name} || ' changed'")
            };
            let (leaf, row) = left_alone(&case.tables[table], before, applied)?;
            Some(format!("UPDATE ONLY {leaf} SET {name} = {value} WHERE ctid = {}", literal(&row.ctid)))
        }
        Meanwhile::DeleteRow(table) => {
            let (leaf, row) = left_alone(&case.tables[table], before, applied)?;
            Some(format!("DELETE FROM ONLY {leaf} WHERE ctid = {}", literal(&row.ctid)))
        }
        Meanwhile::TakeKey(table) => take_key(&case.tables[table]),
    }
}

/// A row that the sync did not write, and the table that holds it.
fn left_alone<'a>(
    table: &Table,
    before: &'a Snapshot,
    applied: &'a Snapshot,
) -> Option<(&'a str, &'a RowState)> {
    let family = applied.family_of_name(&plain_name(table, applied)?)?;
    let row = before.rows.intersection(&applied.rows).find(|row| applied.family(row.table) == family)?;
    Some((applied.tables.get(&row.table)?.name.as_str(), row))
}

/// As the server quotes it.
fn plain_name(table: &Table, snapshot: &Snapshot) -> Option<String> {
    let always_quoted = qualified(table);
    let names = snapshot.tables.values().map(|table| &table.name);
    let bare = |name: &str| name.replace('"', "");
    names.into_iter().find(|name| bare(name) == bare(&always_quoted)).cloned()
}

/// Rows that reference books which the sync brought, like another row in everything else.
fn add_rows(case: &Case, key: &Key, before: &Snapshot, applied: &Snapshot) -> Option<String> {
    if key.to.table != BOOK || key.from.part.is_some() {
        return None;
    }
    let table = &case.tables[key.from.table];
    let new = applied.books.keys().filter(|isbn13| !before.books.contains_key(*isbn13));
    let new = array(new.map(String::as_str));
    let columns: Vec<_> = table.columns.iter().filter(|column| column.role != Role::Generated).collect();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let values: Vec<String> = names
        .iter()
        .map(|name| match key.columns.iter().position(|column| column == name) {
            Some(at) => format!("b.{}", quoted(&key.references[at])),
            None if table.id().is_some_and(|id| id.name == *name) => {
                format!("{NEW_ID} + row_number() OVER ()")
            }
            None => format!("t.{}", quoted(name)),
        })
        .collect();
    let name = qualified(table);
    Some(format!(
        r#"INSERT INTO {name} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM (SELECT * FROM {name} LIMIT 1) t,
  (SELECT * FROM public."Book" WHERE isbn13 = ANY ({new}) ORDER BY id LIMIT 2) b"#,
        list(&names),
        values.join(", ")
    ))
}

/// The first id that the table had and has no more.
fn take_key(table: &Table) -> Option<String> {
    let id = table.id()?;
    let at = table.column(&id.name)?;
    let ids = table.rows.iter().filter_map(|row| row.values[at].as_deref());
    let ids = array(ids);
    let columns: Vec<String> = table
        .columns
        .iter()
        .filter(|column| column.role != Role::Generated && column.role != Role::Id)
        .map(|column| column.name.clone())
        .collect();
    let name = qualified(table);
    let theirs: Vec<String> = columns.iter().map(|column| format!("t.{}", quoted(column))).collect();
    let columns = [vec!["id".to_owned()], columns].concat();
    let values = [vec!["taken.id".to_owned()], theirs].concat();
    Some(format!(
        "INSERT INTO {name} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM (SELECT * FROM {name} LIMIT 1) t,
  (SELECT id::integer FROM unnest({ids}) AS drawn (id) WHERE id::integer NOT IN (SELECT id FROM {name}) LIMIT 1) taken",
        list(&columns),
        values.join(", ")
    ))
}
