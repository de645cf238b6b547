//! `batched`, the old *Enhanced*: the deletion in one transaction, then a transaction a batch. Other batches go on when
//! one fails, and a last look at one snapshot of the source copies again what changed meanwhile.

use sqlx::Row;

use super::batches::{To, announce_left, committed, copy_all, not_completed};
use super::staged::{MORE_MEASURED, ROUNDS_MAX, more_each_time};
use super::trial::{BEFORE, try_batch};
use crate::book::{SourceBook, TABLE};
use crate::dependents::uncounted::{self, Counting};
use crate::error::{Error, Kind, Result};
use crate::ledger::FORGET_GENERATION;
use crate::ledger::checkpoint::{self, Checkpoint, Destination};
use crate::ledger::run::Claim;
use crate::plan::Plan;
use crate::postgres::effects::{Bounds, Losing, guard};
use crate::postgres::{Fault, Fingerprint};
use crate::preflight::guard::schema::ids;
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Class, classify_error, retry, unless_cancelled};
use crate::sync::apply::Leading;
use crate::sync::ask::Consent;
use crate::sync::changes::{Agreed, Changes};
use crate::sync::exactly_once::{Attempted, Failed, Sent, commit};
use crate::sync::losses::{self, Losses, Measured};
use crate::sync::outcome::{SYNC, UNCHANGED, Verified};
use crate::sync::owners;
use crate::sync::run::Job;
use crate::sync::verify::book_table::reconcile;
use crate::transfer::import::transfer::Copied;
use crate::transfer::import::{delete_all, is_duplicate_key};

const UNKNOWN: &str = "`\"Book\"` is either unchanged or empty: the answer to COMMIT was lost";

/// The deletion, as a batch of its own.
const DELETION: Checkpoint = Checkpoint { batch: 0, round: 0, after_id: None, through_id: None, rows: 0 };

/// Runs the job, if the books of `sample` fit as a batch; without one, that is not tried.
///
/// # Errors
/// [`Kind::NotCompleted`] when batches failed for good,
/// [`Kind::Differs`] when the sides are not equal in the end; the state then says what the
/// target holds.
pub async fn run(
    job: &Job<'_>,
    consent: &Consent<'_, '_>,
    sample: Option<&[SourceBook]>,
) -> Result<Verified> {
    let plan = job.plan();

    let (books, bounds) = delete_as_agreed(job, consent, sample).await?;
    job.progress.event(&Event::Deleted { books });

    Box::pin(copy_and_verify(job, plan, &bounds)).await.map_err(|error| {
        let done = job.progress.summary();
        let at_least = if classify_error(&error) == Class::Ambiguous { "at least " } else { "" };
        error
            .state(format!(
                "`\"Book\"` holds {at_least}{} of {} books, {} of {} batches; the old books are gone",
                done.counts.inserted, plan.books, done.batches.done, done.batches.total
            ))
            .hint(job.resume_hint())
    })
}

/// Whether the old books are all there: not even the deletion is committed.
pub(crate) async fn has_not_begun(job: &Job<'_>) -> Result<bool> {
    Ok(committed(job, Destination::Book).await?.0.is_empty())
}

async fn copy_and_verify(job: &Job<'_>, plan: &Plan, bounds: &Bounds) -> Result<Verified> {
    let failed = copy_all(job, plan, To::Book(bounds), Leading::alone()).await?;
    // A duplicate key may only mean that a book moved between two snapshots: the verification decides.
    if failed.iter().any(|(_, error)| !is_duplicate_key(error)) {
        return Err(not_completed(job, failed, plan));
    }
    let verified = Box::pin(reconcile(job, bounds)).await;
    match &verified {
        Err(error) if is_duplicate_key(error) && !failed.is_empty() => {
            return Err(not_completed(job, failed, plan));
        }
        // Their books came with what was copied again, and are counted there.
        Ok(_) => {
            for (range, _) in &failed {
                job.announce(range, plan.ranges.len(), Copied::default(), Destination::Book);
            }
        }
        Err(_) => announce_left(job, &failed, plan.ranges.len()),
    }
    verified
}

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
async fn delete_as_agreed(
    job: &Job<'_>,
    consent: &Consent<'_, '_>,
    sample: Option<&[SourceBook]>,
) -> Result<(u64, Bounds)> {
    let mut agreed = consent.beforehand();
    let mut bounds = job.bounds();
    let mut losing = Losing::default();
    for round in 0..ROUNDS_MAX {
        // A sample is read after the first question.
        if round > 0 || sample.is_none_or(<[_]>::is_empty) {
            check_production(job).await.map_err(|error| error.state(UNCHANGED))?;
        }
        if sample.is_some_and(<[_]>::is_empty) && job.plan.books > 0 {
            return Err(Error::new(Kind::Refused, "could not try whether a batch fits")
                .because("no book of production could be read for a sample")
                .hint("`--strategy staged` keeps the old books whatever comes")
                .state(UNCHANGED));
        }
        job.progress.event(&Event::Phase { phase: Phase::Deleting });
        let deleted = commit(
            job.tuning.retry,
            "the deletion",
            job.cancel,
            job.progress,
            async |_, sent| Box::pin(delete(job, &agreed, &bounds, sample, sent)).await,
            || Err(job.lost_run()),
        );
        let deleted = deleted.await;
        match deleted
            .map_err(|Failed { error, in_doubt }| error.state(if in_doubt { UNKNOWN } else { UNCHANGED }))?
        {
            Deletion::Done(books, measured) => {
                measured.tell(job.progress);
                return Ok((books, bounds));
            }
            Deletion::MoreInBatches(losses) if !consent.ask.waits() => {
                return Err(losses::refuse(losses.effects()).state(UNCHANGED));
            }
            Deletion::MoreInBatches(losses) => {
                job.progress.event(&Event::Notice { text: IN_BATCHES.into() });
                let asked = unless_cancelled(job.cancel, SYNC, consent.to_batches(job.tenure, &losses)).await;
                asked.map_err(|error| error.state(UNCHANGED))?;
                losing.add(losses.effects());
                bounds = Bounds::Within(losing.clone());
            }
            Deletion::More(changes) => {
                job.progress.event(&Event::Notice { text: MORE_MEASURED.into() });
                let asked = unless_cancelled(job.cancel, SYNC, consent.to_more(job.tenure, &changes)).await;
                agreed = asked.map_err(|error| error.state(UNCHANGED))?;
            }
        }
    }
    Err(more_each_time().state(UNCHANGED))
}

