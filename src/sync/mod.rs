//! The path of the data:
//!
//! ```text
//! config -> guards -> compare -> plan -> [ export -> remap -> import ] per batch -> verify -> ask -> apply -> record
//! ```
//!
//! [`run()`] is that sentence. A strategy decides where the transactions end and finishes with a
//! [`Verified`], which nothing else can make; only `staged` has something to apply.

pub mod apply;
pub mod changes;
pub mod check_target;
mod commit;
pub mod compare;
mod consent;
pub mod doctor;
pub mod export;
pub mod facts;
mod foreign_keys;
pub mod guard;
pub mod import;
pub mod inventory;
pub mod losses;
mod misfit;
mod opening;
mod owners;
pub mod plan;
pub mod preflight;
mod prepare;
mod register;
pub mod rehearsal;
pub mod remap;
pub mod report;
pub mod resume;
mod sequence;
pub mod strategy;
pub mod uncounted;
pub mod undo;
mod unreached;
pub mod verify;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::ledger::lock::Lock;
use crate::progress::{Event, Progress};
use crate::retry::{interrupted, retry};
use changes::Changes;
use compare::Compared;
use consent::Consent;
use guard::owner::{Owner, Owners, User};
use guard::target_identity::Marking;
use import::{Engine, Text};
use preflight::{Preflight, Sides, Spare, Wishes};
pub use prepare::Prepared;
use prepare::{look, prepare};
use register::{begin, record};
use rehearsal::{Rehearsal, Sample, rehearse, sample_of_run};
use remap::Remap;
use report::Tally;
use resume::{Resume, Unfinished};
use strategy::{Job, Strategy, Tuning, Verified, atomic, batched, staged};

/// What it is called when it is retried or interrupted.
const SYNC: &str = "the sync";

/// The state when nothing was committed.
pub const UNCHANGED: &str = "`\"Book\"` is unchanged";

/// The state when another run took over.
const UP_TO_THE_OTHER: &str = "what `\"Book\"` holds is up to the other run";

/// The only mode of this version: every row travels.
pub const MODE: &str = "full";

/// The questions that only a person can answer. No transaction is open while one waits.
#[async_trait]
pub trait Ask: Sync {
    /// Told what was found and who was chosen, before the question whether to go on.
    fn show(&self, found: &Preflight, owners: &Owners);

    /// Whether a question waits for a person, and is not answered by a flag or refused.
    fn waits(&self) -> bool;

    /// Stops where a question would find nobody to answer it.
    fn answerable(&self) -> Result<()>;

    /// Whether to go on with a run that did not come to its end.
    async fn resume(&self, unfinished: &Unfinished) -> Result<bool>;

    /// Which of `users` shall own the books; `preselected` is among them.
    async fn choose_owner(&self, users: &[User], preselected: Option<i32>) -> Result<Owner>;

    /// Whether the target really is a development database: its name has to be typed.
    async fn mark(&self, found: &Preflight) -> Result<()>;

    /// Whether to replace every book.
    async fn confirm(&self, found: &Preflight, owners: &Owners) -> Result<()>;

    /// Whether to make these changes, which are staged and verified.
    async fn confirm_changes(&self, found: &Preflight, owners: &Owners, changes: &Changes) -> Result<()>;
}

/// One sync, as the call orders it.
#[derive(Debug, Clone)]
pub struct Request {
    /// For the guards.
    pub wishes: Wishes,
    /// Where transactions end; `None` is that of the run that is resumed, else [`Strategy::default`].
    pub strategy: Option<Strategy>,
    /// How books are written; `None` as above.
    pub engine: Option<Engine>,
    /// Whether to go on with an unfinished run.
    pub resume: Resume,
    /// Whether a sample is written first and rolled back.
    pub rehearsal: Rehearsal,
    /// Numbers.
    pub tuning: Tuning,
    /// Who runs this: the operating system's user.
    pub os_user: String,
    /// On which machine.
    pub host: String,
}

