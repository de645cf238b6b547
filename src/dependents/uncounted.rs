//! Where the server counts nothing (`track_counts` is off, which only a superuser can do), the rows of the tables that foreign
//! keys reach are counted before and after the writes. What triggers do to other tables goes unseen then, and a sync says so.

use std::collections::BTreeMap;

use serde::Deserialize;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{ForeignKey, Reach, Writes};
use crate::postgres::query::Query;
use crate::postgres::{Effect, Effects, Fault, literal};

/// The notice of a target that does not count.
pub const NOT_COUNTED: &str = "the target counts no rows (`track_counts` is off): only tables that foreign keys reach are counted, \
     what triggers do to others is not seen";

/// A transaction that counts by itself.
pub(crate) struct Counting {
    before: Counts,
    query: String,
}

impl Counting {
    /// Counts before its writes; `None` where the server counts.
    pub(crate) fn begin(keys: &[ForeignKey]) -> Query<'static, Option<Self>> {
        let query = query(keys);
        Query::last_row(format!("SELECT {query}"), |row| {
            Ok(counts(row, 0)?.map(|before| Self { before, query }))
        })
    }

    /// So many rows and references of `table` come back by the writes themselves, whose loss would not show otherwise.
    pub(crate) fn expect(&mut self, table: &str, rows: u64, references: u64) {
        if let Some((known_rows, known_references)) = self.before.0.get_mut(table) {
            *known_rows += rows;
            *known_references += references;
        }
    }

    /// Puts what is lost since then into `effects`, of which the server knows nothing. The column `at` of `row` has the answer to
    /// [`query_of`].
    pub(crate) fn complete(&self, effects: &mut Effects, row: &PgRow, at: usize) -> Result<(), Fault> {
        if let Some(after) = counts(row, at)? {
            effects.others = self.before.losses(&after);
        }
        Ok(())
    }
}

fn counts(row: &PgRow, at: usize) -> Result<Option<Counts>, Fault> {
    let text: Option<String> = row.try_get(at)?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| Fault::unreadable(&error))
}

/// An expression for the counts after the writes, which counts nothing where the server does.
pub(crate) fn query_of(counting: Option<&Counting>) -> &str {
    counting.map_or("NULL::text", |counting| &counting.query)
}

/// Rows and references by table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
struct Counts(BTreeMap<String, (u64, u64)>);

/// A scalar expression of text: the counts as JSON, NULL where the server counts itself.
fn query(keys: &[ForeignKey]) -> String {
    let reach = Reach::of(keys, Writes::Anything);
    let tables = reach.iter().flat_map(Reach::tables).map(|table| {
        let of_table = keys.iter().filter(|key| key.table.root == table);
        let columns = of_table.flat_map(|key| &key.columns).map(|column| format!("count({column})"));
        let columns: Vec<String> = columns.chain(["0".into()]).collect();
        let counted = format!("(SELECT json_build_array(count(*), {}) FROM {table})", columns.join(" + "));
        format!("json_build_object('table', {}, 'counts', {counted})", literal(table))
    });
    let tables: Vec<String> = tables.collect();
    format!(
        "(SELECT json_object_agg(t ->> 'table', t -> 'counts') FROM unnest(CASE current_setting('track_counts') WHEN 'off'
  THEN ARRAY[{}]::json[] END) t)::text",
        tables.join(", ")
    )
}

impl Counts {
    /// What is lost of `self` in `after`.
    fn losses(&self, after: &Self) -> Vec<Effect> {
        let lost = |(table, (rows, references)): (&String, &(u64, u64))| {
            let (rows_now, references_now) = after.0.get(table).copied().unwrap_or_default();
            let deleted = rows.saturating_sub(rows_now);
            let updated = if deleted == 0 { references.saturating_sub(references_now) } else { 0 };
            Effect { table: table.clone(), deleted, updated, inserted: 0 }
        };
        self.0.iter().map(lost).filter(Effect::is_loss).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> Counts {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn rows_and_references_that_are_fewer_are_losses() {
        let before = counts(r#"{"entry": [5, 5], "loan": [4, 3], "note": [2, 2]}"#);
        let after = counts(r#"{"entry": [3, 3], "loan": [4, 1], "note": [2, 2]}"#);
        let losses: Vec<_> =
            before.losses(&after).into_iter().map(|e| (e.table, e.deleted, e.updated)).collect();
        assert_eq!(losses, [("entry".to_owned(), 2, 0), ("loan".to_owned(), 0, 2)]);
    }
}
