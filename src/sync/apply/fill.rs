//! Fills the book table from the stage, up to the COMMIT and its last statements.

use std::ops::ControlFlow;

use super::begin::{Begun, Writers, begin, queries};
use super::early_fill::EarlyFill;
use super::keep::Kept;
use super::outcome::{Outcome, applying};
use super::staged::{Filled, Staged, finish};
use super::write;
use crate::dependents::{Agreement, ForeignKey, check};
use crate::error::Result;
use crate::ledger::run::Claim;
use crate::postgres::Tx;
use crate::sync::changes::{self, Agreed, Changes};
use crate::sync::exactly_once::{Attempted, InDoubt};
use crate::sync::run::Run;
use crate::transfer::import::is_duplicate_key;

const STAGE_LOST: &str = "the target's server lost the stage; copying again";

/// Rolls it back, if there is one.
pub(crate) async fn discard(filled: Option<Filled<'_>>) {
    if let Some(Filled { tx, .. }) = filled {
        tx.rollback().await;
    }
}

/// Fills the table of a verified stage, while the source's transaction ends; or tells why not.
pub(super) async fn fill<'a>(
    run: &Run<'a>,
    staged: &mut Staged<'a>,
    agreed: &Agreed,
    in_doubt: &mut InDoubt<Outcome>,
) -> Result<ControlFlow<Attempted<'a, Outcome>, Filled<'a>>> {
    let (run_id, remap) = (run.lease.run_id, &run.remap);
    let Staged { verified, keys, snapshot, .. } = staged;
    let expected = verified.fingerprint().rows;
    let (opened, ended) = tokio::join!(begin(run, Some(expected), keys), finish(snapshot.take()));
    let not = |outcome| Ok(ControlFlow::Break(Attempted::NothingToCommit(outcome)));
    if let Err(fault) = ended {
        if let Ok((tx, _)) = opened {
            tx.rollback().await;
        }
        return not(Outcome::Lost(Some(fault)));
    }
    let (tx, begun) = opened.map_err(applying)?;
    match begun.claim {
        Claim::Ours => in_doubt.forget(),
        Claim::AlreadyDone => return Ok(ControlFlow::Break(Attempted::AlreadyCommitted)),
        Claim::Lost => return Err(run.taken_over()),
    }
    begun.owners.check()?;
    if begun.staged != Some(expected) {
        tx.rollback().await;
        run.context().notice(STAGE_LOST);
        return not(Outcome::Lost(None));
    }
    let Kept { removed, changed, ref dependents, .. } = begun.kept;
    check(dependents, Agreement::ByQuestion)?;
    let changes = Changes { changed, removed, dependents: dependents.clone(), ..Changes::default() };
    if !agreed.covers(&changes) {
        let changes = changes::count(&tx, run_id, &remap.columns, keys).await?;
        tx.rollback().await;
        return not(Outcome::More { changes, why: "the target changed since the question" });
    }
    let (applying_to, kept) = begun.applying(run, keys, None);
    let written = write::write(&tx, &applying_to).await.map_err(applying)?;
    Ok(ControlFlow::Continue(Filled { tx, kept, written }))
}

/// Fills a book table that is empty from a stage that is not verified: nothing is to be asked or lost, and whether it holds
/// what the source has is looked at before the COMMIT. `early` has begun with it. `None` when there are books after all,
/// when the run is applied already, or when books of the stage cannot be in the table together: then verifying the stage
/// says which.
///
/// # Errors
/// Any; nothing is changed then.
pub(crate) async fn complete_early_fill<'a>(
    run: &Run<'a>,
    keys: &[ForeignKey],
    early: Option<EarlyFill<'a>>,
) -> Result<Option<Filled<'a>>> {
    let mut keys = keys.to_vec();
    let (tx, begun, through) = match continue_early_fill(run, &keys, early).await {
        Some(begun) => begun,
        None => begin(run, None, &mut keys).await.map(|(tx, begun)| (tx, begun, None)).map_err(applying)?,
    };
    if begun.claim == Claim::Lost {
        return Err(run.taken_over());
    }
    // Books up to `through` are our own. Any of somebody else's make the table unlike the source.
    if begun.claim != Claim::Ours || (begun.books.are_there && through.is_none()) {
        tx.rollback().await;
        return Ok(None);
    }
    begun.owners.check()?;
    let (applying_to, kept) = begun.applying(run, &keys, through);
    match write::write(&tx, &applying_to).await.map_err(applying) {
        Ok(written) => Ok(Some(Filled { tx, kept, written })),
        Err(error) if is_duplicate_key(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What [`begin`] does, in a transaction that has begun; `None` where that cannot go on. Nothing references books that nobody
/// else sees yet, whatever foreign keys there are by now.
async fn continue_early_fill<'a>(
    run: &Run<'a>,
    keys: &[ForeignKey],
    early: Option<EarlyFill<'a>>,
) -> Option<(Tx<'a>, Begun, Option<i32>)> {
    let EarlyFill { tx, through } = early?;
    let (claim, owners, staged, books, counting, keys, kept) =
        queries(run, None, keys, Writers::AreLeftAlone);
    // From now on it waits for locks as every apply does.
    let claim = claim.after(&run.tuning().whole_table().lock_sql());
    match tx.ask((claim, owners, staged, books, counting, keys, kept)).await {
        Ok(answers) => Some((tx, Begun::from(answers), Some(through))),
        Err(fault) => {
            tracing::debug!(%fault, "what was filled ahead was of no use");
            None
        }
    }
}
