//! What the stage would change: books new, changed, only in the target, unchanged, and what hangs on those that go.

use sea_orm::IdenStatic;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::guard::dependents::{Dependents, ForeignKey, Reach, Which, Writes};
use crate::book::{self, Column, CopiedColumns, KEY, OTHER_KEY, OWNER, PRIVATE, TABLE, VISIBILITY, quoted};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Tx, literal};

/// Books by what an apply does with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Only in the stage.
    pub new: u64,
    /// In both, with another value or owner.
    pub changed: u64,
    /// Only in the target.
    pub removed: u64,
    /// Equal in both.
    pub unchanged: u64,
    /// Those among the new and the changed that only their owner may see in the application.
    pub private: u64,
    /// What goes or blocks when the removed ones go.
    pub dependents: Vec<Dependents>,
}

impl Changes {
    /// Whether the target already is as the stage is.
    pub fn is_none(&self) -> bool {
        self.new == 0 && self.changed == 0 && self.removed == 0
    }
}

/// A query that compares the stage of a run with the books, whose dependents are reached through `keys`; its row has the
/// column `changes`. One pass over both: a sort or a hash of a hundred thousand books does not fit the default.
pub(super) fn count_sql(run_id: i64, columns: &CopiedColumns, keys: &[ForeignKey]) -> String {
    let reach = Reach::of(keys, Writes::Copies(columns));
    let dependents = reach.map(|reach| {
        reach.counted(&Which {
            deleted: Some(&|alias| only_in_target(run_id, alias)),
            changed: &|alias, names| changes_in(run_id, columns, alias, names),
        })
    });
    format!(
        "SET LOCAL work_mem = '{WORK_MEM}';
SELECT json_build_object('new', new, 'changed', changed, 'unchanged', found - changed,
 'removed', greatest((SELECT count(*) FROM {TABLE}) - found, 0), 'private', private, 'dependents', {dependents})::text AS changes
FROM (SELECT count(*) FILTER (WHERE b.id IS NULL) AS new, count(b.id) AS found,
  count(*) FILTER (WHERE b.id IS NOT NULL AND differs) AS changed,
  count(*) FILTER (WHERE (b.id IS NULL OR differs) AND s.{visibility} = '{PRIVATE}') AS private
  FROM dewey_sync.stage s LEFT JOIN {TABLE} b ON b.{key}::text = s.{key} CROSS JOIN LATERAL (SELECT {differs} AS differs) compared
  WHERE s.run_id = {run_id}) counted",
        key = quoted(KEY),
        visibility = quoted(VISIBILITY),
        differs = differs(columns),
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
    )
}

/// Runs [`count_sql`] in an open transaction on the target.
pub(super) async fn count(
    tx: &Tx<'_>,
    run_id: i64,
    columns: &CopiedColumns,
    keys: &[ForeignKey],
) -> Result<Changes> {
    let counted = tx.simple(&count_sql(run_id, columns, keys)).await;
    counted
        .and_then(|rows| named_json(&rows, "changes"))
        .map_err(|fault| fault.error("could not count what would change"))
}

/// For the comparison of whole tables.
pub(super) const WORK_MEM: &str = "128MB";

/// The condition that the book `alias` is not in the stage.
pub(super) fn only_in_target(run_id: i64, alias: &str) -> String {
    let key = quoted(KEY);
    format!(
        "NOT EXISTS (SELECT FROM dewey_sync.stage s WHERE s.run_id = {run_id} AND s.{key} = {alias}.{key}::text)"
    )
}

/// The condition that the stage has another value for one of these columns, as the server quotes them, of the book `alias`.
pub(super) fn changes_in(run_id: i64, columns: &CopiedColumns, alias: &str, names: &[String]) -> String {
    let compared = columns.iter().chain([OWNER]);
    let compared: Vec<Column> =
        compared.filter(|column| names.iter().any(|name| names_column(name, *column))).collect();
    format!(
        "EXISTS (SELECT FROM dewey_sync.stage s WHERE s.run_id = {run_id} AND s.{key} = {alias}.{key}::text AND {differs})",
        key = quoted(KEY),
        differs = differs_in(&compared, alias),
    )
}

/// Whether the server's identifier is that of `column`.
pub(super) fn names_column(identifier: &str, column: Column) -> bool {
    identifier.trim_matches('"') == column.as_str()
}

/// The condition that a book `b` differs from its stage row `s`, in the values that the fingerprint covers.
pub(super) fn differs(columns: &CopiedColumns) -> String {
    differs_in(&columns.iter().chain([OWNER]).collect::<Vec<_>>(), "b")
}

fn differs_in(compared: &[Column], alias: &str) -> String {
    // To a collation of development's, texts that differ may be equal.
    let of_book = compared.iter().map(|column| {
        let compared_as = book::comparable_type(*column);
        let collation = if compared_as.starts_with("text") { r#" COLLATE "C""# } else { "" };
        format!("{alias}.{}::{compared_as}{collation}", quoted(*column))
    });
    let staged = compared.iter().map(|c| format!("s.{}", quoted(*c)));
    let [of_book, staged] = [of_book.collect::<Vec<_>>(), staged.collect()].map(|terms| terms.join(", "));
    format!("({of_book}) IS DISTINCT FROM ({staged})")
}

/// A query for what keeps books of the stage from being in a table with unique keys together; its row has the column
/// `duplicates`, with at most ten groups of source ids. Few keys come twice, so that only theirs are sorted.
pub(super) fn duplicates_sql(run_id: i64) -> String {
    let groups = |column: Column, forbidden: &str| {
        format!(
            "SELECT string_agg(source_id::text, ', ' ORDER BY source_id) || ' ({name})' FROM dewey_sync.stage
   WHERE run_id = {run_id} AND {forbidden} AND {column} IN (SELECT {column} FROM dewey_sync.stage WHERE run_id = {run_id}
     GROUP BY {column} HAVING count(*) > 1) GROUP BY {column}",
            name = sea_orm::IdenStatic::as_str(&column),
            column = quoted(column),
        )
    };
    format!(
        "SELECT coalesce(json_agg(ids), '[]')::text AS duplicates FROM ({}
  UNION ALL {} LIMIT 10) AS equal (ids)",
        groups(KEY, "true"),
        groups(OTHER_KEY, &is_unique_now(OTHER_KEY))
    )
}

/// The condition that the book table forbids equal values of `column`; where nothing does, as in a table that is partitioned by
/// another column, they are copied as production has them.
fn is_unique_now(column: Column) -> String {
    format!(
        "EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
         WHERE indrelid = to_regclass({}) AND attname = {} AND indnkeyatts = 1 AND indisunique AND indisvalid AND indpred IS NULL)",
        literal(TABLE),
        literal(sea_orm::IdenStatic::as_str(&column)),
    )
}

/// Stops when [`duplicates_sql`] found some.
///
/// # Errors
/// [`Kind::NotCompleted`]; the hint names the books.
pub(super) fn refuse_duplicates(groups: &[String]) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::NotCompleted, "could not apply the staged books")
        .because("a value that is unique in the target comes more than once")
        .hint(format!("these source books have a unique value in common: {}", groups.join("; "))))
}

/// Reads the JSON text in the column `name`, which one row of a query of several statements has.
pub(super) fn named_json<T: for<'de> Deserialize<'de>>(rows: &[PgRow], name: &str) -> Result<T, Fault> {
    let text = rows.iter().find_map(|row| row.try_get::<String, _>(name).ok());
    let text = text.ok_or_else(|| Fault::client("a question about the stage was not answered"))?;
    serde_json::from_str(&text).map_err(|error| Fault::unreadable(&error))
}
