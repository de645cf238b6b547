//! What every step of a command is given: how it tries again, when it stops, and whom it tells.

use tokio_util::sync::CancellationToken;

use super::tally::{Summary, Tally};
use crate::error::Result;
use crate::progress::{Event, Phase, Progress};
use crate::retry::{self, Attempt, Policy};

/// What every step of a command is given.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What a signal interrupts: `the sync`.
    pub(crate) work: &'static str,
    pub(crate) policy: Policy,
    /// Fires at the first signal.
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) progress: &'a Tally<'a>,
}

impl Context<'_> {
    /// Repeats `attempt` while it fails in a way that may pass; a signal ends the wait between two attempts.
    pub(crate) async fn retry<T>(
        &self,
        what: &str,
        attempt: impl AsyncFnMut(Attempt) -> Result<T>,
    ) -> Result<T> {
        retry::retry(self.policy, what, self.cancel, self.progress, attempt).await
    }

    /// The same, also after a signal: for what is done when the work has ended, and for what is cancelled as a whole.
    pub(crate) async fn retry_on<T>(
        &self,
        what: &str,
        attempt: impl AsyncFnMut(Attempt) -> Result<T>,
    ) -> Result<T> {
        retry::retry(self.policy, what, &CancellationToken::new(), self.progress, attempt).await
    }

    /// Stops waiting for `step` when the first signal comes; what it had begun is rolled back. Steps are large, and boxed here.
    pub(crate) fn cancellable<T>(
        &self,
        step: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        retry::unless_cancelled(self.cancel, self.work, Box::pin(step))
    }

    pub(crate) fn phase(&self, phase: Phase) {
        self.progress.event(&Event::Phase { phase });
    }

    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.progress.event(&Event::Notice { text: text.into() });
    }

    /// What was done until now, in numbers.
    pub(crate) fn summary(&self) -> Summary {
        self.progress.summary()
    }
}