/// A sync that succeeded.
#[derive(Debug, Clone)]
pub struct Synced {
    /// Who owns the books now.
    pub owners: Owners,
    /// The proof.
    pub verified: Verified,
    /// Both sides were equal before.
    pub nothing_to_do: bool,
}

/// A run that has its row in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The row.
    pub run_id: i64,
    /// Where its transactions end.
    pub strategy: Strategy,
    /// How it writes books.
    pub engine: Engine,
}

/// Fills the target with the books of the source. `begun` is set as soon as there is a row in the ledger.
pub async fn run(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    begun: &mut Option<Begun>,
    cancel: &CancellationToken,
    progress: &Tally<'_>,
) -> Result<Synced> {
    let mut early = None;
    let preparing = prepare(sides, request, ask, &mut early, progress);
    let prepared = Box::pin(unless_cancelled(cancel, SYNC, preparing)).await;
    let leaves_no_trace =
        |prepared: &Prepared| prepared.equal.is_some() && prepared.found.marking == Marking::MustBeTyped;
    if let Some(lock) = &early
        && prepared.as_ref().map_or(true, leaves_no_trace)
    {
        lock.release().await;
    }
    let prepared = prepared.map_err(unchanged_if_interrupted)?;
    let &Prepared { ref found, ref owners, ref resumed, ref equal, strategy, engine, .. } = &prepared;
    if let Some(verified) = equal
        && leaves_no_trace(&prepared)
    {
        return Ok(nothing_to_do(owners, verified, progress));
    }
    let lock = if let Some(lock) = early {
        lock
    } else {
        let lock = Lock::acquire(&sides.target, request.tuning.lock_wait);
        unless_cancelled(cancel, SYNC, lock).await.map_err(unchanged)?
    };
    let lock = &lock;
    let frozen = prepared.freeze();
    let updated_at =
        frozen.as_ref().map_or_else(|| prepared.updated_at(), |frozen| frozen.updated_at.clone());
    let remap = Remap { owners: owners.map(), columns: found.columns.clone(), updated_at };
    let is_resumed = resumed.as_ref().is_some_and(|unfinished| unfinished.frozen.is_some());
    let wants_rehearsal = request.rehearsal == Rehearsal::Wanted && equal.is_none();
    let policy = request.tuning.retry;
    let beginning = retry(policy, "the beginning of the run", cancel, progress, async |_| {
        unless_cancelled(cancel, SYNC, begin(sides, request, &prepared, frozen.as_ref())).await
    });
    let sampling = sample_of_run(sides, &remap, request, cancel, progress);
    let early = async { if wants_rehearsal && !is_resumed { Some(sampling.await) } else { None } };
    let (tenure, sampled) = tokio::join!(beginning, Box::pin(early));
    if let Err(error) = &tenure {
        sides.target.leave(Some(error)).await;
    }
    let tenure = tenure.map_err(unchanged)?;
    *begun = Some(Begun { run_id: tenure.run_id, strategy, engine });
    if let Some(verified) = equal {
        let done = nothing_to_do(owners, verified, progress);
        let recorded = record(sides, tenure, Ok(verified), "unchanged", policy, progress);
        tokio::join!(recorded, lock.release()).0?;
        return Ok(done);
    }
    let plan = frozen.map(|frozen| frozen.plan).unwrap_or_default();
    let resumed_books = if is_resumed { plan.books } else { 0 };
    let job = Job {
        sides,
        tenure,
        plan,
        resumed: is_resumed,
        remap: remap.clone(),
        engine,
        text: Text::default(),
        keys: found.target.foreign_keys.as_deref().unwrap_or_default(),
        agreement: request.wishes.agreement,
        // What an earlier life of the run has deleted counts as well.
        old_books: found.target_books.books.max(resumed_books),
        empty_source: request.wishes.empty_source,
        tuning: request.tuning,
        cancel,
        progress,
    };
    let consent = Consent { ask, lock, found, owners, agreement: request.wishes.agreement };
    let work = rehearse_and_write(&job, strategy, &consent, request, sampled);
    let done = tokio::select! {
        biased;
        done = work => done,
        lost = lock.keep(tenure) => Err(lost.state(UP_TO_THE_OTHER)),
    };
    // A verified `staged` or `atomic` has recorded it in the transaction of the books.
    let done = if done.is_err() || strategy == Strategy::Batched {
        let recorded = record(sides, tenure, done.as_ref(), "verified", policy, progress).await;
        // The run's own failure says more.
        done.and_then(|verified| recorded.map(|()| verified))
    } else {
        done
    };
    lock.release().await;
    sides.target.leave(done.as_ref().err()).await;
    let verified = done.map_err(again_if_interrupted)?;
    Ok(Synced { owners: owners.clone(), verified, nothing_to_do: false })
}

