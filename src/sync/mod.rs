//! The path of the data:
//!
//! ```text
//! config -> guards -> compare -> plan -> [ export -> remap -> import ] per batch -> verify -> ask -> apply -> record
//! ```
//!
//! [`run()`] is that sentence. A strategy decides where the transactions end and finishes with a
//! [`Verified`](outcome::Verified), which nothing else can make; only `staged` has something to apply.

pub mod apply;
pub mod ask;
mod batches;
pub mod book_table;
pub mod call;
pub mod changes;
mod consent;
pub mod context;
pub mod decide;
pub mod exactly_once;
pub mod intent;
pub mod losses;
mod misfit;
pub mod outcome;
mod owners;
pub mod preview;
mod register;
pub mod rehearsal;
pub mod request;
pub mod resume;
pub mod run;
pub mod sample;
pub mod strategy;
pub mod tally;
pub mod undo;
pub mod verify;

use crate::error::Result;
use crate::ledger::lock::RunLock;
use call::Call;
use outcome::{Synced, nothing_to_do, unchanged, unchanged_if_interrupted};
use run::Run;

/// Makes the target's books equal to the source's, every row verified.
///
/// # Errors
/// Any; its state says what the target holds.
pub async fn run(call: Call<'_>) -> Result<Synced> {
    let (intent, lock) = decide::prepare(call).await.map_err(unchanged_if_interrupted)?;
    if let Some(verified) = intent.equal_and_unmarked() {
        if let Some(lock) = lock {
            lock.release().await;
        }
        return Ok(nothing_to_do(&intent.owners, verified, call.context.progress));
    }
    let lock = if let Some(lock) = lock {
        lock
    } else {
        let lock = RunLock::acquire(&call.sides.target, call.tuning().lock_wait);
        call.context.cancellable(lock).await.map_err(unchanged)?
    };
    let (run, sampled) = Run::begin(call, lock, intent).await?;
    if let Some(verified) = run.equal() {
        return run.end_unchanged(verified).await;
    }
    let done = run.while_locked(Box::pin(strategy::execute(&run, sampled))).await;
    run.end(done).await
}
