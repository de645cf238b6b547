//! What the stage would change: books new, changed, only in the target, unchanged, and the rows that reference those that are deleted.

use sea_orm::IdenStatic;
use serde::{Deserialize, Serialize};

use crate::book::{self, Column, CopiedColumns, KEY, OWNER, PRIVATE, TABLE, VISIBILITY, quoted};
use crate::dependents::{Dependents, Fate, ForeignKey, Reach, Which, Writes};
use crate::error::Result;
use crate::postgres::Tx;
use crate::postgres::query::Query;

/// Books by what becomes of them, in the words of every command's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BookChanges {
    /// Only in the source, or put back by an undo.
    pub added: u64,
    /// In both, with another value or owner.
    pub changed: u64,
    /// Only in the target.
    pub deleted: u64,
    /// Equal in both.
    pub unchanged: u64,
}

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

/// What the stage of a run would change in the books, whose dependents are reached through `keys`. One pass over both: a sort
/// or a hash of a hundred thousand books does not fit the default.
pub(super) fn counted(run_id: i64, columns: &CopiedColumns, keys: &[ForeignKey]) -> Query<'static, Changes> {
    let reach = Reach::of(keys, Writes::Copies(columns));
    let dependents = reach.map(|reach| {
        reach.counted(&Which {
            deleted: Some(&|alias| only_in_target(run_id, alias)),
            changed: &|alias, names| changes_in(run_id, columns, alias, names),
        })
    });
    let sql = format!(
        "SET LOCAL work_mem = '{WORK_MEM}';
SELECT json_build_object('new', new, 'changed', changed, 'unchanged', found - changed,
 'removed', greatest((SELECT count(*) FROM {TABLE}) - found, 0), 'private', private, 'dependents', {dependents})::text
FROM (SELECT count(*) FILTER (WHERE b.id IS NULL) AS new, count(b.id) AS found,
  count(*) FILTER (WHERE b.id IS NOT NULL AND differs) AS changed,
  count(*) FILTER (WHERE (b.id IS NULL OR differs) AND s.{visibility} = '{PRIVATE}') AS private
  FROM dewey_sync.stage s LEFT JOIN {TABLE} b ON b.{key}::text = s.{key} CROSS JOIN LATERAL (SELECT {differs} AS differs) compared
  WHERE s.run_id = {run_id}) counted",
        key = quoted(KEY),
        visibility = quoted(VISIBILITY),
        differs = differs(columns),
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
    );
    Query::json(sql)
}

/// Asks [`counted`] in an open transaction on the target.
pub(super) async fn count(
    tx: &Tx<'_>,
    run_id: i64,
    columns: &CopiedColumns,
    keys: &[ForeignKey],
) -> Result<Changes> {
    let counted = tx.ask(counted(run_id, columns, keys)).await;
    counted.map_err(|fault| fault.error("could not count what would change"))
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

/// What was agreed to, at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Books that go; `None` is any number.
    pub removed: Option<u64>,
    /// Rows that go along or lose their reference; `None` is any number.
    pub dependents: Option<Vec<Dependents>>,
}

impl Agreed {
    /// Whether nothing would go that was not agreed to.
    pub fn covers(&self, changes: &Changes) -> bool {
        let removed = self.removed.is_none_or(|most| changes.removed <= most);
        let dependents = self.dependents.as_ref().is_none_or(|agreed| {
            changes.dependents.iter().filter(|found| found.fate != Fate::Blocking).all(|found| {
                let same = |most: &&Dependents| most.table == found.table && most.fate == found.fate;
                found.rows <= agreed.iter().find(same).map_or(0, |most| most.rows)
            })
        });
        removed && dependents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependents(table: &str, fate: Fate, rows: u64) -> Dependents {
        Dependents { table: table.into(), fate, rows }
    }

    #[test]
    fn agreed_is_what_was_announced_and_less() {
        let changes = |removed, dependents| Changes { removed, dependents, ..Changes::default() };
        // A table may lose rows through one key and references through another.
        let most = vec![
            dependents("entry", Fate::Removed, 3),
            dependents("list", Fate::Removed, 3),
            dependents("list", Fate::Detached, 5),
        ];
        let agreed = Agreed { removed: Some(2), dependents: Some(most) };
        for (removed, found, covered) in [
            (2, vec![dependents("entry", Fate::Removed, 3)], true),
            (0, vec![], true),
            (3, vec![], false),
            (2, vec![dependents("entry", Fate::Removed, 4)], false),
            (2, vec![dependents("entry", Fate::Detached, 1)], false),
            (2, vec![dependents("note", Fate::Removed, 1)], false),
            (2, vec![dependents("note", Fate::Removed, 0)], true),
            (2, vec![dependents("list", Fate::Removed, 4)], false),
            (2, vec![dependents("list", Fate::Detached, 4)], true),
        ] {
            assert_eq!(agreed.covers(&changes(removed, found.clone())), covered, "{removed} {found:?}");
        }
        let any = Agreed::default();
        assert!(any.covers(&changes(9, vec![dependents("note", Fate::Removed, 9)])));
    }
}
