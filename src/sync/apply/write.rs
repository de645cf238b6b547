//! Makes the books equal to the stage with the fewest writes; ids of books on both sides stay.

use sqlx::Row;

use super::keep::deleted_by_sync;
use super::left::keep_left_sql;
use crate::book::{
    BOOK_OID, Column, KEY, OTHER_KEY, OWNER, PRIVATE, TABLE, UPDATED_AT, VISIBILITY, quoted, sequence,
    stored_type,
};
use crate::dependents::uncounted::{Counting, query_of};
use crate::error::Result;
use crate::postgres::effect::Effects;
use crate::postgres::effects::measured;
use crate::postgres::fingerprint::{Rows, record_digest, row_digest};
use crate::postgres::query::{Query, json_at};
use crate::postgres::{Fault, Fingerprint, Tx, identifier, literal};
use crate::sync::changes::differs;
use crate::transfer::remap::Remap;

/// The book table after the writes.
pub(crate) struct Written {
    /// What the sync compares.
    pub(super) copied: Fingerprint,
    /// Whole rows.
    pub(super) state: Fingerprint,
    /// How many were inserted.
    pub(super) new: u64,
    /// How many of the changed or inserted ones only their owner may see in the application.
    pub(super) private: u64,
    /// How long the books have been locked.
    pub(super) apply_ms: u64,
    /// What the transaction did to every table.
    pub(super) effects: Effects,
    /// The same as the server said it.
    pub(super) reading: String,
}

/// Removes, changes and inserts, and reads what the book table holds then.
pub(super) async fn write(tx: &Tx<'_>, apply: &Applying<'_>) -> Result<Written, Fault> {
    let raise = apply.sequence.as_deref().map(raise_sql).unwrap_or_default();
    let insert = insert_sql(apply, "");
    let writes = if apply.had_books {
        let delete = format!("DELETE FROM {TABLE} b WHERE {}", deleted_by_sync(apply.run_id, "b"));
        let [vacate, update] = update_sql(apply);
        if apply.returns_to_books {
            // Books may refer to books: what production says they refer to is there before anything is deleted, and a book
            // that is deleted along comes again. A value that a new book wants is given up before; where it is of a key that only
            // development has, the new book comes last.
            let give_up = give_up_sql(apply.run_id);
            let correct = correct_sql(apply);
            let early = insert_sql(apply, apply.leaving_out);
            format!("{give_up}; {raise}{early}; {update}; {delete}; {correct}; {insert}")
        } else {
            format!("{delete}; {vacate}; {update}; {raise}{insert}")
        }
    } else {
        format!("{raise}{insert}")
    };
    // A deferred constraint is checked here, not at COMMIT, whose failure would say less.
    let left =
        if apply.had_books && apply.changes_others { keep_left_sql(apply.run_id) } else { String::new() };
    let writes = Query::silent(format!("{writes}; SET CONSTRAINTS ALL IMMEDIATE; {left}"));
    let ((), written) = tx.ask((writes, written(apply))).await?;
    Ok(written)
}

/// Statements that write a staged sample as the apply does, but delete nothing; the last row has what they did to every table.
/// A value of the other unique column that another book still has is left out: that book may be one that would be deleted, and
/// changing it would do what the apply does not.
pub(crate) fn rehearsal_sql(run_id: i64, remap: &Remap) -> String {
    let apply = Applying {
        run_id,
        remap,
        sequence: None,
        had_books: true,
        returns_to_books: false,
        leaving_out: "",
        changes_others: false,
        counting: None,
        through: None,
    };
    let (key, other, id) = (quoted(KEY), quoted(OTHER_KEY), quoted(Column::Id));
    let [_, update] = update_sql(&apply);
    format!(
        "UPDATE dewey_sync.stage s SET {other} = chr(1) || to_hex(s.source_id) FROM {TABLE} b
  WHERE s.run_id = {run_id} AND s.{other} = b.{other}::text AND s.{key} <> b.{key}::text;
INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, book_id, source_id)
  SELECT {run_id}, 'updated', 0, {name}, b.{id}, s.source_id FROM {TABLE} b JOIN dewey_sync.stage s ON s.run_id = {run_id} AND s.{key} = b.{key}
  WHERE {differs};
SELECT setval(sequence, highest) FROM (SELECT {sequence}::regclass AS sequence, max({id}) AS highest FROM {TABLE}) b
  WHERE highest > coalesce(pg_sequence_last_value(sequence), 0);
{update}; {insert}; SET CONSTRAINTS ALL IMMEDIATE; SELECT {measured} AS effects",
        name = literal(TABLE),
        sequence = sequence::of_ids(BOOK_OID),
        differs = differs(&remap.columns),
        insert = insert_sql(&apply, ""),
        measured = measured(),
    )
}

