//! Every reason against an undo that can be found before anything is written.

use std::collections::BTreeSet;

use super::kept::KeptTable;
use super::restore::kept_tables;
use crate::book::TABLE;
use crate::dependents::uncounted::Counting;
use crate::dependents::{ForeignKey, Reach, Writes, current as foreign_keys};
use crate::error::{Error, Kind, Result};
use crate::ledger::replaced::Generation;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::query::Query;
use crate::postgres::{Fault, Fingerprint, Tx};
use crate::preflight::catalog::triggers::Trigger;
use crate::preflight::catalog::triggers_sql;
use crate::preflight::guard::triggers;
use crate::sync::book_table::lock_sql;

/// A generation that can be put back, and what is needed for it.
pub(super) struct Undoable {
    pub(super) generation: Generation,
    /// Of which rows were kept.
    pub(super) tables: Vec<KeptTable>,
    /// The target's foreign keys.
    pub(super) keys: Vec<ForeignKey>,
    /// Where the server does not count.
    pub(super) counting: Option<Counting>,
}

/// Looks at what was kept and at what there is now, and locks the other tables that are written.
///
/// # Errors
/// [`Kind::Refused`] when something has changed that the undo depends on.
pub(super) async fn look(tx: &Tx<'_>, generation: Generation) -> Result<Undoable> {
    let tables = kept_tables(tx, generation.run_id).await.map_err(looking)?;
    let mut found = Undoable { generation, tables, keys: Vec::new(), counting: None };
    found.check_tables()?;
    found.keys = tx.ask(foreign_keys::query()).await.map_err(looking)?;
    triggers::check(&found.keys)?;
    if found.generation.not_undone.is_none()
        && let Some(unseen) = unseen_by_older_versions(tx, &found.keys).await.map_err(looking)?
    {
        return Err(
            found.refused(format!("an older version applied it, which did not know what {unseen} does"))
        );
    }
    let locked = tx.ask((Query::silent(found.lock_sql()), Counting::begin(&found.keys))).await;
    ((), found.counting) = locked.map_err(looking)?;
    found.check_books(state(tx).await.map_err(looking)?)?;
    Ok(found)
}

impl Undoable {
    pub(super) fn refused(&self, cause: String) -> Error {
        let run_id = self.generation.run_id;
        Error::new(Kind::Refused, format!("could not undo run {run_id}")).because(cause)
    }

    fn check_tables(&self) -> Result<()> {
        if let Some(table) = self.tables.iter().find(|table| !table.same) {
            let name = &table.name;
            return Err(self.refused(format!("the columns of `{name}` are not those that it had then")));
        }
        let finds_no_rows =
            |table: &&KeptTable| table.name != TABLE && table.detached > 0 && table.has_no_key();
        if let Some(table) = self.tables.iter().find(finds_no_rows) {
            let name = &table.name;
            return Err(self.refused(format!("`{name}` has no primary key by which its rows could be found")));
        }
        Ok(())
    }

    /// Nobody has changed them since the sync.
    fn check_books(&self, now: Fingerprint) -> Result<()> {
        let after = self.generation.after;
        if now == after {
            return Ok(());
        }
        let cause = if now.rows == after.rows {
            format!("`{TABLE}` was changed since: its rows or columns are not as the sync left them")
        } else {
            format!(
                "`{TABLE}` was changed since: the sync left {} books and there are {}",
                after.rows, now.rows
            )
        };
        Err(self.refused(cause).hint("the next `dewey-sync sync` brings the books of production again"))
    }

    /// A statement that locks every other table that may be written.
    fn lock_sql(&self) -> String {
        let reach = Reach::of(&self.keys, Writes::Anything);
        let kept = self.tables.iter().map(|table| table.name.as_str()).filter(|name| *name != TABLE);
        let reached = reach.as_ref().map(Reach::tables).unwrap_or_default();
        let written: BTreeSet<&str> = reached.into_iter().chain(kept).collect();
        let written: Vec<&str> = written.into_iter().collect();
        if written.is_empty() { "SELECT".into() } else { lock_sql(&written) }
    }
}

pub(super) fn looking(fault: Fault) -> Error {
    fault.error("could not look at what the sync replaced")
}

/// A foreign key or trigger of a kind that versions before the measurement did not look for.
async fn unseen_by_older_versions(tx: &Tx<'_>, keys: &[ForeignKey]) -> Result<Option<String>, Fault> {
    let is_unseen = |key: &&ForeignKey| {
        let of_a_part = key.references.name != key.references.root;
        key.references.is_book && (key.table.is_book || key.follows_books() || of_a_part)
    };
    if let Some(key) = keys.iter().find(is_unseen) {
        return Ok(Some(format!("the foreign key `{}` of `{}`", key.name, key.table.name)));
    }
    let triggers: Vec<Trigger> = tx.ask(Query::json(triggers_sql())).await?;
    Ok(triggers.first().map(|trigger| format!("the {trigger} of `{TABLE}`")))
}

/// The whole rows of all books.
pub(super) async fn state(tx: &Tx<'_>) -> Result<Fingerprint, Fault> {
    let digest = record_digest("b.*");
    let rows =
        tx.simple(&format!("SELECT count(*), coalesce(sum({digest}), 0)::text FROM {TABLE} b")).await?;
    rows.first().map_or_else(|| Err(Fault::client("no digest")), |row| Fingerprint::from_row(row, 0))
}
