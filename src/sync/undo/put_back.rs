//! The work of an undo inside its transaction: every reason against it looked for, then the change, then the proof.

use std::collections::BTreeSet;

use sqlx::postgres::PgRow;

use super::restore::{KeptTable, inserted, kept_tables, not_as_they_were, restore};
use super::{Undo, nothing_to_undo};
use crate::book::TABLE;
use crate::error::{Error, Kind, Result};
use crate::ledger::replaced::Generation;
use crate::postgres::fingerprint::record_digest;
use crate::postgres::{Fault, Fingerprint, Tx};
use crate::sync::apply::{Agreed, lock};
use crate::sync::changes::Changes;
use crate::sync::facts::from_json;
use crate::sync::foreign_keys;
use crate::sync::guard::dependents::{Agreement, Dependents, Fate, ForeignKey, Reach, check};
use crate::sync::strategy::OTHER_WRITER;

/// Makes the books what they were, in an open transaction that has the books to itself; `rows` hold the generation.
pub(super) async fn put_back(tx: &Tx<'_>, rows: &[PgRow], agreed: &Agreed) -> Result<Undo> {
    let looking = |fault: Fault| fault.error("could not look at what the sync replaced");
    let generation = Generation::find(rows).map_err(looking)?.ok_or_else(nothing_to_undo)?;
    let refused = |cause: String| {
        Error::new(Kind::Refused, format!("could not undo run {}", generation.run_id)).because(cause)
    };
    let tables = kept_tables(tx, generation.run_id).await.map_err(looking)?;
    if let Some(table) = tables.iter().find(|table| !table.same) {
        let name = &table.name;
        return Err(refused(format!("the columns of `{name}` are not those that it had then")));
    }
    if let Some(table) = tables.iter().find(|table| table.detached > 0 && table.has_no_key()) {
        let name = &table.name;
        return Err(refused(format!("`{name}` has no primary key by which its rows could be found")));
    }
    let keys = foreign_keys::read(tx).await.map_err(looking)?;
    let reach = Reach::of(&keys);
    let kept = tables.iter().map(|table| table.name.as_str()).filter(|name| *name != TABLE);
    let reached = reach.as_ref().map(Reach::tables).unwrap_or_default();
    let written: BTreeSet<&str> = reached.into_iter().chain(kept).collect();
    lock(tx, &written.into_iter().collect::<Vec<_>>()).await.map_err(looking)?;
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
    let undo = count(tx, generation, &tables, reach.as_ref()).await.map_err(looking)?;
    check(&undo.lost, Agreement::ByQuestion)?;
    let going = Changes { removed: undo.removed, dependents: undo.lost.clone(), ..Changes::default() };
    if !agreed.covers(&going) {
        return Err(refused("more would be lost by now than was agreed to".into())
            .hint("run `dewey-sync undo` again"));
    }
    let restored = restore(tx, generation, &tables, &keys).await;
    restored.map_err(|fault| not_restored(fault, generation.run_id, &keys))?;
    let verifying = |fault: Fault| fault.error("could not verify what was put back");
    let found = state(tx).await.map_err(verifying)?;
    let lost = not_as_they_were(tx, generation.run_id, &tables).await.map_err(verifying)?;
    if found != generation.before || lost > 0 {
        let cause = format!(
            "books then: {}, now: {}, dependent rows that differ: {lost}",
            generation.before.rows, found.rows
        );
        let doing = "what was put back is not equal to what there was";
        return Err(Error::new(Kind::Differs, doing).because(cause).hint(OTHER_WRITER));
    }
    Ok(undo)
}

/// The whole rows of all books.
async fn state(tx: &Tx<'_>) -> Result<Fingerprint, Fault> {
    let digest = record_digest("b.*");
    let rows =
        tx.simple(&format!("SELECT count(*), coalesce(sum({digest}), 0)::text FROM {TABLE} b")).await?;
    rows.first().map_or_else(|| Err(Fault::client("no digest")), |row| Fingerprint::from_row(row, 0))
}

async fn count(
    tx: &Tx<'_>,
    generation: Generation,
    tables: &[KeptTable],
    reach: Option<&Reach<'_>>,
) -> Result<Undo, Fault> {
    let Generation { run_id, before, after } = generation;
    let lost = reach.map(|reach| reach.counted(Some(&inserted(generation))));
    let sql = format!(
        "SELECT json_build_array(count(*) FILTER (WHERE action = 'inserted'),
  count(*) FILTER (WHERE action = 'deleted' AND place = 0), count(*) FILTER (WHERE action = 'updated'), {})::text
FROM dewey_sync.replaced WHERE run_id = {run_id}",
        lost.as_deref().unwrap_or("json_build_array()")
    );
    let (listed, restored, changed, lost) = from_json(&tx.simple(&sql).await?)?;
    let removed = if before.rows == 0 { after.rows.unsigned_abs() } else { listed };
    let regained = tables.iter().filter(|table| table.name != TABLE).flat_map(|table| {
        let rows = [(Fate::Removed, table.deleted), (Fate::Detached, table.detached)];
        let rows = rows.into_iter().filter(|(_, rows)| *rows > 0);
        rows.map(|(fate, rows)| Dependents { table: table.name.clone(), fate, rows })
    });
    let unchanged = after.rows.unsigned_abs().saturating_sub(removed + changed);
    Ok(Undo { undone: run_id, removed, restored, changed, unchanged, regained: regained.collect(), lost })
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
            let parent = broken.map_or("a table", |key| key.references.as_str());
            refused(format!("rows of `{parent}` are gone, to which rows belong that would come back: {said}"))
        }
        Some("23505") => refused(format!("rows with the same key were added since: {said}")),
        _ => fault.error("could not put back what the sync replaced"),
    }
}
