//! Both sides reached, every guard passed, every question answered that comes before the first write.

use super::call::Call;
use super::intent::Intent;
use super::outcome::unchanged;
use super::request::{Rehearsal, Strategy};
use super::resume;
use super::verify::before::{self, Compared};
use crate::dependents::{self, Dependents, losses};
use crate::error::Result;
use crate::ledger::lock::RunLock;
use crate::preflight::guard::owner::{Found, Owners};
use crate::preflight::guard::schema::ids;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::{self, Checked};
use crate::transfer::export::SAMPLE_MAX;

/// Looks, decides, compares and asks. Where no question can keep others waiting, the lock is had in the end, if it was free.
///
/// # Errors
/// That of a guard or a question; the lock is free then.
pub(crate) async fn prepare(call: Call<'_>) -> Result<(Intent, Option<RunLock<'_>>)> {
    let (found, lock) = call.context.cancellable(look_and_lock(call)).await?;
    let intent = call.context.cancellable(decide_and_ask(call, found)).await;
    if let (Err(_), Some(lock)) = (&intent, &lock) {
        lock.release().await;
    }
    Ok((intent?, lock))
}

/// Both catalogs read and every guard passed, while the lock is tried: that saves a round trip.
async fn look_and_lock(call: Call<'_>) -> Result<(Checked, Option<RunLock<'_>>)> {
    let Call { sides, request, ask, context } = call;
    let wants_lock = !ask.waits();
    let spare = async {
        if wants_lock {
            preflight::connect_spare(&sides.target).await;
        }
    };
    tokio::join!(preflight::connect(sides, context.progress), spare).0?;
    let attempt = async {
        // A pooler may have no session left for it.
        if wants_lock && !sides.target.server().lacks_startup_options() {
            RunLock::attempt(&sides.target, request.tuning.lock_wait).await
        } else {
            None
        }
    };
    // That strategy plans in the snapshot that it copies.
    let planned = request.strategy != Some(Strategy::Atomic);
    let batch_size = planned.then_some(request.tuning.batch_size);
    let (found, lock) = tokio::join!(check(call, batch_size), attempt);
    // Which of several users owns the books is asked whatever was answered beforehand.
    let asks_anyway = found.as_ref().is_ok_and(|found| matches!(found.owner, Found::Several));
    match (found, lock) {
        (Ok(found), lock) if !asks_anyway => Ok((found, lock)),
        (found, lock) => {
            if let Some(lock) = lock {
                lock.release().await;
            }
            Ok((found?, None))
        }
    }
}

/// What is to be done; whether both sides are equal already, and otherwise the questions that come before the first write.
async fn decide_and_ask(call: Call<'_>, checked: Checked) -> Result<Intent> {
    let mut intent = decide(call, checked).await?;
    if intent.resumed.is_none() {
        intent.equal = before::equal(call, &intent).await.map_err(unchanged)?;
    }
    if intent.equal.is_none() {
        ask_before_writing(call, &intent).await.map_err(unchanged)?;
    }
    Ok(intent)
}

async fn ask_before_writing(call: Call<'_>, intent: &Intent) -> Result<()> {
    let (Intent { found, marking, owners, strategy, .. }, ask) = (intent, call.ask);
    if *marking == Marking::MustBeTyped {
        ask.mark(found).await?;
    }
    if !strategy.removes_all() {
        return ask.answerable();
    }
    tell_what_staged_keeps(call, intent).await?;
    dependents::check(&found.target_books.dependents, call.request.guards.agreement)?;
    ask.confirm(found, owners).await
}

/// Where every book is deleted with the rows that reference it, says what the other strategy would save.
async fn tell_what_staged_keeps(call: Call<'_>, intent: &Intent) -> Result<()> {
    let rows = |dependents: &[Dependents]| losses(dependents).map(|lost| lost.rows).sum::<u64>();
    let lost = rows(&intent.found.target_books.dependents);
    if lost == 0 {
        return Ok(());
    }
    if let Compared::Different { dependents, .. } = before::compare(call, intent).await? {
        let kept = lost.saturating_sub(rows(&dependents));
        let text = format!("`--strategy staged` would keep {kept} of the {lost} rows that reference books");
        call.context.notice(text);
    }
    Ok(())
}

/// Preflight and decisions for a dry run.
pub(crate) async fn look(call: Call<'_>) -> Result<Intent> {
    decide(call, check(call, None).await?).await
}

async fn check(Call { sides, request, context, .. }: Call<'_>, batch_size: Option<u32>) -> Result<Checked> {
    preflight::check(sides, &request.guards, batch_size, context.progress).await.map_err(unchanged)
}

/// Which run goes on, who will own the books, and how they are written.
async fn decide(call: Call<'_>, Checked { found, marking, owner }: Checked) -> Result<Intent> {
    let Call { sides, request, ask, .. } = call;
    let resumed = resume::find(call, &found).await.map_err(unchanged)?;
    let others = match (&resumed, &owner) {
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
    Ok(Intent { found, marking, owners, strategy, engine, resumed, equal: None })
}
