//! The work of an undo inside its transaction: every reason against it looked for, then the change, then the proof.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::{Attached, References};
use super::kept::KeptTable;
use super::restore::{inserted, kept_tables, not_as_they_were, restore};
use super::undone::{Undo, nothing_to_undo};
use crate::book::TABLE;
use crate::dependents::uncounted::{Counting, query_of};
use crate::dependents::{
    Agreement, Dependents, Fate, ForeignKey, Reach, Which, Writes, check, current as foreign_keys,
};
use crate::error::{Error, Kind, Result};
use crate::ledger::replaced::Generation;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::query::Query;
use crate::postgres::{Effect, Effects, Fault, Fingerprint, Tx};
use crate::preflight::catalog::triggers::Trigger;
use crate::preflight::catalog::triggers_sql;
use crate::preflight::guard::triggers;
use crate::sync::book_table::lock_sql;
use crate::sync::changes::{Agreed, Changes};
use crate::sync::losses::Losses;
use crate::sync::outcome::OTHER_WRITER;

type AttachedByTable<'a> = BTreeMap<&'a str, Attached>;

/// What was put back, and the server's reading of everything that this did.
pub(super) struct PutBack {
    pub(super) undo: Undo,
    pub(super) reading: String,
}

/// Makes the books what they were before the `generation`, in an open transaction that has the books to itself.
pub(super) async fn put_back(
    tx: &Tx<'_>,
    generation: Option<Generation>,
    agreed: &Agreed,
) -> Result<PutBack> {
    let looking = |fault: Fault| fault.error("could not look at what the sync replaced");
    let generation = generation.ok_or_else(nothing_to_undo)?;
    let run_id = generation.run_id;
    let refused =
        |cause: String| Error::new(Kind::Refused, format!("could not undo run {run_id}")).because(cause);
    let tables = kept_tables(tx, run_id).await.map_err(looking)?;
    if let Some(table) = tables.iter().find(|table| !table.same) {
        let name = &table.name;
        return Err(refused(format!("the columns of `{name}` are not those that it had then")));
    }
    let finds_rows = |table: &&KeptTable| table.name != TABLE && table.detached > 0 && table.has_no_key();
    if let Some(table) = tables.iter().find(finds_rows) {
        let name = &table.name;
        return Err(refused(format!("`{name}` has no primary key by which its rows could be found")));
    }
    let keys = tx.ask(foreign_keys::query()).await.map_err(looking)?;
    triggers::check(&keys)?;
    if generation.not_undone.is_none()
        && let Some(unseen) = unseen_by_older_versions(tx, &keys).await.map_err(looking)?
    {
        return Err(refused(format!("an older version applied it, which did not know what {unseen} does")));
    }
    let reach = Reach::of(&keys, Writes::Anything);
    let kept = tables.iter().map(|table| table.name.as_str()).filter(|name| *name != TABLE);
    let reached = reach.as_ref().map(Reach::tables).unwrap_or_default();
    let written: BTreeSet<&str> = reached.into_iter().chain(kept).collect();
    let written: Vec<&str> = written.into_iter().collect();
    let lock = if written.is_empty() { "SELECT".into() } else { lock_sql(&written) };
    let locked = tx.ask((Query::silent(lock), Counting::begin(&keys))).await;
    let ((), mut counting) = locked.map_err(looking)?;
    let now = state(tx).await.map_err(looking)?;
    if now != generation.after {
        return Err(refused(if now.rows == generation.after.rows {
            format!("`{TABLE}` was changed since: its rows or columns are not as the sync left them")
        } else {
            format!(
                "`{TABLE}` was changed since: the sync left {} books and there are {}",
                generation.after.rows, now.rows
            )
        })
        .hint("the next `dewey-sync sync` brings the books of production again"));
    }
    let undo = count(tx, &generation, &keys).await.map_err(looking)?;
    check(&undo.lost, Agreement::ByQuestion)?;
    let references = References::of(run_id, &tables, &keys);
    let restored = restore(tx, &generation, &tables, &keys, &references).await;
    restored.map_err(|fault| not_restored(fault, run_id, &keys))?;
    let verifying = |fault: Fault| fault.error("could not verify what was put back");
    let found = state(tx).await.map_err(verifying)?;
    let (lost, attached, reading) =
        not_as_they_were(tx, run_id, &tables, &references).await.map_err(verifying)?;
    if found != generation.before || lost > 0 {
        let cause = format!(
            "books then: {}, now: {}, dependent rows that differ: {lost}",
            generation.before.rows, found.rows
        );
        let doing = "what was put back is not equal to what there was";
        return Err(Error::new(Kind::Differs, doing).because(cause).hint(OTHER_WRITER));
    }
    let effects = Effects::from_json(&reading).map_err(|error| verifying(Fault::unreadable(&error)))?;
    let attached: AttachedByTable<'_> = references.iter().map(References::table).zip(attached).collect();
    let mut effects = own_work_left_out(effects, &tables, &attached);
    if let Some(counting) = &mut counting {
        for table in &tables {
            let attached = attached.get(table.name.as_str()).map_or(0, |attached| attached.rows);
            counting.expect(&table.name, table.deleted, attached);
        }
        let query = format!("SELECT {}", query_of(Some(counting)));
        let after = tx.ask(Query::last_row(query, |row| counting.complete(&mut effects, row, 0))).await;
        after.map_err(verifying)?;
    }
    let losses = Losses::of(&effects, undo.removed)?;
    let lost = losses.as_dependents();
    let elsewhere = inserted_elsewhere(&effects);
    let undo = Undo { lost, regained: regained(&tables, &attached), elsewhere, ..undo };
    let going = Changes { removed: undo.removed, dependents: undo.lost.clone(), ..Changes::default() };
    if !agreed.covers(&going) {
        return Err(refused("more would be lost by now than was agreed to".into())
            .hint("run `dewey-sync undo` again"));
    }
    Ok(PutBack { undo, reading })
}

