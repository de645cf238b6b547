//! Both sides reached, every guard passed, every question answered that comes before the first write.

use super::compare::{self, Compared};
use super::export::SAMPLE_MAX;
use super::guard::dependents::{self, Dependents, losses};
use super::guard::owner::{Found, Owners};
use super::guard::schema::ids;
use super::guard::target_identity::Marking;
use super::import::Engine;
use super::plan::{Frozen, Plan};
use super::preflight::{self, Preflight, Sides, Spare};
use super::rehearsal::Rehearsal;
use super::report::Tally;
use super::resume::{self, Unfinished};
use super::strategy::{Strategy, Verified};
use super::{Ask, Request, unchanged};
use crate::error::Result;
use crate::ledger::lock::Lock;
use crate::progress::{Event, Progress};

/// Everything that is known and decided before the first write.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What the guards found.
    pub found: Preflight,
    /// Who will own the books.
    pub owners: Owners,
    /// Where the transactions end.
    pub strategy: Strategy,
    /// How books are written.
    pub engine: Engine,
    /// The run that goes on.
    pub resumed: Option<Unfinished>,
    /// The proof that there is nothing to do.
    pub equal: Option<Verified>,
}

impl Prepared {
    /// What is kept before anything is written: that of the run that is resumed, or a new plan. `atomic` needs none.
    pub(super) fn freeze(&self) -> Option<Frozen> {
        let Self { found, owners, strategy, resumed, .. } = self;
        let kept = resumed.as_ref().and_then(|unfinished| unfinished.frozen.clone());
        if kept.is_some() || *strategy == Strategy::Atomic {
            return kept;
        }
        Some(Frozen {
            plan: Plan::from_ends(found.source_books.ranges.as_deref().unwrap_or_default()),
            columns: found.columns.names(),
            owners: owners.map(),
            updated_at: self.updated_at(),
        })
    }

    /// The run's start, where only the target has an `updatedAt`.
    pub(super) fn updated_at(&self) -> Option<String> {
        Preflight::updated_at(&self.found.target, &self.found.columns)
    }
}

/// Looks, compares and asks. Where no question can keep others waiting, the lock is tried meanwhile.
pub(super) async fn prepare<'a>(
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
        let text = format!("`--strategy staged` would keep {kept} of the {lost} rows that hang on books");
        progress.event(&Event::Notice { text });
    }
    Ok(())
}

/// Preflight and decisions for a dry run.
pub(super) async fn look(
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
    engine.check(strategy, &found.columns).map_err(unchanged)?;
    if strategy.removes_all() && resumed.is_none() {
        let at_target = sides.target.server().endpoint();
        let books = found.source_books.books;
        let rehearsed = if request.rehearsal == Rehearsal::Wanted { books.min(SAMPLE_MAX as u64) } else { 0 };
        ids::check_room(at_target, found.target.ids_left, books, rehearsed).map_err(unchanged)?;
    }
    Ok(Prepared { found, owners, strategy, engine, resumed, equal: None })
}
