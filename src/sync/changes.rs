//! What the stage would change: books new, changed, only in the target, unchanged, and what hangs on those that go.

use serde::{Deserialize, Serialize};

use super::facts::{foreign_keys, from_json};
use super::guard::dependents::{Dependents, ForeignKey, Reach};
use crate::book::{self, Column, CopiedColumns, KEY, OTHER_KEY, OWNER, PRIVATE, TABLE, VISIBILITY, quoted};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Tx};

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

/// Compares the stage of a run with the books, in any open transaction on the target.
pub async fn count(tx: &Tx<'_>, run_id: i64, columns: &CopiedColumns) -> Result<Changes> {
    let counting = |fault: Fault| fault.error("could not count what would change");
    let keys = read_foreign_keys(tx).await.map_err(counting)?;
    let dependents = Reach::of(&keys).map(|reach| reach.counted(Some(&only_in_target(run_id))));
    // One pass over both; a sort or a hash of a hundred thousand books does not fit the default.
    let query = format!(
        "SET LOCAL work_mem = '{WORK_MEM}';
SELECT json_build_object('new', new, 'changed', changed, 'unchanged', found - changed,
 'removed', (SELECT count(*) FROM {TABLE}) - found, 'private', private, 'dependents', {dependents})::text
FROM (SELECT count(*) FILTER (WHERE b.id IS NULL) AS new, count(b.id) AS found,
  count(*) FILTER (WHERE b.id IS NOT NULL AND differs) AS changed,
  count(*) FILTER (WHERE (b.id IS NULL OR differs) AND s.{visibility} = '{PRIVATE}') AS private
  FROM dewey_sync.stage s LEFT JOIN {TABLE} b ON b.{key} = s.{key} CROSS JOIN LATERAL (SELECT {differs} AS differs) compared
  WHERE s.run_id = {run_id}) counted",
        key = quoted(KEY),
        visibility = quoted(VISIBILITY),
        differs = differs(columns),
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
    );
    from_json(&tx.simple(&query).await.map_err(counting)?).map_err(counting)
}

/// For the comparison of whole tables.
pub(super) const WORK_MEM: &str = "128MB";

/// Every foreign key, as this transaction sees them: they may have changed since the guards looked.
pub(super) async fn read_foreign_keys(tx: &Tx<'_>) -> Result<Vec<ForeignKey>, Fault> {
    let rows = tx.simple(&format!("SELECT coalesce({}, '[]')::text", foreign_keys())).await?;
    from_json(&rows)
}

/// The condition that a book `b` is not in the stage.
pub(super) fn only_in_target(run_id: i64) -> String {
    let key = quoted(KEY);
    format!("NOT EXISTS (SELECT FROM dewey_sync.stage s WHERE s.run_id = {run_id} AND s.{key} = b.{key})")
}

/// The condition that a book `b` differs from its stage row `s`, in the values that the fingerprint covers.
pub(super) fn differs(columns: &CopiedColumns) -> String {
    let compared: Vec<Column> = columns.iter().chain([OWNER]).collect();
    let of_book = compared.iter().map(|c| format!("b.{}::{}", quoted(*c), book::comparable_type(*c)));
    let staged = compared.iter().map(|c| format!("s.{}", quoted(*c)));
    let [of_book, staged] = [of_book.collect::<Vec<_>>(), staged.collect()].map(|terms| terms.join(", "));
    format!("({of_book}) IS DISTINCT FROM ({staged})")
}

/// Stops when books of the stage cannot all be in a table with unique keys.
///
/// # Errors
/// [`Kind::NotCompleted`]; the hint names at most ten groups by their source ids.
pub async fn duplicates(tx: &Tx<'_>, run_id: i64) -> Result<()> {
    let groups = |column: Column| {
        format!(
            "SELECT string_agg(source_id::text, ', ' ORDER BY source_id) || ' ({name})' FROM dewey_sync.stage \
             WHERE run_id = {run_id} GROUP BY {column} HAVING count(*) > 1",
            name = sea_orm::IdenStatic::as_str(&column),
            column = quoted(column),
        )
    };
    let query = format!(
        "SELECT coalesce(json_agg(ids), '[]')::text FROM ({} UNION ALL {} LIMIT 10) AS equal (ids)",
        groups(KEY),
        groups(OTHER_KEY)
    );
    let looking = |fault: Fault| fault.error("could not look for duplicates among the staged books");
    let groups: Vec<String> = from_json(&tx.simple(&query).await.map_err(looking)?).map_err(looking)?;
    if groups.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::NotCompleted, "could not apply the staged books")
        .because("a value that is unique in the target comes more than once")
        .hint(format!("these source books have a unique value in common: {}", groups.join("; "))))
}
