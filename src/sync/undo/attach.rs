//! References of rows of other tables, back to what they were before the sync.
//!
//! Invariant: only a column that is still as the sync left it is set. That is decided before the undo writes anything, because
//! its own writes may change the same columns again. What an older version kept tells no such thing: there a reference counts
//! as given anew if it was emptied and is not empty any more.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::kept::KeptTable;
use crate::book::TABLE;
use crate::dependents::ForeignKey;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::literal;

/// The condition that a row `t` was written by this transaction.
const WRITTEN: &str = "age(t.xmin) <= 0";

/// What became of the rows of one table of which a sync had taken or changed references.
#[derive(Debug, Deserialize)]
pub(super) struct Attached {
    /// Rows that have a reference again.
    pub(super) rows: u64,
    /// Rows of the table that were written, whoever's they are.
    written: u64,
    /// Those among them of which a reference was kept.
    kept: u64,
    /// Those among these that have changed otherwise than by the references that come back.
    otherwise: u64,
}

impl Attached {
    /// How many rows changed that should not; so many others of the table were `inserted`.
    pub(super) fn changed_beyond(&self, inserted: u64) -> u64 {
        self.otherwise + self.written.saturating_sub(self.kept + inserted)
    }
}

/// The references of one table that a sync took away or changed.
#[derive(Debug)]
pub(super) struct References<'a> {
    table: &'a KeptTable,
    generation: i64,
    /// Each with whether the sync may have given it another value, instead of none.
    columns: BTreeMap<&'a str, bool>,
}

impl<'a> References<'a> {
    /// Those of every table whose keys are still there.
    pub(super) fn of(generation: i64, tables: &'a [KeptTable], keys: &'a [ForeignKey]) -> Vec<Self> {
        let changed = tables.iter().filter(|table| table.name != TABLE && table.detached > 0);
        let references = changed.map(|table| {
            let came_back = |key: &&ForeignKey| {
                key.table.root == table.name
                    && (key.references.is_book
                        || tables.iter().any(|parent| parent.name == key.references.root))
            };
            // Several keys may have a column: one that gave it another value decides.
            let mut columns: BTreeMap<&str, bool> = BTreeMap::new();
            for key in keys.iter().filter(came_back) {
                for column in key.columns.iter().chain(key.set_on_delete.iter().flatten()) {
                    *columns.entry(column).or_default() |= key.on_delete == 'd' || key.follows_books();
                }
            }
            Self { table, generation, columns }
        });
        references.filter(|references| !references.columns.is_empty()).collect()
    }