/// The book table as one pass finds it. Of a first fill everything is new.
fn written<'a>(apply: &'a Applying<'_>) -> Query<'a, Written> {
    let kept = format!("FROM dewey_sync.replaced WHERE run_id = {} AND place = 0 AND action", apply.run_id);
    let [new, touched] = if apply.had_books {
        [
            format!("(SELECT count(*) {kept} = 'inserted')"),
            format!("b.id IN (SELECT book_id {kept} IN ('updated', 'inserted'))"),
        ]
    } else {
        ["count(*)", "true"].map(str::to_owned)
    };
    let sql = format!(
        "SELECT count(*), coalesce(sum(copied), 0)::text, count(*), coalesce(sum(state), 0)::text,
  json_build_array({new}, count(*) FILTER (WHERE touched AND {visibility}::text = '{PRIVATE}'), {SINCE_LOCKED})::text,
  {measured}, {counts}
FROM (SELECT {copied} AS copied, {state} AS state, {visibility}, {touched} AS touched FROM {TABLE} b) books",
        copied = row_digest(&apply.remap.columns, Rows::OfTarget),
        state = record_digest("b.*"),
        visibility = quoted(VISIBILITY),
        measured = measured(),
        counts = query_of(apply.counting.as_ref()),
    );
    Query::last_row(sql, |row| {
        let (copied, state) = (Fingerprint::from_row(row, 0)?, Fingerprint::from_row(row, 2)?);
        let (new, private, apply_ms) = json_at(row, 4)?;
        let reading: String = row.try_get(5)?;
        let mut effects = Effects::from_json(&reading).map_err(|error| Fault::unreadable(&error))?;
        if let Some(counting) = &apply.counting {
            counting.complete(&mut effects, row, 6)?;
        }
        Ok(Written { copied, state, new, private, apply_ms, effects, reading })
    })
}

/// Gives a placeholder to books that are changed or deleted later and whose value of the other unique column another one wants.
fn give_up_sql(run_id: i64) -> String {
    let (key, other) = (quoted(KEY), quoted(OTHER_KEY));
    format!(
        "UPDATE {TABLE} b SET {other} = {PLACEHOLDER} FROM dewey_sync.replaced r
  WHERE r.run_id = {run_id} AND r.action IN ('deleted', 'updated') AND r.place = 0 AND r.book_id = b.id AND EXISTS
    (SELECT FROM dewey_sync.stage s WHERE s.run_id = {run_id} AND s.{other} = b.{other}::text AND s.{key} <> b.{key}::text)"
    )
}

/// Gives a placeholder to books whose old value of the other unique column another one wants, because keys are checked
/// row by row; then changes all of them.
fn update_sql(apply: &Applying<'_>) -> [String; 2] {
    let run_id = apply.run_id;
    let other = quoted(OTHER_KEY);
    let from =
        "dewey_sync.replaced r JOIN dewey_sync.stage s ON s.run_id = r.run_id AND s.source_id = r.source_id";
    let changed = format!("b.id = r.book_id AND r.run_id = {run_id} AND r.action = 'updated'");
    let vacate = format!(
        "WITH moved AS (SELECT b.id, b.{other}::text AS old, s.{other} AS new FROM {TABLE} b, {from}
    WHERE {changed} AND b.{other}::text <> s.{other})
  UPDATE {TABLE} b SET {other} = {PLACEHOLDER} FROM moved m WHERE b.id = m.id AND m.old IN (SELECT w.new FROM moved w)"
    );
    [vacate, format!("UPDATE {TABLE} b SET {} FROM {from} WHERE {changed}", assignments(apply.remap))]
}

/// A value that no book has and that fits `varchar(10)`. The sum is of a type that `to_hex` takes, whatever integer an id is.
pub(crate) const PLACEHOLDER: &str = "chr(1) || to_hex(b.id + 0)";

/// Books of both sides that the deletion was to take along, and that are there because a trigger took their reference away,
/// are changed like others; those that went without being foreseen come back with others' ids. Both are kept as what they are.
fn correct_sql(apply: &Applying<'_>) -> String {
    let run_id = apply.run_id;
    let kept = format!("r.run_id = {run_id} AND r.place = 0 AND r.source_id IS NOT NULL AND r.action");
    let is_there = format!("EXISTS (SELECT FROM {TABLE} b WHERE b.id = r.book_id)");
    format!(
        "WITH r AS (UPDATE dewey_sync.replaced r SET action = 'updated' WHERE {kept} = 'deleted' AND {is_there}
    RETURNING r.run_id, r.book_id, r.source_id)
  UPDATE {TABLE} b SET {set} FROM r JOIN dewey_sync.stage s ON s.run_id = r.run_id AND s.source_id = r.source_id WHERE b.id = r.book_id;
UPDATE dewey_sync.replaced r SET action = 'deleted' WHERE {kept} IN ('updated', 'detached') AND NOT {is_there}",
        set = assignments(apply.remap),
    )
}

