//! The first transaction of `batched`: it deletes the old books, as far as that was agreed to.

use sqlx::Row;

use super::staged::{ROUNDS_MAX, more_each_time};
use super::trial::{BEFORE, try_batch};
use crate::book::{SourceBook, TABLE};
use crate::dependents::Agreement;
use crate::dependents::uncounted::Counting;
use crate::error::{Error, Kind, Result};
use crate::ledger::FORGET_GENERATION;
use crate::ledger::checkpoint::{self, Checkpoint, Destination};
use crate::ledger::run::Claim;
use crate::postgres::effects::{Bounds, Losing, guard};
use crate::postgres::query::Query;
use crate::postgres::{Fault, Fingerprint};
use crate::preflight::guard::schema::ids;
use crate::progress::Phase;
use crate::sync::apply::MORE_MEASURED;
use crate::sync::changes::{Agreed, Changes};
use crate::sync::exactly_once::{Attempted, Failed, InDoubt, commit};
use crate::sync::losses::{self, Losses, Measured};
use crate::sync::outcome::UNCHANGED;
use crate::sync::owners;
use crate::sync::run::Run;
use crate::transfer::import::delete_all;

const UNKNOWN: &str = "`\"Book\"` is either unchanged or empty: the answer to COMMIT was lost";

/// The deletion, as a batch of its own.
const DELETION: Checkpoint = Checkpoint { batch: 0, round: 0, after_id: None, through_id: None, rows: 0 };

/// How an attempt at the deletion ended.
#[derive(Clone)]
enum Deletion {
    /// So many books are gone.
    Done(u64, Measured),
    /// More rows of other tables are deleted or changed than was agreed to; nothing was changed.
    More(Changes),
    /// A batch deletes or changes rows of other tables, which was not agreed to; nothing was changed.
    MoreInBatches(Losses),
}

/// The question that comes then covers what is not known yet.
const IN_BATCHES: &str = "rolled back: a sample of the new books deleted or changed rows of other tables, which triggers may do; batches are \
     committed one by one, so that a yes agrees to any number of such rows in these tables";

/// Deletes the old books, unless more is lost with them or by new ones than is agreed to; how many there were, and what
/// batches may do.
pub(super) async fn delete_as_agreed(run: &Run<'_>, sample: Option<&[SourceBook]>) -> Result<(u64, Bounds)> {
    let mut agreed = run.agreed_beforehand();
    let mut bounds = bounds_beforehand(run);
    let mut losing = Losing::default();
    for round in 0..ROUNDS_MAX {
        // A sample is read after the first question.
        if round > 0 || sample.is_none_or(<[_]>::is_empty) {
            check_production(run).await.map_err(|error| error.state(UNCHANGED))?;
        }
        if sample.is_some_and(<[_]>::is_empty) && run.plan.books > 0 {
            return Err(Error::new(Kind::Refused, "could not try whether a batch fits")
                .because("no book of production could be read for a sample")
                .hint("`--strategy staged` keeps the old books whatever comes")
                .state(UNCHANGED));
        }
        run.context().phase(Phase::Deleting);
        let deleted = commit(
            run.context(),
            "the deletion",
            async |_, in_doubt| Box::pin(delete(run, &agreed, &bounds, sample, in_doubt)).await,
            || Err(run.taken_over()),
        );
        let deleted = deleted.await;
        match deleted
            .map_err(|Failed { error, in_doubt }| error.state(if in_doubt { UNKNOWN } else { UNCHANGED }))?
        {
            Deletion::Done(books, measured) => {
                measured.tell(run.context().progress);
                return Ok((books, bounds));
            }
            Deletion::MoreInBatches(losses) if !run.ask().waits() => {
                return Err(losses::refuse(losses.effects()).state(UNCHANGED));
            }
            Deletion::MoreInBatches(losses) => {
                run.context().notice(IN_BATCHES);
                let asked = run.ask_about_batches(&losses).await;
                asked.map_err(|error| error.state(UNCHANGED))?;
                losing.add(losses.effects());
                bounds = Bounds::Within(losing.clone());
            }
            Deletion::More(changes) => {
                run.context().notice(MORE_MEASURED);
                let asked = run.ask_about_more(&changes).await;
                agreed = asked.map_err(|error| error.state(UNCHANGED))?;
            }
        }
    }
    Err(more_each_time().state(UNCHANGED))
}