/// What a strategy does, its rehearsal included. `sampled` is for a run that begins; `None` leaves the rehearsal out.
async fn rehearse_and_write(
    job: &Job<'_>,
    strategy: Strategy,
    consent: &Consent<'_, '_>,
    request: &Request,
    sampled: Option<Result<Sample<'_>>>,
) -> Result<Verified> {
    let sample = match sampled {
        // A resumed run that was refused before has deleted nothing.
        None if strategy == Strategy::Batched
            && request.rehearsal == Rehearsal::Wanted
            && batched::has_not_begun(job).await? =>
        {
            let sampling = sample_of_run(job.sides, &job.remap, request, job.cancel, job.progress);
            Some(Box::pin(sampling).await)
        }
        sampled => sampled,
    };
    let sample = sample.transpose().map_err(unchanged)?;
    let mut books = None;
    match sample {
        Some(sample) if strategy == Strategy::Batched => books = Some(sample.into_books().await),
        Some(sample) => Box::pin(rehearse(job, sample)).await.map_err(unchanged)?,
        None => {}
    }
    match strategy {
        Strategy::Staged => Box::pin(staged::run(job, consent)).await,
        Strategy::Atomic => Box::pin(atomic::run(job, consent)).await,
        Strategy::Batched => Box::pin(batched::run(job, consent, books.as_deref())).await,
    }
}

/// Looks at everything that [`run()`] would look at, and writes nothing.
pub async fn preview(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    cancel: &CancellationToken,
    progress: &Tally<'_>,
) -> Result<(Prepared, Compared)> {
    let previewed = async {
        preflight::connect(sides, Spare::Unwanted, progress).await?;
        let prepared = look(sides, request, ask, progress).await?;
        let compared = compare::compare(sides, &prepared, &request.tuning, progress).await;
        let compared = compared.map_err(unchanged)?;
        if let Compared::Different { dependents, .. } = &compared {
            let all = &prepared.found.target_books.dependents;
            let doomed = if prepared.strategy.removes_all() { all } else { dependents };
            guard::dependents::check(doomed, request.wishes.agreement).map_err(unchanged)?;
        }
        Ok((prepared, compared))
    };
    Box::pin(unless_cancelled(cancel, SYNC, previewed)).await.map_err(unchanged_if_interrupted)
}

fn nothing_to_do(owners: &Owners, verified: &Verified, progress: &Tally<'_>) -> Synced {
    let print = verified.fingerprint();
    progress.event(&Event::Unchanged { rows: print.rows, digest: print.digest_hex() });
    Synced { owners: owners.clone(), verified: verified.clone(), nothing_to_do: true }
}

/// Stops waiting for `work` when the first signal comes; what it had begun is rolled back. `what` was interrupted then.
async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    what: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = cancel.cancelled() => Err(interrupted(what)),
    }
}

/// A signal is the one failure that comes as well before the target was reached, and says nothing of it.
fn unchanged_if_interrupted(error: Error) -> Error {
    if error.kind == Kind::Interrupted { again_if_interrupted(unchanged(error)) } else { error }
}

/// What is left to do where there is nothing to resume.
fn again_if_interrupted(error: Error) -> Error {
    if error.kind == Kind::Interrupted { error.hint("run `dewey-sync sync` again") } else { error }
}

fn unchanged(error: Error) -> Error {
    error.state(UNCHANGED)
}