/// Every staged column but the key, for an UPDATE.
fn assignments(remap: &Remap) -> String {
    let set = columns(remap, false).into_iter().filter(|column| quoted(*column) != quoted(KEY));
    let set: Vec<String> = set.map(|column| format!("{} = {}", quoted(column), staged(column))).collect();
    set.join(", ")
}

/// Keeps the ids of the new books in order of the source's. Those of a first fill need no list, because an undo removes
/// all. `on_conflict` is the clause of that name.
fn insert_sql(apply: &Applying<'_>, on_conflict: &str) -> String {
    let (run_id, key) = (apply.run_id, quoted(KEY));
    if !apply.had_books {
        let left = apply.through.map_or_else(|| "true".into(), |through| format!("s.source_id > {through}"));
        return first_fill_sql(run_id, apply.remap, &left);
    }
    format!(
        "WITH new AS ({insert}
    AND NOT EXISTS (SELECT FROM {TABLE} b WHERE b.{key}::text = s.{key}) ORDER BY s.source_id {on_conflict} RETURNING id)
  INSERT INTO dewey_sync.replaced (run_id, action, place, table_name, book_id)
  SELECT {run_id}, 'inserted', 0, {name}, id FROM new",
        insert = insert_staged(run_id, apply.remap),
        name = literal(TABLE),
    )
}

/// Inserts the books of stage `s` that meet `condition`, as the stage's index has them, because wide rows would be sorted on
/// disk.
pub(super) fn first_fill_sql(run_id: i64, remap: &Remap, condition: &str) -> String {
    format!(
        "SET LOCAL enable_sort = off; {} AND {condition} ORDER BY s.run_id, s.source_id",
        insert_staged(run_id, remap)
    )
}

/// A statement that ends in a condition on the stage `s`.
fn insert_staged(run_id: i64, remap: &Remap) -> String {
    let columns = columns(remap, true);
    let constants = remap.columns.constants();
    let made_up_names = constants.iter().map(|constants| identifier(&constants.column));
    let names: Vec<String> = columns.iter().map(|column| quoted(*column)).chain(made_up_names).collect();
    let made_up_values = constants.iter().map(|constants| constants.literal.clone());
    let values: Vec<String> = columns.into_iter().map(staged).chain(made_up_values).collect();
    format!(
        "INSERT INTO {TABLE} ({}) SELECT {} FROM dewey_sync.stage s WHERE s.run_id = {run_id}",
        names.join(", "),
        values.join(", "),
    )
}

/// Raises a sequence that lags behind its ids; never lowers one.
fn raise_sql(sequence: &str) -> String {
    format!(
        "SELECT setval({}, highest) FROM (SELECT max(id) AS highest FROM {TABLE}) b, {sequence}
    WHERE highest > last_value OR highest = last_value AND NOT is_called; ",
        literal(sequence)
    )
}

/// The columns that the stage has a value for.
fn columns(remap: &Remap, new: bool) -> Vec<Column> {
    let constants = (new && remap.updated_at.is_some()).then_some(UPDATED_AT);
    remap.columns.iter().chain([OWNER]).chain(constants).collect()
}

fn staged(column: Column) -> String {
    let cast = stored_type(column).map(|name| format!("::{name}")).unwrap_or_default();
    format!("s.{}{cast}", quoted(column))
}

/// An expression for how long the books have been locked, in milliseconds.
pub(crate) const SINCE_LOCKED: &str = "(extract(epoch FROM clock_timestamp() - current_setting('dewey_sync.locked')::timestamptz) * 1000)::bigint";

/// What the writes depend on.
pub(crate) struct Applying<'a> {
    pub(crate) run_id: i64,
    pub(crate) remap: &'a Remap,
    /// Which sequence gives out ids, if one does.
    pub(crate) sequence: Option<String>,
    /// Whether this is no first fill.
    pub(crate) had_books: bool,
    /// Whether foreign keys delete or change books along with books.
    pub(crate) returns_to_books: bool,
    /// The clause by which an INSERT leaves out what a key forbids; none where a key is deferrable, because that is an error then.
    pub(crate) leaving_out: &'static str,
    /// Whether foreign keys change rows of other tables.
    pub(crate) changes_others: bool,
    /// Where the server does not count.
    pub(crate) counting: Option<Counting>,
    /// The last source id whose book is inserted already.
    pub(crate) through: Option<i32>,
}
