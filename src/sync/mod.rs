//! The path of the data:
//!
//! ```text
//! config -> guards -> plan -> [ export -> remap -> import ] per batch -> verify -> record
//! ```
//!
//! [`run()`] is that sentence. A strategy decides where the transactions end and finishes with a
//! [`Verified`], which nothing else can make.

pub mod export;
pub mod facts;
pub mod guard;
pub mod import;
pub mod inventory;
pub mod plan;
pub mod preflight;
pub mod remap;
pub mod report;
pub mod strategy;
pub mod verify;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::book::{TargetUserId, UPDATED_AT};
use crate::error::{Error, Kind, Result};
use crate::ledger::run::{self, NewRun, RunEnd};
use crate::postgres::{Fault, Target};
use crate::retry::interrupted;
use guard::owner::{Found, Owner, User};
use guard::target_identity::Marking;
use preflight::{Preflight, Sides, Wishes};
use remap::Remap;
use report::Tally;
use strategy::{Job, Strategy, Tuning, Verified, atomic, batched};

/// The only mode of this version: every row travels.
pub const MODE: &str = "full";

/// The only engine of this version: SeaORM's `insert_many`.
pub const ENGINE: &str = "insert";

/// The questions that only a person can answer. No transaction is open while one waits.
#[async_trait]
pub trait Ask: Sync {
    /// Told what was found and who was chosen, before the question whether to go on.
    fn show(&self, found: &Preflight, owner: &Owner);

    /// Which of `users` shall own the books; `preselected` is among them.
    async fn choose_owner(&self, users: &[User], preselected: Option<i32>) -> Result<Owner>;

    /// Whether the target really is a development database: its name has to be typed.
    async fn mark(&self, found: &Preflight) -> Result<()>;

    /// Whether to replace the books.
    async fn confirm(&self, found: &Preflight, owner: &Owner) -> Result<()>;
}

/// One sync, as the call orders it.
#[derive(Debug, Clone)]
pub struct Request {
    /// For the guards.
    pub wishes: Wishes,
    /// Where transactions end.
    pub strategy: Strategy,
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
    pub owner: Owner,
    /// The proof.
    pub verified: Verified,
}

/// Fills the target with the books of the source. `run_id` is set as soon as there is a row in the ledger.
pub async fn run(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    run_id: &mut Option<i64>,
    cancel: &CancellationToken,
    progress: &Tally<'_>,
) -> Result<Synced> {
    let prepared = Box::pin(unless_cancelled(cancel, prepare(sides, request, ask, progress))).await;
    let (found, owner) = prepared.map_err(unchanged_if_interrupted)?;
    let begun = unless_cancelled(cancel, begin(sides, request, &found, &owner)).await;
    let id = begun.map_err(unchanged)?;
    *run_id = Some(id);
    let only_in_target = found.target.has(UPDATED_AT) && !found.columns.contains(UPDATED_AT);
    let updated_at = only_in_target.then(|| found.target.now.clone());
    let remap = Remap { owner: owner.id(), columns: found.columns, updated_at };
    let job = Job { sides, run_id: id, remap, tuning: request.tuning, cancel, progress };
    let done = match request.strategy {
        Strategy::Atomic => Box::pin(atomic::run(&job)).await,
        Strategy::Batched => Box::pin(batched::run(&job)).await,
    };
    // A verified `atomic` has recorded it in the transaction of the books.
    if done.is_err() || request.strategy != Strategy::Atomic {
        record(sides, id, &done, progress).await;
    }
    Ok(Synced { owner, verified: done? })
}

/// Looks at everything that [`run()`] would look at, and writes nothing.
pub async fn preview(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    cancel: &CancellationToken,
    progress: &Tally<'_>,
) -> Result<(Preflight, Owner)> {
    let looked = Box::pin(unless_cancelled(cancel, look(sides, request, ask, progress))).await;
    looked.map_err(unchanged_if_interrupted)
}

