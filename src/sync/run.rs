//! One run past its guards and its first questions: begun in the ledger before the first write, ended with the outcome.

use super::ask::Ask;
use super::call::Call;
use super::context::Context;
use super::intent::Intent;
use super::outcome::{Synced, UP_TO_THE_OTHER, Verified, again_if_interrupted, nothing_to_do, unchanged};
use super::register::{begin, record};
use super::request::{Rehearsal, Strategy, Tuning};
use super::sample::{Sample, sample_of_run};
use crate::dependents::{Agreement, ForeignKey};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::Destination;
use crate::ledger::lock::RunLock;
use crate::ledger::run::{Lease, taken_over};
use crate::ledger::state::RunState;
use crate::plan::Plan;
use crate::postgres::fingerprint::Fingerprint;
use crate::preflight::guard::empty_source;
use crate::preflight::guard::owner::Owners;
use crate::preflight::{Preflight, Sides};
use crate::progress::{Event, Progress};
use crate::transfer::import::StatementCache;
use crate::transfer::import::transfer::Transfer;
use crate::transfer::remap::Remap;

/// One run past its guards and its first questions.
pub struct Run<'a> {
    call: Call<'a>,
    intent: Intent,
    /// Lets one run at a time write to the target.
    pub(crate) lock: RunLock<'a>,
    /// The row of the ledger and the right to write.
    pub(crate) lease: Lease,
    /// What will be copied; `atomic` plans anew in the snapshot of each attempt.
    pub(crate) plan: Plan,
    /// Whether batches of the plan may be committed already.
    pub(crate) resumed: bool,
    /// How books change owners.
    pub(crate) remap: Remap,
    /// Kept from batch to batch.
    statements: StatementCache,
}

impl<'a> Run<'a> {
    /// Writes the run into the ledger. The sample for its rehearsal, if it has one, is read meanwhile.
    ///
    /// # Errors
    /// Any of the ledger; the books are unchanged then, and the lock is free.
    pub(super) async fn begin(
        call: Call<'a>,
        lock: RunLock<'a>,
        intent: Intent,
    ) -> Result<(Self, Option<Result<Sample<'a>>>)> {
        let Call { sides, request, context, .. } = call;
        let frozen = intent.freeze();
        let remap = intent.remap(frozen.as_ref());
        let resumed = intent.has_plan();
        let wants_sample = request.rehearsal == Rehearsal::Wanted && intent.equal.is_none() && !resumed;
        let beginning = context.retry("the beginning of the run", async |_| {
            context.cancellable(begin(call, &intent, frozen.as_ref())).await
        });
        let sampling = async { if wants_sample { Some(sample_of_run(call, &remap).await) } else { None } };
        let (lease, sampled) = tokio::join!(beginning, Box::pin(sampling));
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) => {
                // A server that is out of reach learns from the closed connection that the lock is free.
                if error.kind != Kind::Unreachable {
                    lock.release().await;
                }
                sides.target.end_abandoned_sessions(Some(&error)).await;
                return Err(unchanged(error));
            }
        };
        context.progress.begun(lease.run_id, Some((intent.strategy, intent.engine)));
        let plan = frozen.map(|frozen| frozen.plan).unwrap_or_default();
        let run =
            Self { call, intent, lock, lease, plan, resumed, remap, statements: StatementCache::default() };
        Ok((run, sampled))
    }

    /// Does `work` while the lock is kept.
    ///
    /// # Errors
    /// That of the work; [`Kind::Busy`] when another run took the lock and the target.
    pub(super) async fn while_locked<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            lost = self.lock.keep(self.lease) => Err(lost.state(UP_TO_THE_OTHER)),
        }
    }

    /// Tells the ledger how it ended, and lets go of the target.
    pub(super) async fn end(self, done: Result<Verified>) -> Result<Synced> {
        // A verified `staged` or `atomic` has recorded it in the transaction of the books.
        let is_recorded = done.is_ok() && self.strategy() != Strategy::Batched;
        let done = if is_recorded {
            done
        } else {
            let recorded = record(self.call, self.lease, done.as_ref(), RunState::Verified).await;
            // The run's own failure says more.
            done.and_then(|verified| recorded.map(|()| verified))
        };
        self.lock.release().await;
        self.sides().target.end_abandoned_sessions(done.as_ref().err()).await;
        let verified = done.map_err(again_if_interrupted)?;
        Ok(Synced { owners: self.intent.owners, verified, nothing_to_do: false })
    }

    /// The same where both sides were found equal before.
    pub(super) async fn end_unchanged(self, verified: Verified) -> Result<Synced> {
        let done = nothing_to_do(self.owners(), &verified, self.context().progress);
        let recorded = record(self.call, self.lease, Ok(&verified), RunState::Unchanged);
        tokio::join!(recorded, self.lock.release()).0?;
        Ok(done)
    }

    pub(crate) fn sides(&self) -> &'a Sides {
        self.call.sides
    }

    pub(crate) fn call(&self) -> Call<'a> {
        self.call
    }

    pub(crate) fn context(&self) -> &Context<'a> {
        &self.call.context
    }

    pub(crate) fn ask(&self) -> &'a dyn Ask {
        self.call.ask
    }

    pub(crate) fn tuning(&self) -> &'a Tuning {
        self.call.tuning()
    }

    /// How losses of other tables are agreed to.
    pub(crate) fn agreement(&self) -> Agreement {
        self.call.request.guards.agreement
    }

    /// What the guards found.
    pub(crate) fn found(&self) -> &Preflight {
        &self.intent.found
    }

    pub(crate) fn owners(&self) -> &Owners {
        &self.intent.owners
    }

    pub(crate) fn strategy(&self) -> Strategy {
        self.intent.strategy
    }

    /// The proof that there is nothing to do.
    pub(crate) fn equal(&self) -> Option<Verified> {
        self.intent.equal.clone()
    }

    /// The target's foreign keys, as the guards found them.
    pub(crate) fn keys(&self) -> &[ForeignKey] {
        self.found().target.foreign_keys.as_deref().unwrap_or_default()
    }

    /// Books from the source to the target, as this run writes them.
    pub(crate) fn transfer(&self, destination: Destination) -> Transfer<'_> {
        Transfer {
            engine: self.intent.engine,
            remap: &self.remap,
            destination,
            run_id: self.lease.run_id,
            statements: &self.statements,
            is_single: destination == Destination::Stage && self.plan.ranges.len() <= self.tuning().jobs,
        }
    }

    /// Stops where the source has lost its books since the guards looked; `found` is of one snapshot of it.
    pub(crate) fn check_source(&self, found: Fingerprint) -> Result<()> {
        // What an earlier life of the run has deleted counts as well.
        let resumed_books = if self.resumed { self.plan.books } else { 0 };
        let old_books = self.found().target_books.books.max(resumed_books);
        let empty_source = self.call.request.guards.empty_source;
        empty_source::check(found.rows.unsigned_abs(), old_books, empty_source)
    }

    /// The plan, told to whoever watches.
    pub(crate) fn plan(&self) -> &Plan {
        let Plan { ranges, books } = &self.plan;
        self.context().progress.event(&Event::Planned { batches: ranges.len(), books: *books });
        &self.plan
    }

    /// The error of a run that another one has ended: a deadlock or a lost connection may have left that to the claim.
    pub(crate) fn taken_over(&self) -> Error {
        taken_over(self.lease)
    }

    /// What continues this run.
    pub(crate) fn resume_hint(&self) -> String {
        format!("`dewey-sync sync --resume {}` goes on where it stopped", self.lease.run_id)
    }
}