/// A row that comes back is an insertion. Where references come back, a row that follows a book is written more than once, and
/// so the rows are counted of which something else changed.
fn own_work_left_out(mut effects: Effects, tables: &[KeptTable], attached: &AttachedByTable<'_>) -> Effects {
    for effect in &mut effects.others {
        let Some(table) = tables.iter().find(|table| table.name == effect.table) else { continue };
        let written = effect.inserted;
        effect.inserted = effect.inserted.saturating_sub(table.deleted);
        if let Some(attached) = attached.get(effect.table.as_str()) {
            effect.updated = attached.changed_beyond(written);
        }
    }
    effects
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
async fn state(tx: &Tx<'_>) -> Result<Fingerprint, Fault> {
    let digest = record_digest("b.*");
    let rows =
        tx.simple(&format!("SELECT count(*), coalesce(sum({digest}), 0)::text FROM {TABLE} b")).await?;
    rows.first().map_or_else(|| Err(Fault::client("no digest")), |row| Fingerprint::from_row(row, 0))
}

async fn count(tx: &Tx<'_>, generation: &Generation, keys: &[ForeignKey]) -> Result<Undo, Fault> {
    let Generation { run_id, before, after, not_undone } = generation;
    let inserted = |alias: &str| inserted(generation, alias);
    let which = Which { deleted: Some(&inserted), changed: &|_, _| "false".into() };
    let lost = Reach::of(keys, Writes::Replaces).map(|reach| reach.counted(&which));
    let sql = format!(
        "SELECT json_build_array(count(*) FILTER (WHERE action = 'inserted'),
  count(*) FILTER (WHERE action = 'deleted' AND place = 0), count(*) FILTER (WHERE action IN ('updated', 'detached') AND place = 0), {})::text
FROM dewey_sync.replaced WHERE run_id = {run_id}",
        lost.as_deref().unwrap_or("json_build_array()")
    );
    let (listed, restored, changed, lost) = tx.ask(Query::json(sql)).await?;
    let removed = if before.rows == 0 { after.rows.unsigned_abs() } else { listed };
    let unchanged = after.rows.unsigned_abs().saturating_sub(removed + changed);
    let not_undone = not_undone.clone().unwrap_or_default();
    // Known when it is done.
    let (regained, elsewhere) = (Vec::new(), Vec::new());
    Ok(Undo { undone: *run_id, removed, restored, changed, unchanged, regained, lost, elsewhere, not_undone })
}

/// What is no loss, and no work of the undo.
fn inserted_elsewhere(effects: &Effects) -> Vec<Effect> {
    let inserted = effects.others.iter().filter(|effect| effect.inserted > 0);
    let only = |effect: &Effect| Effect { deleted: 0, updated: 0, ..effect.clone() };
    inserted.map(only).collect()
}

/// Rows of other tables that are there again, or refer again to what they referred to.
fn regained(tables: &[KeptTable], attached: &AttachedByTable<'_>) -> Vec<Dependents> {
    let rows = tables.iter().filter(|table| table.name != TABLE).flat_map(|table| {
        let attached = attached.get(table.name.as_str()).map_or(0, |attached| attached.rows);
        let rows = [(Fate::Removed, table.deleted), (Fate::Detached, attached)];
        rows.map(|(fate, rows)| Dependents { table: table.name.clone(), fate, rows })
    });
    rows.filter(|back| back.rows > 0).collect()
}

/// What a row that cannot be put back says of the target.
fn not_restored(fault: Fault, run_id: i64, keys: &[ForeignKey]) -> Error {
    let refused = |cause: String| {
        Error::new(Kind::Refused, format!("could not undo run {run_id}"))
            .because(cause)
            .hint("the next `dewey-sync sync` brings the books of production again")
    };
    let said = fault.to_string();
    match fault.sqlstate() {
        Some("23503") => {
            let broken = keys.iter().find(|key| said.contains(&format!("\"{}\"", key.name)));
            let parent = broken.map_or("a table", |key| key.references.root.as_str());
            refused(format!("rows of `{parent}` are gone, to which rows belong that would come back: {said}"))
        }
        Some("23505") => refused(format!("rows with the same key were added since: {said}")),
        Some(code) if code.starts_with("23") => {
            refused(format!("rows or constraints of today forbid it: {said}"))
        }
        _ => fault.error("could not put back what the sync replaced"),
    }
}
