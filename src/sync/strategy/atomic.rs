//! `atomic`, the old *Original*: one transaction on the target and one snapshot on the source span the run. Either
//! everything is there and verified, or nothing has changed.

use std::pin::Pin;

use super::staged::{ROUNDS_MAX, more_each_time};
use crate::dependents::uncounted::Counting;
use crate::error::{Error, Result};
use crate::ledger::FORGET_GENERATION;
use crate::ledger::checkpoint::Destination;
use crate::ledger::run::{Claim, Counts, RunEnd, claim_run, end_sql};
use crate::ledger::state::RunState;
use crate::plan::{Plan, Range};
use crate::postgres::effects::{Bounds, guard};
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::query::Query;
use crate::postgres::{Effects, Fault, Limit, SourceTx, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry::Attempt;
use crate::sync::apply::MORE_MEASURED;
use crate::sync::book_table::analyze_sql;
use crate::sync::changes::{Agreed, Changes};
use crate::sync::exactly_once::{Attempted, Failed, InDoubt, commit};
use crate::sync::losses::{self, Losses, Measured};
use crate::sync::outcome::{OTHER_WRITER, SYNC, UNCHANGED, Verified, snapshot_time};
use crate::sync::owners;
use crate::sync::run::Run;
use crate::sync::verify::Pair;
use crate::transfer::duplicates::explain_duplicates;
use crate::transfer::export::Books;
use crate::transfer::import::transfer::Copied;
use crate::transfer::import::{delete_all, is_duplicate_key, read_to_end, while_reading};

const UNKNOWN: &str = "`\"Book\"` is either unchanged or the new state: the answer to COMMIT was lost";

/// How an attempt ended.
#[derive(Clone)]
enum Outcome {
    /// Everything is there and verified.
    Done(Verified, Measured),
    /// More rows of other tables are deleted or changed than was agreed to; nothing was changed.
    More(Changes),
}

/// Does the work of the run; a transient error starts the whole transaction again.
///
/// # Errors
/// Any; the target is then as it was, unless the answer to COMMIT stayed out to the end.
pub(super) async fn run(run: &Run<'_>) -> Result<Verified> {
    let mut agreed = run.agreed_beforehand();
    for _ in 0..ROUNDS_MAX {
        match attempt(run, &agreed).await? {
            Outcome::Done(verified, measured) => {
                measured.tell(run.context().progress);
                return Ok(verified);
            }
            Outcome::More(changes) => {
                run.context().progress.event(&Event::RolledBack);
                run.context().notice(MORE_MEASURED);
                let asked = run.ask_about_more(&changes).await;
                agreed = asked.map_err(|error| error.state(UNCHANGED))?;
            }
        }
    }
    Err(more_each_time().state(UNCHANGED))
}

async fn attempt(run: &Run<'_>, agreed: &Agreed) -> Result<Outcome> {
    let context = run.context();
    let done = commit(
        context,
        SYNC,
        async |attempt, in_doubt| Box::pin(write(run, agreed, attempt, in_doubt)).await,
        || Err(run.taken_over()),
    );
    done.await.map_err(|Failed { error, in_doubt }| {
        if in_doubt {
            return error.state(UNKNOWN).hint(run.resume_hint());
        }
        if context.summary().counts != Counts::default() {
            context.progress.event(&Event::RolledBack);
        }
        error.state(UNCHANGED)
    })
}

/// Everything but the COMMIT.
async fn write<'a>(
    run: &Run<'a>,
    agreed: &Agreed,
    attempt: Attempt,
    in_doubt: &mut InDoubt<Outcome>,
) -> Result<Attempted<'a, Outcome>> {
    let (sides, context, remap) = (run.sides(), run.context(), &run.remap);
    let whole_table = run.tuning().whole_table();
    context.phase(Phase::Planning);
    let planning = |fault: Fault| fault.error("could not plan the batches");
    let first = (snapshot_time(), Query::new(Plan::query(run.tuning().batch_size), Plan::from_rows));
    let began = sides.source.snapshot(whole_table, first).await;
    let (source, (snapshot_at, plan)) = began.map_err(planning)?;
    let first = (
        claim_run(run.lease),
        owners::hold(&remap.owners),
        Query::silent(FORGET_GENERATION),
        Counting::begin(run.keys()),
    );
    let began = sides.target.write_measured(whole_table, first).await;
    let (target, (claim, owners, (), counting)) =
        began.map_err(|fault| fault.error("could not begin on the target"))?;
    match claim {
        Claim::Ours => in_doubt.forget(),
        Claim::AlreadyDone => return Ok(Attempted::AlreadyCommitted),
        Claim::Lost => return Err(run.taken_over()),
    }
    owners.check()?;
    // Only now, because the counts of an attempt that was committed after all have to stay.
    context.progress.event(&Event::Planned { batches: plan.ranges.len(), books: plan.books });

    context.phase(Phase::Deleting);
    let deleted = delete_all(&target, run.tuning().batch_timeout).await;
    let books = deleted.map_err(|fault| fault.error("could not remove the old books"))?;
    context.progress.event(&Event::Deleted { books });

    context.phase(Phase::Copying);
    source.limit(run.tuning().batch_timeout);
    copy_all(run, &plan, &source, &target, attempt).await?;

    context.phase(Phase::Verifying);
    source.limit(whole_table);
    target.limit(whole_table);
    let pair = Pair { source: &source, target: &target, columns: &remap.columns, owners: &remap.owners };
    let fingerprint = equal(pair, whole_table).await?;
    run.check_source(fingerprint)?;
    source.finish().await.map_err(|fault| fault.error("could not end the source's snapshot"))?;
    context.progress.event(&Event::Verified { rows: fingerprint.rows, digest: fingerprint.digest_hex() });
    let verified = Verified::new(fingerprint, snapshot_at);
    let (effects, reading) = record(run, &target, &verified, counting.as_ref()).await?;
    let losses = Losses::of(&effects, books)?;
    let changes =
        Changes { new: plan.books, removed: books, dependents: losses.as_dependents(), ..Changes::default() };
    if !agreed.covers(&changes) {
        target.rollback().await;
        return Ok(Attempted::NothingToCommit(Outcome::More(changes)));
    }
    let measured = losses.measured(&effects, &[]);
    let guard = guard(&Bounds::AsMeasured(reading));
    Ok(Attempted::Ready(Box::new(target), guard, Outcome::Done(verified, measured)))
}

