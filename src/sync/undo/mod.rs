//! `undo`: the books as they were before the last sync that changed some, in one transaction.
//!
//! Invariant: it commits only what has the digest that the whole book table had before that sync. What it would do is
//! learnt by doing it and rolling back, so that a refusal comes before the question and not after it.

mod attach;
pub mod kept;
mod look;
mod put_back;
mod restore;
pub mod undone;

use super::apply::follow_up::follow_up;
use super::book_table::{analyze_sql, lock_sql};
use super::changes::{self, Agreed};
use super::context::Context;
use super::exactly_once::{Attempted, Failed, InDoubt, commit};
use super::outcome::{UNCHANGED, UP_TO_THE_OTHER};
use super::request::Tuning;
use crate::book::TABLE;
use crate::error::{Error, Kind, Result};
use crate::ledger::FORGET_GENERATION;
use crate::ledger::lock::RunLock;
use crate::ledger::replaced::{EXACT_TEXT, Generation};
use crate::ledger::run::{
    self, Claim, Counts, Lease, NewRun, RunEnd, claim_run, end_sessions_sql, end_sql, taken_over,
};
use crate::ledger::state::RunState;
use crate::postgres::effects::{Bounds, guard};
use crate::postgres::query::Query;
use crate::postgres::{Identity, Limit, Target, Tx};
use crate::progress::Phase;
use put_back::{PutBack, put_back};
use undone::Undo;

/// What it is called when it is retried or interrupted.
pub const UNDO: &str = "the undo";

const UNKNOWN: &str =
    "`\"Book\"` is either unchanged or as it was before the sync: the answer to COMMIT was lost";

/// What the ledger records of whoever undoes.
#[derive(Debug, Clone)]
pub struct Request {
    /// The operating system's user.
    pub os_user: String,
    /// On which machine.
    pub host: String,
    /// Which database the target is.
    pub identity: Identity,
    /// Numbers; those of batches have no meaning here.
    pub tuning: Tuning,
    /// Statements that bring an older ledger up to date, empty for one that is.
    pub ledger_upgrade: String,
}

/// Tries the whole undo and rolls it back; what it would do.
///
/// # Errors
/// [`Kind::Usage`] when there is nothing to undo, [`Kind::Refused`] when it cannot be.
pub async fn rehearse(target: &Target, request: &Request, context: &Context<'_>) -> Result<Undo> {
    context.phase(Phase::Checking);
    let lock = context.cancellable(RunLock::acquire(target, request.tuning.lock_wait)).await;
    let lock = lock.map_err(unchanged)?;
    let rehearsed = context
        .retry("the rehearsal", async |_| context.cancellable(try_and_roll_back(target, request)).await);
    let rehearsed = rehearsed.await.map_err(unchanged);
    lock.release().await;
    target.end_abandoned_sessions(rehearsed.as_ref().err()).await;
    rehearsed
}

/// Undoes the last sync, unless more would be lost than `agreed`.
///
/// # Errors
/// As [`rehearse`], and any other; the books are then as they were, unless the answer to COMMIT stayed out to the end.
pub async fn run(target: &Target, request: &Request, agreed: &Agreed, context: &Context<'_>) -> Result<Undo> {
    let lock = context.cancellable(RunLock::acquire(target, request.tuning.lock_wait)).await;
    let lock = lock.map_err(unchanged)?;
    let begun = context
        .retry("the beginning of the run", async |_| context.cancellable(begin(target, request)).await);
    let lease = match begun.await {
        Ok(lease) => lease,
        Err(error) => {
            target.end_abandoned_sessions(Some(&error)).await;
            return Err(unchanged(error));
        }
    };
    context.progress.begun(lease.run_id, None);
    let undoing = Undoing { target, tuning: &request.tuning, lease, agreed, context };
    let done = tokio::select! {
        biased;
        done = Box::pin(undoing.undo()) => done,
        lost = lock.keep(lease) => Err(lost.state(UP_TO_THE_OTHER)),
    };
    match &done {
        Ok(_) => drop(follow_up(target, &request.tuning, context, || Query::silent(analyze_sql())).await),
        Err(error) => undoing.record_failure(error).await,
    }
    lock.release().await;
    target.end_abandoned_sessions(done.as_ref().err()).await;
    done
}