/// While a question waited, production may have lost its books.
async fn check_production(job: &Job<'_>) -> Result<()> {
    let look = format!("SELECT count(*) FROM (SELECT FROM {TABLE} LIMIT 1) b");
    let counted = retry(job.tuning.retry, "the look at production", job.cancel, job.progress, async |_| {
        let source = job.sides.source.open(job.tuning.whole_table()).await.map_err(looking)?;
        let rows = source.last(&look).await.map_err(looking)?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| looking(error.into()))
    });
    let rows: i64 = counted.await?.unwrap_or_default();
    job.check_source(Fingerprint { rows, digest: 0 })
}

fn looking(fault: Fault) -> Error {
    fault.error("could not look at production's books once more")
}

/// Batch 0, but for its COMMIT.
async fn delete<'a>(
    job: &Job<'a>,
    agreed: &Agreed,
    bounds: &Bounds,
    sample: Option<&[SourceBook]>,
    sent: &mut Sent<Deletion>,
) -> Result<Attempted<'a, Deletion>> {
    let deleting = |fault: Fault| fault.error("could not remove the old books");
    let claim = checkpoint::claim_sql(job.tenure, Destination::Book, DELETION);
    let counts = uncounted::sql(job.keys);
    let first = format!("{claim}; {}; {FORGET_GENERATION}; {counts}", owners::hold_sql(&job.remap.owners));
    let began = job.sides.target.write_measured(job.tuning.whole_table(), &first).await;
    let (target, rows) = began.map_err(deleting)?;
    match checkpoint::claim(&rows).map_err(deleting)? {
        Claim::Ours => sent.forget(),
        Claim::AlreadyDone => {
            let rows = checkpoint::rows(&target, job.tenure, Destination::Book, DELETION).await;
            target.rollback().await;
            return Ok(Attempted::Not(Deletion::Done(rows.map_err(deleting)?, Measured::default())));
        }
        Claim::Lost => return Err(job.lost_run()),
    }
    owners::check_held(&rows, &job.remap.owners)?;
    let counting = Counting::begun(&rows, job.keys).map_err(deleting)?;
    let books = delete_all(&target, job.tuning.whole_table()).await.map_err(deleting)?;
    let correct = checkpoint::correct_sql(job.tenure, Destination::Book, DELETION, books);
    let read = losses::reading_sql(&target, counting.as_ref());
    let rows = target.simple(&format!("{correct}; {read}; {BEFORE}")).await.map_err(deleting)?;
    let (effects, mut reading) = losses::read(&rows, counting.as_ref()).map_err(deleting)?;
    let losses = Losses::of(&effects, books)?;
    let new = job.plan.books;
    let changes = Changes { new, removed: books, dependents: losses.as_dependents(), ..Changes::default() };
    if !agreed.covers(&changes) {
        target.rollback().await;
        return Ok(Attempted::Not(Deletion::More(changes)));
    }
    if let Some(sample) = sample.filter(|sample| !sample.is_empty()) {
        let trial = try_batch(job, &target, sample, counting.as_ref(), &effects).await?;
        if !bounds.allow(trial.losses.effects()) {
            target.rollback().await;
            return Ok(Attempted::Not(Deletion::MoreInBatches(trial.losses)));
        }
        ids::check_room(job.sides.target.server().endpoint(), trial.ids_left, job.plan.books, 0)?;
        reading = trial.reading;
    }
    let measured = losses.measured(&effects, &[]);
    let guard = guard(&Bounds::AsMeasured(reading));
    Ok(Attempted::Ready(Box::new(target), guard, Deletion::Done(books, measured)))
}