/// What a transaction that only inserts books may do besides, unless more was asked about.
fn bounds_beforehand(run: &Run<'_>) -> Bounds {
    if run.agreement() == Agreement::ByFlag { Bounds::KnownLosses } else { Bounds::Within(Losing::default()) }
}

/// While a question waited, production may have lost its books.
async fn check_production(run: &Run<'_>) -> Result<()> {
    let look = format!("SELECT count(*) FROM (SELECT FROM {TABLE} LIMIT 1) b");
    let counted = run.context().retry("the look at production", async |_| {
        let source = run.sides().source.open(run.tuning().whole_table()).await.map_err(looking)?;
        let rows = source.last(&look).await.map_err(looking)?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| looking(error.into()))
    });
    let rows: i64 = counted.await?.unwrap_or_default();
    run.check_source(Fingerprint { rows, digest: 0 })
}

fn looking(fault: Fault) -> Error {
    fault.error("could not look at production's books once more")
}

/// Batch 0, but for its COMMIT.
async fn delete<'a>(
    run: &Run<'a>,
    agreed: &Agreed,
    bounds: &Bounds,
    sample: Option<&[SourceBook]>,
    in_doubt: &mut InDoubt<Deletion>,
) -> Result<Attempted<'a, Deletion>> {
    let deleting = |fault: Fault| fault.error("could not remove the old books");
    let first = (
        checkpoint::claim(run.lease, Destination::Book, DELETION),
        owners::hold(&run.remap.owners),
        Query::silent(FORGET_GENERATION),
        Counting::begin(run.keys()),
    );
    let began = run.sides().target.write_measured(run.tuning().whole_table(), first).await;
    let (target, (claim, owners, (), counting)) = began.map_err(deleting)?;
    match claim {
        Claim::Ours => in_doubt.forget(),
        Claim::AlreadyDone => {
            let rows = checkpoint::rows(&target, run.lease, Destination::Book, DELETION).await;
            target.rollback().await;
            return Ok(Attempted::NothingToCommit(Deletion::Done(
                rows.map_err(deleting)?,
                Measured::default(),
            )));
        }
        Claim::Lost => return Err(run.taken_over()),
    }
    owners.check()?;
    let books = delete_all(&target, run.tuning().whole_table()).await.map_err(deleting)?;
    let correct = checkpoint::correct_sql(run.lease, Destination::Book, DELETION, books);
    let read = losses::reading(&target, counting.as_ref());
    let asked = target.ask((Query::silent(correct), read, Query::silent(BEFORE))).await;
    let ((), (effects, mut reading), ()) = asked.map_err(deleting)?;
    let losses = Losses::of(&effects, books)?;
    let new = run.plan.books;
    let changes = Changes { new, removed: books, dependents: losses.as_dependents(), ..Changes::default() };
    if !agreed.covers(&changes) {
        target.rollback().await;
        return Ok(Attempted::NothingToCommit(Deletion::More(changes)));
    }
    if let Some(sample) = sample.filter(|sample| !sample.is_empty()) {
        let trial = try_batch(run, &target, sample, counting.as_ref(), &effects).await?;
        if !bounds.allow(trial.losses.effects()) {
            target.rollback().await;
            return Ok(Attempted::NothingToCommit(Deletion::MoreInBatches(trial.losses)));
        }
        ids::check_room(run.sides().target.server().endpoint(), trial.ids_left, run.plan.books, 0)?;
        reading = trial.reading;
    }
    let measured = losses.measured(&effects, &[]);
    let guard = guard(&Bounds::AsMeasured(reading));
    Ok(Attempted::Ready(Box::new(target), guard, Deletion::Done(books, measured)))
}