    pub(super) fn table(&self) -> &'a str {
        &self.table.name
    }

    /// A statement that notes the columns which are still as the sync left them, after a digest of the row as it will be.
    pub(super) fn choose_sql(&self) -> String {
        let is_as_left = |column: &str| same(&format!("t.{column}"), &format!("(k.left_by_sync).{column}"));
        let unchanged = self.columns.keys().map(|column| {
            let (is_as_left, name) = (is_as_left(column), literal(column));
            format!("CASE WHEN {is_as_left} THEN {name} END")
        });
        let values = self.table.columns.iter().flatten().map(|column| {
            if self.columns.contains_key(column.as_str()) {
                let is_as_left = is_as_left(column);
                format!("CASE WHEN {is_as_left} THEN (k.old).{column} ELSE t.{column} END")
            } else {
                format!("t.{column}")
            }
        });
        let expected = record_digest(&format!("row({})", values.collect::<Vec<_>>().join(", ")));
        format!(
            "UPDATE dewey_sync.replaced r SET chosen = array_remove(ARRAY[({expected})::text, {}], NULL)::text FROM {}
  WHERE r.replaced_id = k.replaced_id AND k.is_known",
            unchanged.collect::<Vec<_>>().join(", "),
            self.rows(),
        )
    }

    /// A statement that sets the chosen ones, and those of which nothing is known.
    pub(super) fn put_back_sql(&self) -> String {
        let values = self.columns.iter().map(|(column, is_replaced)| {
            let unknown = if *is_replaced {
                format!("(k.old).{column}")
            } else {
                format!("coalesce(t.{column}, (k.old).{column})")
            };
            let value = format!(
                "CASE WHEN NOT k.is_known THEN {unknown} WHEN {} THEN (k.old).{column} ELSE t.{column} END",
                is_chosen(column)
            );
            (column, value)
        });
        let values: Vec<_> = values.collect();
        let set = values.iter().map(|(column, value)| format!("{column} = {value}"));
        let changes =
            values.iter().map(|(column, value)| format!("NOT {}", same(&format!("t.{column}"), value)));
        let Self { table: KeptTable { name, own_rows, .. }, .. } = self;
        format!(
            "UPDATE {own_rows}{name} t SET {} FROM {} WHERE {} AND ({})",
            set.collect::<Vec<_>>().join(", "),
            self.kept(),
            self.is_same_row(),
            changes.collect::<Vec<_>>().join(" OR "),
        )
    }

    /// A scalar expression, when everything is written: [`Attached`] as JSON. A row that this transaction wrote has its number,
    /// or that of one of its savepoints.
    pub(super) fn counted(&self) -> String {
        let columns = || self.columns.keys();
        let again = columns().map(|column| same(&format!("t.{column}"), &format!("(k.old).{column}")));
        let again = again.collect::<Vec<_>>().join(" AND ");
        let set = columns().map(|column| {
            let unchanged = same(&format!("(k.left_by_sync).{column}"), &format!("(k.old).{column}"));
            format!("{} AND NOT {unchanged}", is_chosen(column))
        });
        let set = set.collect::<Vec<_>>().join(" OR ");
        let now = self.table.columns.iter().flatten().map(|column| format!("t.{column}"));
        let now = record_digest(&format!("row({})", now.collect::<Vec<_>>().join(", ")));
        let KeptTable { name, own_rows, .. } = self.table;
        format!(
            "(SELECT json_build_object('rows', count(*) FILTER (WHERE CASE WHEN k.is_known THEN {set} ELSE {again} END),
    'kept', count(*) FILTER (WHERE {WRITTEN}), 'otherwise', count(*) FILTER (WHERE {WRITTEN} AND CASE
      WHEN NOT k.is_known THEN NOT ({again}) ELSE k.chosen[1] IS DISTINCT FROM ({now})::text END),
    'written', (SELECT count(*) FROM {own_rows}{name} t WHERE {WRITTEN})) FROM {})",
            self.rows(),
        )
    }

    /// The kept rows `k`, each with the row `t` that it is now.
    fn rows(&self) -> String {
        let KeptTable { name, own_rows, .. } = self.table;
        format!("{} JOIN {own_rows}{name} t ON {}", self.kept(), self.is_same_row())
    }

    /// Not pulled up, or each column would read the row anew.
    fn kept(&self) -> String {
        let Self { table: KeptTable { name, .. }, generation, .. } = self;
        format!(
            "(SELECT r.replaced_id, r.left_row IS NOT NULL AS is_known, r.row::{name} AS old, r.left_row::{name} AS left_by_sync,
     r.chosen::text[] AS chosen FROM dewey_sync.replaced r
   WHERE r.run_id = {generation} AND r.action = 'detached' AND r.table_name = {} OFFSET 0) k",
            literal(name)
        )
    }

    fn is_same_row(&self) -> String {
        let keys = self.table.key.iter().flatten();
        let keys = keys.map(|column| same(&format!("t.{column}"), &format!("(k.old).{column}")));
        keys.collect::<Vec<_>>().join(" AND ")
    }
}

/// The condition that two values are stored alike. The operators of their type may be in a schema that the search path does not
/// have.
fn same(one: &str, other: &str) -> String {
    format!("(ROW({one})::record OPERATOR(pg_catalog.*=) ROW({other})::record)")
}

fn is_chosen(column: &str) -> String {
    format!("{} = ANY (k.chosen)", literal(column))
}
