//! A transaction that does the whole of something, tried again until its COMMIT has a definite answer.
//!
//! Each attempt claims first, so one whose answer was lost is found, not done twice.

use super::context::Context;
use super::losses;
use crate::error::{Error, Result};
use crate::postgres::Tx;
use crate::progress::Phase;
use crate::retry::{Attempt, Class, classify_error};

/// What a COMMIT without a definite answer was to commit.
#[derive(Debug)]
pub(crate) struct InDoubt<T>(Option<T>);

impl<T> InDoubt<T> {
    /// The claim is ours: then no earlier COMMIT has happened.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

/// An attempt, but for its COMMIT.
pub(crate) enum Attempted<'server, T> {
    /// It waits for it, with the statements that come in one round trip with it.
    Ready(Box<Tx<'server>>, String, T),
    /// There is nothing to commit.
    NothingToCommit(T),
    /// An earlier one was committed, though its answer was lost.
    AlreadyCommitted,
}

/// Why nothing was committed, as far as that is known.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The last attempt's.
    pub error: Error,
    /// The answer to a COMMIT stayed out to the end.
    pub in_doubt: bool,
}

/// Runs `attempt` until what it did is committed. A signal ends it until a COMMIT is sent; from then on the answer
/// decides. `before` is called when an earlier process has already committed this work.
pub(crate) async fn commit<'server, T: Clone>(
    context: &Context<'_>,
    what: &str,
    mut attempt: impl AsyncFnMut(Attempt, &mut InDoubt<T>) -> Result<Attempted<'server, T>>,
    before: impl Fn() -> Result<T>,
) -> Result<T, Failed> {
    let mut in_doubt = InDoubt(None);
    let done = context.retry(what, async |number| {
        let (tx, last, done) = match context.cancellable(attempt(number, &mut in_doubt)).await? {
            Attempted::Ready(tx, last, done) => (tx, last, done),
            Attempted::NothingToCommit(done) => return Ok(done),
            Attempted::AlreadyCommitted => return in_doubt.0.clone().map_or_else(&before, Ok),
        };
        context.phase(Phase::Committing);
        in_doubt.0 = Some(done.clone());
        let committed = tx.commit_after(&last).await;
        let committed = committed.map_err(|fault| losses::refused(fault, "could not commit"));
        if committed.as_ref().is_err_and(|error| classify_error(error) != Class::Ambiguous) {
            in_doubt.0 = None;
        }
        committed.map(|_| done)
    });
    done.await.map_err(|error| Failed { error, in_doubt: in_doubt.0.is_some() })
}
