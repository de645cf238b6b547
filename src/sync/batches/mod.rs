//! Batches, one transaction per batch, `jobs` at a time, into the book table or the stage. Other batches go on when one fails.

pub(crate) mod batch;
pub(crate) mod pacing;

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::{self, Destination};
use crate::plan::Range;
use crate::progress::{Event, Phase, Progress};
use crate::retry::interrupted;
use crate::sync::outcome::SYNC;
use crate::sync::run::Run;
use crate::transfer::import::is_duplicate_key;
use crate::transfer::import::transfer::Copied;
use batch::{Batch, To};
use pacing::Pacing;

/// A batch that failed for good.
pub(super) type Failed = (Range, Error);

/// Copies every range that is not committed yet, as `pacing` lets them, and tells it of each that is; those that failed for
/// good. What is in flight ends before this does.
///
/// # Errors
/// When going on makes no sense: a server is out of reach, the run is not ours any more, a signal came, or a batch was refused.
pub(super) async fn copy_all(run: &Run<'_>, to: To<'_>, pacing: Option<Pacing>) -> Result<Vec<Failed>> {
    run.context().phase(Phase::Copying);
    let (done, left) = done_and_left(run, to.destination()).await?;
    let pacing = pacing.as_ref();
    for range in &done {
        pacing.inspect(|pacing| pacing.copied(range));
    }
    let stop = &run.context().cancel.child_token();
    let ranges = stream::iter(&left).take_until(stop.cancelled());
    let copied = ranges.map(|range| async move {
        let copying = async {
            if let Some(pacing) = pacing {
                pacing.wait_for_turn(range).await;
            }
            // Then nobody fills any more, and who waited has not begun.
            if stop.is_cancelled() {
                return Err(interrupted(SYNC));
            }
            copy_one(run, range, to).await
        };
        (*range, copying.await)
    });
    let mut results = std::pin::pin!(copied.buffer_unordered(run.tuning().jobs));
    let mut failures = Failures { run, failed: Vec::new(), fatal: None };
    while let Some((range, result)) = results.next().await {
        match (result, pacing) {
            (Ok(()), pacing) => drop(pacing.inspect(|pacing| pacing.copied(&range))),
            (Err(error), pacing) => {
                pacing.inspect(|pacing| pacing.failed());
                if failures.add(range, error) == GoOn::Stop {
                    stop.cancel();
                }
            }
        }
    }
    failures.into_failed()
}

/// Whether other batches go on after a failure.
#[derive(PartialEq, Eq)]
enum GoOn {
    Continue,
    Stop,
}

/// What failed until now.
struct Failures<'r, 'a> {
    run: &'r Run<'a>,
    failed: Vec<Failed>,
    /// Going on makes no sense.
    fatal: Option<Error>,
}

impl Failures<'_, '_> {
    fn add(&mut self, range: Range, error: Error) -> GoOn {
        let batches = self.run.plan.ranges.len();
        if error.kind == Kind::Interrupted {
            self.fatal.get_or_insert(error);
            return GoOn::Continue;
        }
        if matches!(error.kind, Kind::Unreachable | Kind::Busy | Kind::Refused) {
            announce_failed(self.run, &range, &error);
            self.fatal.get_or_insert(of_batch(error, &range, batches));
            return GoOn::Stop;
        }
        if is_duplicate_key(&error) {
            let batch = range.batch;
            let cause = error.chain();
            self.run
                .context()
                .notice(format!("batch {batch} of {batches} is left to the verification: {cause}"));
        } else {
            announce_failed(self.run, &range, &error);
        }
        self.failed.push((range, error));
        GoOn::Continue
    }

    fn into_failed(self) -> Result<Vec<Failed>> {
        let Self { run, mut failed, mut fatal } = self;
        if run.context().cancel.is_cancelled() {
            fatal.get_or_insert(interrupted(SYNC));
        }
        if let Some(fatal) = fatal {
            announce_left(run, &failed);
            return Err(fatal);
        }
        failed.sort_by_key(|(range, _)| range.batch);
        Ok(failed)
    }
}

/// The ranges that an earlier life of the run has committed, and those that it has not.
async fn done_and_left(run: &Run<'_>, destination: Destination) -> Result<(Vec<Range>, Vec<Range>)> {
    let plan = &run.plan;
    if !run.resumed {
        return Ok((Vec::new(), plan.ranges.clone()));
    }
    let (committed, _) = committed(run, destination).await?;
    let (done, left): (Vec<Range>, Vec<Range>) =
        plan.ranges.iter().partition(|range| committed.contains_key(&range.batch));
    let books = done.iter().filter_map(|range| committed.get(&range.batch)).sum();
    run.context().progress.event(&Event::Resumed { batches: done.len(), books, destination });
    Ok((done, left))
}

/// The rows of every committed batch, and the last round of any.
pub(crate) async fn committed(
    run: &Run<'_>,
    destination: Destination,
) -> Result<(BTreeMap<usize, u64>, u32)> {
    let run_id = run.lease.run_id;
    run.context()
        .retry("reading the checkpoints", async |_| {
            let committed = checkpoint::committed(&run.sides().target, run_id, destination).await;
            committed.map_err(|fault| fault.error("could not read the checkpoints"))
        })
        .await
}

async fn copy_one(run: &Run<'_>, range: &Range, to: To<'_>) -> Result<()> {
    let what = format!("batch {} of {}", range.batch, run.plan.ranges.len());
    let copied =
        run.context().retry(&what, async |attempt| Batch::new(range, to, attempt).copy(run).await).await?;
    announce(run, range, copied, to.destination());
    Ok(())
}

/// Tells whoever watches that a batch is committed.
pub(super) fn announce(run: &Run<'_>, range: &Range, copied: Copied, destination: Destination) {
    let Copied { exported: books, inserted } = copied;
    let (batch, batches) = (range.batch, run.plan.ranges.len());
    run.context().progress.event(&match destination {
        Destination::Book => Event::Batch { batch, batches, books, inserted },
        Destination::Stage => Event::Staged { batch, batches, books },
    });
}

/// `error` with the batch that it ended.
fn of_batch(error: Error, range: &Range, batches: usize) -> Error {
    Error { doing: format!("batch {} of {batches}: {}", range.batch, error.doing), ..error }
}

fn announce_failed(run: &Run<'_>, range: &Range, error: &Error) {
    let (Range { batch, books, .. }, batches) = (*range, run.plan.ranges.len());
    run.context().progress.event(&Event::BatchFailed { batch, batches, books, cause: error.chain() });
}

/// Those that were left to the verification, when it did not copy them again.
pub(super) fn announce_left(run: &Run<'_>, failed: &[Failed]) {
    for (range, error) in failed.iter().filter(|(_, error)| is_duplicate_key(error)) {
        announce_failed(run, range, error);
    }
}

/// The error of a run some of whose batches failed for good: the first one's cause, all their numbers. Those that were
/// left to the verification are told now.
pub(super) fn not_completed(run: &Run<'_>, failed: Vec<Failed>) -> Error {
    announce_left(run, &failed);
    let plan = &run.plan;
    let numbers: Vec<String> = failed.iter().map(|(range, _)| range.batch.to_string()).collect();
    let doing = format!("{} of {} batches failed: {}", failed.len(), plan.ranges.len(), numbers.join(", "));
    let mut error = Error::new(Kind::NotCompleted, doing);
    if let Some((range, first)) = failed.into_iter().next() {
        error.hint.clone_from(&first.hint);
        error = error.because(of_batch(first, &range, plan.ranges.len()));
    }
    error
}
