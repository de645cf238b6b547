//! The undo of a sync, after somebody may have done something to the tables: every row is what it was before the sync,
//! but for what was done since and for what the tool says that it cannot put back.

use std::collections::BTreeMap;

use crate::lab::run;
use crate::meanwhile;
use crate::play::Played;
use crate::said::Ran;
use crate::snapshot::{Multiset, Snapshot, minus, plus};
use crate::story::{Undone, Verdict, ensure, fail};

/// Undoes the sync that ended with `synced`.
pub(crate) async fn undo(played: &mut Played<'_>, synced: &Ran) -> Verdict<Undone> {
    let applied = played.snapshot().await;
    meddle(played, &applied).await;
    let now = played.snapshot().await;
    // What somebody took away is to stay away, what they brought is to stay.
    let (removed, added) = (minus(&applied.texts(), &now.texts()), minus(&now.texts(), &applied.texts()));
    let before = played.before.texts();
    // Somebody changed what the sync had changed: who says what is right then?
    let is_clear = minus(&removed, &before).is_empty();
    let rows = is_clear.then(|| plus(&minus(&before, &removed), &added));
    let expected = Expected { now, rows };

    let ran = undo_by(played, &["--yes"]).await?;
    if ran.code == Some(0) {
        return restored(played, &expected, synced, &ran, false).await;
    }
    refused(played, &expected.now, &ran).await?;
    let said = ran.stdout.clone();
    if !said.contains("--allow-cascade") {
        return Ok(Undone::Refused);
    }
    let ran = undo_by(played, &["--yes", "--allow-cascade"]).await?;
    if ran.code == Some(0) {
        return restored(played, &expected, synced, &ran, true).await;
    }
    refused(played, &expected.now, &ran).await?;
    Ok(Undone::Refused)
}

async fn undo_by(played: &mut Played<'_>, flags: &[&str]) -> Verdict<Ran> {
    let mut call = vec!["undo", "--retry-delay", "5ms"];
    call.extend(flags);
    played.run(&call).await
}

/// Does what the case says that somebody does; if the tables do not let them, nothing.
async fn meddle(played: &mut Played<'_>, applied: &Snapshot) {
    let Some(sql) = meanwhile::sql(played.case, &played.before, applied) else { return };
    played.meddled = run(&mut played.bench.target, &sql).await.is_ok();
}

async fn refused(played: &mut Played<'_>, now: &Snapshot, ran: &Ran) -> Verdict {
    let after = played.snapshot().await;
    let untouched = now.is_untouched_in(&after);
    ensure(untouched.is_ok(), "an undo that failed and changed something", || format!("{untouched:?}"))?;
    // What a trigger does to the books that come back can make them others.
    let allowed = ran.code == Some(3) || (matches!(ran.code, Some(4 | 5)) && played.case.has_triggers());
    ensure(allowed, "another exit code of undo", || ran.reason())?;
    ensure(ran.has_a_cause(), "an undo refused without its cause", || ran.reason())?;
    played.reasons.push(format!("undo: {}", played.masked(&ran.reason())));
    if ran.code != Some(3) {
        played.remarks.push("undo failed with a trigger");
    } else if !played.meddled && !played.case.has_triggers() {
        played.remarks.push("undo refused though nobody did anything since");
    }
    Ok(())
}

/// What an undo finds, and what there is to be after it, where that is clear.
struct Expected {
    now: Snapshot,
    rows: Option<Multiset>,
}

/// After an undo that says that it is done.
async fn restored(
    played: &mut Played<'_>,
    expected: &Expected,
    synced: &Ran,
    ran: &Ran,
    allowed_losses: bool,
) -> Verdict<Undone> {
    let after = played.snapshot().await;
    let rewritten = expected.now.rewritten_in(&after);
    ensure(rewritten.is_empty(), "undo lost without a number", || format!("{rewritten:?}"))?;
    let named = match named(played, synced, ran) {
        Ok(named) => named,
        Err(text) => return fail("a list that cannot be read", text),
    };
    let lost = ran.losses("losses", &played.before).ok().flatten().unwrap_or_default();
    let lost: u64 = lost.values().map(|(deleted, updated)| deleted + updated).sum();
    ensure(allowed_losses || lost == 0, "undo lost without agreement", || format!("{lost} rows"))?;
    let Some(expected) = &expected.rows else { return Ok(Undone::Named) };
    let found = after.texts();
    let (missing, extra) = (minus(expected, &found), minus(&found, expected));
    if missing.is_empty() && extra.is_empty() {
        return Ok(Undone::Exact);
    }
    let by_family = |rows: &Multiset| {
        let mut families: BTreeMap<String, u64> = BTreeMap::new();
        for ((table, _), number) in rows {
            *families.entry(after.family(*table).to_owned()).or_default() += number.unsigned_abs();
        }
        families
    };
    let (missing, extra) = (by_family(&missing), by_family(&extra));
    let inserts = played.case.inserts_elsewhere();
    for family in missing.keys().chain(extra.keys()) {
        let [missing, extra] = [&missing, &extra].map(|rows| rows.get(family).copied().unwrap_or_default());
        let named = named.get(family).copied().unwrap_or_default();
        // A changed row is there as another one; rows that triggers insert stay.
        let explained = missing <= named && (extra <= named || (inserts && !Snapshot::is_book(family)));
        ensure(explained, "undo says 0 and differs", || {
            format!("{family}: {missing} rows are missing, {extra} are others, {named} are named")
        })?;
    }
    Ok(Undone::Named)
}

/// How many rows of each family sync and undo said are not put back.
fn named(played: &Played<'_>, synced: &Ran, ran: &Ran) -> Result<BTreeMap<String, u64>, String> {
    let mut named: BTreeMap<String, u64> = BTreeMap::new();
    for (run, list) in [(synced, "not_undone"), (ran, "losses"), (ran, "not_undone")] {
        for (family, (deleted, updated)) in run.losses(list, &played.before)?.unwrap_or_default() {
            *named.entry(family).or_default() += deleted + updated;
        }
    }
    // What it said that it would take along, and was allowed to.
    for (family, announced) in ran.dependents("lost", &played.before)? {
        *named.entry(family).or_default() += announced.removed + announced.detached;
    }
    Ok(named)
}