async fn begin(target: &Target, request: &Request) -> Result<Lease> {
    let new = NewRun {
        plan: None,
        os_user: request.os_user.clone(),
        host: request.host.clone(),
        session: target.server().session_base().to_owned(),
        action: "undo",
        source: None,
        target: target.server().endpoint().to_string(),
        source_identity: None,
        target_identity: request.identity.clone(),
        how: None,
        owner: None,
    };
    let begun = async {
        if !request.ledger_upgrade.is_empty() {
            target.migrate(async |tx| dewey_sync_migration::ledger_up(tx).await).await?;
        }
        run::begin(target, &new).await
    };
    begun.await.map_err(|fault| {
        Error::new(fault.kind_at_start(), "could not begin the run in the ledger").because(fault)
    })
}

async fn try_and_roll_back(target: &Target, request: &Request) -> Result<Undo> {
    // A run that was stopped in the middle and has lost the lock may still hold the books.
    let end_sessions = end_sessions_sql(target.server().session_base());
    let before = Query::silent(format!("{}; {end_sessions}", request.ledger_upgrade));
    let (tx, (), generation) = open(target, request.tuning.whole_table(), before).await?;
    let PutBack { undo, .. } = put_back(&tx, generation, &Agreed::default()).await?;
    tx.rollback().await;
    Ok(undo)
}

/// An undo that has its row in the ledger.
struct Undoing<'a> {
    target: &'a Target,
    tuning: &'a Tuning,
    lease: Lease,
    agreed: &'a Agreed,
    context: &'a Context<'a>,
}

impl<'a> Undoing<'a> {
    /// The transaction, its COMMIT, and what becomes of a lost answer.
    async fn undo(&self) -> Result<Undo> {
        let done = commit(
            self.context,
            UNDO,
            async |_, in_doubt| {
                self.context.phase(Phase::Undoing);
                Box::pin(self.write(in_doubt)).await
            },
            || Err(taken_over(self.lease)),
        );
        done.await
            .map_err(|Failed { error, in_doubt }| left(error, if in_doubt { UNKNOWN } else { UNCHANGED }))
    }

    /// Everything but the COMMIT.
    async fn write(&self, in_doubt: &mut InDoubt<Undo>) -> Result<Attempted<'a, Undo>> {
        let Self { target, lease, .. } = *self;
        let (tx, claim, generation) = open(target, self.tuning.whole_table(), claim_run(lease)).await?;
        match claim {
            Claim::Ours => in_doubt.forget(),
            Claim::AlreadyDone => return Ok(Attempted::AlreadyCommitted),
            Claim::Lost => return Err(taken_over(lease)),
        }
        let PutBack { undo, reading } = put_back(&tx, generation, self.agreed).await?;
        let end = RunEnd::new(RunState::Verified, undo.counts(), self.context.summary().retries);
        let guard = guard(&Bounds::AsMeasured(reading));
        let record = format!("{FORGET_GENERATION}; {}; {guard}", end_sql(lease, RunState::Verified, &end));
        Ok(Attempted::Ready(Box::new(tx), record, undo))
    }

    /// Writes why the run failed. Failing to is not the run's failure.
    async fn record_failure(&self, error: &Error) {
        let Self { target, lease, context, .. } = *self;
        let failed = RunEnd {
            error: Some(error.chain()),
            ..RunEnd::new(RunState::of_failure(error.kind), Counts::default(), context.summary().retries)
        };
        if let Err(fault) = run::record_end(target, lease, &failed).await {
            tracing::info!(%fault, run_id = lease.run_id, "the ledger was not told how the undo ended");
        }
    }
}

/// A transaction that has the books to itself, the answer to `before`, and the generation.
async fn open<'a, T>(
    target: &'a Target,
    limit: Limit,
    before: Query<'static, T>,
) -> Result<(Tx<'a>, T, Option<Generation>)> {
    let (work_mem, lock, check) = (changes::WORK_MEM, lock_sql(&[TABLE]), target.server().book_check());
    let locked = format!("{EXACT_TEXT}; SET LOCAL work_mem = '{work_mem}'; {lock}; {check}");
    let first = (before, Query::silent(locked), Generation::query());
    let opened = target.write_measured(limit, first).await;
    let (tx, (before, (), generation)) =
        opened.map_err(|fault| fault.error("could not begin on the target"))?;
    Ok((tx, before, generation))
}

fn unchanged(error: Error) -> Error {
    left(error, UNCHANGED)
}

fn left(mut error: Error, state: &str) -> Error {
    if error.kind == Kind::Interrupted {
        error.hint = Some("run `dewey-sync undo` again".into());
    }
    error.state(state)
}