/// Both sides reached, every guard passed, every question answered.
async fn prepare(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    progress: &Tally<'_>,
) -> Result<(Preflight, Owner)> {
    let (found, owner) = look(sides, request, ask, progress).await?;
    if found.marking == Marking::MustBeTyped {
        ask.mark(&found).await.map_err(unchanged)?;
    }
    ask.confirm(&found, &owner).await.map_err(unchanged)?;
    Ok((found, owner))
}

async fn look(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    progress: &Tally<'_>,
) -> Result<(Preflight, Owner)> {
    preflight::connect(sides, progress).await?;
    let found = preflight::check(sides, &request.wishes, progress).await.map_err(unchanged)?;
    let owner = match &found.owner {
        Found::Owner(owner) => owner.clone(),
        Found::Several => {
            let users = found.target_books.candidates.as_deref().unwrap_or_default();
            let last = found.target_books.last_owner;
            let preselected = last.filter(|last| users.iter().any(|user| user.id == *last));
            ask.choose_owner(users, preselected).await.map_err(unchanged)?
        }
    };
    ask.show(&found, &owner);
    Ok((found, owner))
}

/// The ledger brought up to date, the target marked, the run's row written.
async fn begin(sides: &Sides, request: &Request, found: &Preflight, owner: &Owner) -> Result<i64> {
    let Sides { source, target } = sides;
    let failed =
        |doing: &'static str| move |fault: Fault| Error::new(fault.kind_at_start(), doing).because(fault);
    if found.target_books.ledger_is_old()? || found.marking != Marking::Marked {
        prepare_ledger(target, found).await.map_err(failed("could not prepare the ledger"))?;
    }
    let new = NewRun {
        os_user: request.os_user.clone(),
        host: request.host.clone(),
        source: source.server().endpoint().to_string(),
        target: target.server().endpoint().to_string(),
        source_identity: found.source.identity.clone(),
        target_identity: found.target.identity.clone(),
        strategy: request.strategy.name(),
        mode: MODE,
        engine: ENGINE,
        owner: owner.id(),
    };
    run::begin(target, &new).await.map_err(failed("could not begin the run in the ledger"))
}

async fn prepare_ledger(target: &Target, found: &Preflight) -> Result<(), Fault> {
    let identity = &found.target.identity;
    let name = &target.server().endpoint().database;
    target
        .migrate(async |tx| {
            dewey_sync_migration::ledger_up(tx).await?;
            crate::ledger::mark(tx, identity, name).await
        })
        .await
}

/// Writes how the run ended. Failing to is not the run's failure.
async fn record(sides: &Sides, run_id: i64, done: &Result<Verified>, progress: &Tally<'_>) {
    let summary = progress.summary();
    let verified = done.as_ref().ok();
    let error = done.as_ref().err();
    let state = error.map_or("verified", |error| error.kind.outcome());
    let end = RunEnd {
        state,
        counts: summary.counts,
        retries: summary.retries,
        fingerprint: verified.map(Verified::fingerprint),
        snapshot_at: verified.map(|verified| verified.snapshot_at().to_owned()),
        error: error.map(|error| {
            let said = std::iter::once(error.doing.clone()).chain(error.causes());
            said.collect::<Vec<_>>().join(": ")
        }),
    };
    if let Err(fault) = run::record_end(&sides.target, run_id, &end).await {
        tracing::info!(%fault, run_id, "the ledger was not told how the run ended");
    }
}

/// Stops waiting for `work` when the first signal comes; what it had begun is rolled back.
async fn unless_cancelled<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = cancel.cancelled() => Err(interrupted("the sync")),
    }
}

/// A signal is the one failure that comes as well before the target was reached, and says nothing of it.
fn unchanged_if_interrupted(error: Error) -> Error {
    if error.kind == Kind::Interrupted { unchanged(error) } else { error }
}

fn unchanged(error: Error) -> Error {
    error.state("`\"Book\"` is unchanged")
}

/// A query that finds the owner and keeps it from being removed until the transaction ends.
pub(crate) fn owner_sql(owner: TargetUserId) -> String {
    format!("SELECT id FROM {} WHERE id = {} FOR KEY SHARE", crate::book::OWNER_TABLE, owner.0)
}
