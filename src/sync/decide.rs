//! Both sides reached, every guard passed, every question answered that comes before the first write.

use super::ask::Ask;
use super::outcome::unchanged;
use super::prepared::Prepared;
use super::request::{Rehearsal, Request, Strategy};
use super::resume;
use super::tally::Tally;
use super::verify::before as compare;
use super::verify::before::Compared;
use crate::dependents::{self, Dependents, losses};
use crate::error::Result;
use crate::ledger::lock::Lock;
use crate::preflight::guard::owner::{Found, Owners};
use crate::preflight::guard::schema::ids;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::{self, Preflight, Sides, Spare};
use crate::progress::{Event, Progress};
use crate::transfer::export::SAMPLE_MAX;

/// Looks, compares and asks. Where no question can keep others waiting, the lock is tried meanwhile.
pub(crate) async fn prepare<'a>(
    sides: &'a Sides,
    request: &Request,
    ask: &dyn Ask,
    early: &mut Option<Lock<'a>>,
    progress: &Tally<'_>,
) -> Result<Prepared> {
    let wanted = !ask.waits();
    let spare = if wanted { Spare::Wanted } else { Spare::Unwanted };
    preflight::connect(sides, spare, progress).await?;
    let attempt = async {
        if wanted && !sides.target.server().is_reduced() {
            *early = Lock::attempt(&sides.target, request.tuning.lock_wait).await;
        }
    };
    // That strategy plans in the snapshot that it copies.
    let planned = request.strategy != Some(Strategy::Atomic);
    let batch_size = planned.then_some(request.tuning.batch_size);
    let (found, ()) = tokio::join!(check(sides, request, batch_size, progress), attempt);
    let found = found?;
    // Who shall own the books is asked whatever was answered beforehand.
    if matches!(found.owner, Found::Several)
        && let Some(lock) = early.take()
    {
        lock.release().await;
    }
    let mut prepared = decide(sides, request, found, ask).await?;
    if prepared.resumed.is_none() {
        let equal = compare::equal(sides, &prepared, &request.tuning, progress).await;
        prepared.equal = equal.map_err(unchanged)?;
        if prepared.equal.is_some() {
            return Ok(prepared);
        }
    }
    let Prepared { found, owners, strategy, .. } = &prepared;
    if found.marking == Marking::MustBeTyped {
        ask.mark(found).await.map_err(unchanged)?;
    }
    if strategy.removes_all() {
        tell_what_staged_keeps(sides, request, &prepared, progress).await.map_err(unchanged)?;
        dependents::check(&found.target_books.dependents, request.wishes.agreement).map_err(unchanged)?;
        ask.confirm(found, owners).await.map_err(unchanged)?;
    } else {
        ask.answerable().map_err(unchanged)?;
    }
    Ok(prepared)
}

/// Where every book goes with what hangs on it, says what the other strategy would save.
async fn tell_what_staged_keeps(
    sides: &Sides,
    request: &Request,
    prepared: &Prepared,
    progress: &Tally<'_>,
) -> Result<()> {
    let rows = |dependents: &[Dependents]| losses(dependents).map(|lost| lost.rows).sum::<u64>();
    let lost = rows(&prepared.found.target_books.dependents);
    if lost == 0 {
        return Ok(());
    }
    let compared = compare::compare(sides, prepared, &request.tuning, progress).await?;
    if let Compared::Different { dependents, .. } = compared {
        let kept = lost.saturating_sub(rows(&dependents));
        let text = format!("`--strategy staged` would keep {kept} of the {lost} rows that reference books");
        progress.event(&Event::Notice { text });
    }
    Ok(())
}

/// Preflight and decisions for a dry run.
pub(crate) async fn look(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    progress: &Tally<'_>,
) -> Result<Prepared> {
    let found = check(sides, request, None, progress).await?;
    decide(sides, request, found, ask).await
}

async fn check(
    sides: &Sides,
    request: &Request,
    batch_size: Option<u32>,
    progress: &Tally<'_>,
) -> Result<Preflight> {
    preflight::check(sides, &request.wishes, batch_size, progress).await.map_err(unchanged)
}

/// Which run goes on, who will own the books, and how they are written.
async fn decide(sides: &Sides, request: &Request, found: Preflight, ask: &dyn Ask) -> Result<Prepared> {
    let resumed = resume::find(sides, request, &found, ask).await.map_err(unchanged)?;
    let others = match (&resumed, &found.owner) {
        (Some(unfinished), _) => unfinished.others.clone(),
        (None, Found::Owner(owner)) => owner.clone(),
        (None, Found::Several) => {
            let users = found.target_books.candidates.as_deref().unwrap_or_default();
            let last = found.target_books.last_owner;
            let preselected = last.filter(|last| users.iter().any(|user| user.id == *last));
            Some(ask.choose_owner(users, preselected).await.map_err(unchanged)?)
        }
    };
    let owners = Owners { others, named: sides.mapping.owners.named.clone() };
    ask.show(&found, &owners);
    let strategy = resumed.as_ref().map(|unfinished| unfinished.strategy);
    let strategy = strategy.or(request.strategy).unwrap_or_default();
    let engine = request.engine.or(resumed.as_ref().map(|unfinished| unfinished.engine)).unwrap_or_default();
    engine.check(strategy.destination(), &found.columns).map_err(unchanged)?;
    if strategy.removes_all() && resumed.is_none() {
        let at_target = sides.target.server().endpoint();
        let books = found.source_books.books;
        let rehearsed = if request.rehearsal == Rehearsal::Wanted { books.min(SAMPLE_MAX as u64) } else { 0 };
        ids::check_room(at_target, found.target.ids_left, books, rehearsed).map_err(unchanged)?;
    }
    Ok(Prepared { found, owners, strategy, engine, resumed, equal: None })
}