/// Copies batch after batch. The next one is read while one is written.
async fn copy_all(
    run: &Run<'_>,
    plan: &Plan,
    source: &SourceTx<'_>,
    target: &Tx<'_>,
    attempt: Attempt,
) -> Result<()> {
    let transfer = run.transfer(Destination::Book);
    let export = |range: &Range| transfer.export(source, Books::Range(range), range.books, attempt.shrinks);
    let batches = plan.ranges.len();
    let mut exports = plan.ranges.iter().map(|range| (range, export(range)));
    let mut next = exports.next();
    while let Some((range, mut exported)) = next.take() {
        // It has the source's connection before the next one asks for it.
        Pin::new(&mut exported).peek().await;
        next = exports.next();
        let importing = transfer.import(target, exported);
        let copied = match &mut next {
            Some((_, next)) => while_reading(next, importing).await,
            None => importing.await,
        };
        match copied {
            Ok(Copied { exported: books, inserted }) => {
                let batch = range.batch;
                run.context().progress.event(&Event::Batch { batch, batches, books, inserted });
            }
            Err(error) => {
                // Until then the source cannot be asked which books have the key.
                if let Some((_, next)) = next.filter(|_| is_duplicate_key(&error)) {
                    read_to_end(next).await;
                }
                let batch = format!("batch {} of {batches}: {}", range.batch, error.doing);
                let error = Error { doing: batch, ..error };
                return Err(explain_duplicates(error, source, &run.remap.columns).await);
            }
        }
    }
    Ok(())
}

/// The fingerprint of both sides. The planner knows the new books from then on.
///
/// # Errors
/// [`Kind::Differs`](crate::error::Kind::Differs) with the counts when they are not equal.
async fn equal(pair: Pair<'_, '_>, limit: Limit) -> Result<Fingerprint> {
    let (source, target) = pair.fingerprints_after(&format!("{}; {}; ", limit.sql(), analyze_sql())).await?;
    if source == target {
        return Ok(source);
    }
    let buckets = pair.differing_buckets().await?;
    Err(pair.difference(&buckets).await?.error().hint(OTHER_WRITER))
}

/// Writes the outcome into the same transaction, so that it is true exactly when the books are there, and reads what the
/// transaction did to every table.
async fn record(
    run: &Run<'_>,
    target: &Tx<'_>,
    verified: &Verified,
    counting: Option<&Counting>,
) -> Result<(Effects, String)> {
    let summary = run.context().summary();
    let end = RunEnd {
        fingerprint: Some(verified.fingerprint()),
        snapshot_at: Some(verified.snapshot_at().to_owned()),
        ..RunEnd::new(RunState::Verified, summary.counts, summary.retries)
    };
    let recorded = losses::read_after(target, &end_sql(run.lease, RunState::Verified, &end), counting).await;
    recorded.map_err(|fault| fault.error("could not record the outcome"))
}
