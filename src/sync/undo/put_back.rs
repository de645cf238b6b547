//! The work of an undo inside its transaction: it looks, changes, and proves what it did.

use std::collections::BTreeMap;

use super::attach::{Attached, References};
use super::kept::KeptTable;
use super::look::{Undoable, look, looking, state};
use super::restore::{inserted, not_as_they_were, restore};
use super::undone::{Undo, nothing_to_undo};
use crate::book::TABLE;
use crate::dependents::uncounted::{Counting, query_of};
use crate::dependents::{Agreement, Dependents, Fate, ForeignKey, Reach, Which, Writes, check};
use crate::error::{Error, Kind, Result};
use crate::ledger::replaced::Generation;
use crate::postgres::query::Query;
use crate::postgres::{Effect, Effects, Fault, Tx};
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
    let mut found = look(tx, generation.ok_or_else(nothing_to_undo)?).await?;
    let counting = found.counting.take();
    let Undoable { generation, tables, keys, .. } = &found;
    let undo = count(tx, generation, keys).await.map_err(looking)?;
    check(&undo.lost, Agreement::ByQuestion)?;
    let references = References::of(generation.run_id, tables, keys);
    let restored = restore(tx, generation, tables, keys, &references).await;
    restored.map_err(|fault| not_restored(fault, generation.run_id, keys))?;
    let (attached, reading) = verify(tx, generation, tables, &references).await?;
    let attached: AttachedByTable<'_> = references.iter().map(References::table).zip(attached).collect();
    let effects = effects(tx, &reading, tables, &attached, counting).await.map_err(verifying)?;
    let lost = Losses::of(&effects, undo.removed)?.as_dependents();
    let elsewhere = inserted_elsewhere(&effects);
    let undo = Undo { lost, regained: regained(tables, &attached), elsewhere, ..undo };
    let going = Changes { removed: undo.removed, dependents: undo.lost.clone(), ..Changes::default() };
    if !agreed.covers(&going) {
        return Err(found
            .refused("more would be lost by now than was agreed to".into())
            .hint("run `dewey-sync undo` again"));
    }
    Ok(PutBack { undo, reading })
}

/// The proof that everything is as it was; what became of the references, and the server's reading of what was done.
async fn verify(
    tx: &Tx<'_>,
    generation: &Generation,
    tables: &[KeptTable],
    references: &[References<'_>],
) -> Result<(Vec<Attached>, String)> {
    let now = state(tx).await.map_err(verifying)?;
    let compared = not_as_they_were(tx, generation.run_id, tables, references).await;
    let (lost, attached, reading) = compared.map_err(verifying)?;
    if now == generation.before && lost == 0 {
        return Ok((attached, reading));
    }
    let (then, now) = (generation.before.rows, now.rows);
    Err(Error::new(Kind::Differs, "what was put back is not equal to what there was")
        .because(format!("books then: {then}, now: {now}, dependent rows that differ: {lost}"))
        .hint(OTHER_WRITER))
}

fn verifying(fault: Fault) -> Error {
    fault.error("could not verify what was put back")
}

/// What was done besides the work of the undo itself.
async fn effects(
    tx: &Tx<'_>,
    reading: &str,
    tables: &[KeptTable],
    attached: &AttachedByTable<'_>,
    counting: Option<Counting>,
) -> Result<Effects, Fault> {
    let effects = Effects::from_json(reading).map_err(|error| Fault::unreadable(&error))?;
    let mut effects = own_work_left_out(effects, tables, attached);
    if let Some(mut counting) = counting {
        for table in tables {
            let attached = attached.get(table.name.as_str()).map_or(0, |attached| attached.rows);
            counting.expect(&table.name, table.deleted, attached);
        }
        let query = format!("SELECT {}", query_of(Some(&counting)));
        tx.ask(Query::last_row(query, |row| counting.complete(&mut effects, row, 0))).await?;
    }
    Ok(effects)
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
