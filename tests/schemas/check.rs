//! What has to be true after a sync that ended well: rows, ids and numbers, seen without any code of the tool.

use std::collections::BTreeMap;

use crate::play::Played;
use crate::said::Ran;
use crate::simulate::{books_differ, kept};
use crate::snapshot::Snapshot;
use crate::story::{Verdict, ensure, fail};

const BOOK: &str = "public.\"Book\"";

/// After a run with nothing to do.
pub(crate) fn nothing_done(played: &Played<'_>, after: &Snapshot) -> Verdict {
    let untouched = played.before.is_untouched_in(after);
    ensure(untouched.is_ok(), "nothing to do, and something done", || format!("{untouched:?}"))?;
    books(played, after)
}

/// After a sync that nobody agreed to lose anything by.
pub(crate) fn free(played: &mut Played<'_>, ran: &Ran, after: &Snapshot) -> Verdict {
    books(played, after)?;
    let losses = ran.losses("losses", &played.before).ok().flatten().unwrap_or_default();
    ensure(losses.is_empty(), "names losses that nobody agreed to", || format!("{losses:?}"))?;
    known_size(played, after)?;
    let mut gone = played.before.gone_in(after);
    gone.remove(BOOK);
    ensure(gone.is_empty(), "lost without agreement", || format!("row versions that are gone: {gone:?}"))?;
    inserted(played, after)?;
    let (reborn, touched) = kept(&played.before, after, &played.expected);
    ensure(reborn == 0, "lost without agreement", || format!("{reborn} books have another id"))?;
    if touched > 0 && (played.case.touches_books() || played.case.has_a_following_reference()) {
        played.remarks.push("columns of books that only the target has changed without agreement");
        return Ok(());
    }
    ensure(touched == 0, "lost without agreement", || {
        format!("{touched} books have another value in a column that only the target has")
    })
}

/// After a sync whose losses were agreed to, whatever they are, if only they are named.
pub(crate) fn agreed(played: &Played<'_>, ran: &Ran, after: &Snapshot) -> Verdict {
    books(played, after)?;
    known_size(played, after)?;
    inserted(played, after)?;
    let before = &played.before;
    let losses = match ran.losses("losses", before) {
        Ok(Some(losses)) => losses,
        Ok(None) => return fail("lost more than was named", "there is no list of `losses`"),
        Err(text) => return fail("a list that cannot be read", text),
    };
    let of = |family: &str| losses.get(family).copied().unwrap_or_default();
    let all_gone = before.gone_in(after);
    for (family, (deleted, updated)) in &losses {
        let none = !all_gone.contains_key(family.as_str()) && deleted + updated > 0;
        ensure(!none || played.case.has_triggers(), "names losses that were none", || {
            format!("{family}: {deleted} deleted, {updated} updated")
        })?;
    }
    for (family, gone) in all_gone {
        let (deleted, updated) = of(family);
        ensure(family == BOOK || gone <= deleted + updated, "lost more than was named", || {
            format!(
                "{family}: {gone} row versions are gone, {deleted} deleted and {updated} updated are named"
            )
        })?;
    }
    if !played.case.inserts_elsewhere() {
        for (family, fewer) in fewer(before, after) {
            let (deleted, _) = of(family);
            ensure(fewer <= deleted, "lost more than was named", || {
                format!("{family}: {fewer} rows are gone, {deleted} deleted are named")
            })?;
        }
    }
    let (reborn, _) = kept(before, after, &played.expected);
    let (deleted, _) = of(BOOK);
    ensure(reborn as u64 <= deleted, "lost more than was named", || {
        format!("{reborn} books have another id, {deleted} deleted ones are named")
    })
}

/// What the dry run announced is what came, where only keys act.
pub(crate) fn announced(played: &mut Played<'_>, dry: &Ran, after: &Snapshot) -> Verdict {
    if played.case.has_triggers() || dry.code != Some(0) {
        return Ok(());
    }
    let before = &played.before;
    let announced = match dry.announced(before) {
        Ok(announced) => announced,
        Err(text) => return fail("a list that cannot be read", text),
    };
    let (reborn, touched) = kept(before, after, &played.expected);
    let mut deleted = fewer(before, after);
    deleted.insert(BOOK, reborn as u64);
    let mut missing = before.missing_in(after);
    missing.remove(BOOK);
    // What one key does decides what the other one finds: about a column, in a partition, or because it acts before.
    let shared = played.case.has_shared_columns();
    let families = before.tables.values().map(|table| table.family.as_str());
    let mut too_many = false;
    for family in families {
        let announced = announced.get(family).copied().unwrap_or_default();
        let deleted = deleted.get(family).copied().unwrap_or_default();
        let changed = if family == BOOK {
            touched as u64
        } else {
            missing.get(family).copied().unwrap_or_default().saturating_sub(deleted)
        };
        let fewer = announced.removed > deleted && played.case.gives_up_references();
        let more = announced.removed < deleted && played.case.refers_by_default();
        if announced.removed != deleted && (fewer || more || shared || played.case.moves_rows()) {
            played.remarks.push("announced other deletions, which were measured");
            return Ok(());
        }
        ensure(announced.removed == deleted, "announced other deletions", || {
            format!("{family}: {deleted} rows were deleted, {announced:?} was announced")
        })?;
        ensure(announced.detached >= changed, "changed without being announced", || {
            format!("{family}: {changed} rows were changed, {announced:?} was announced")
        })?;
        too_many |= announced.detached > changed;
    }
    if too_many {
        played.remarks.push("more changes announced than came");
    }
    Ok(())
}

fn books(played: &Played<'_>, after: &Snapshot) -> Verdict {
    let differs = books_differ(after, &played.expected);
    ensure(differs.is_ok(), "the books differ", || differs.err().unwrap_or_default())
}

/// No table is in another file or defined otherwise: nobody counts what a TRUNCATE removes.
fn known_size(played: &Played<'_>, after: &Snapshot) -> Verdict {
    let rewritten = played.before.rewritten_in(after);
    ensure(rewritten.is_empty(), "lost without a number", || format!("{rewritten:?}"))
}

/// Rows come to other tables only by triggers and rules.
fn inserted(played: &Played<'_>, after: &Snapshot) -> Verdict {
    if played.case.inserts_elsewhere() {
        return Ok(());
    }
    let more = fewer(after, &played.before);
    ensure(more.is_empty(), "rows came from nowhere", || format!("{more:?}"))
}

/// How many fewer rows the tables besides the books have.
fn fewer<'a>(before: &'a Snapshot, after: &'a Snapshot) -> BTreeMap<&'a str, u64> {
    let now = after.counts();
    let mut fewer = BTreeMap::new();
    for (family, rows) in before.counts() {
        let rows: u64 = rows;
        let less = rows.saturating_sub(now.get(family).copied().unwrap_or_default());
        if less > 0 && family != BOOK {
            fewer.insert(family, less);
        }
    }
    fewer
}
