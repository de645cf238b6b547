//! The questions that only a person can answer.

use async_trait::async_trait;

use super::changes::Changes;
use super::request::Strategy;
use crate::error::Result;
use crate::plan::Frozen;
use crate::preflight::Preflight;
use crate::preflight::guard::owner::{Owner, Owners, User};
use crate::transfer::engine::Engine;

/// The questions that only a person can answer. No transaction is open while one waits.
#[async_trait]
pub trait Ask: Sync {
    /// Told what was found and who was chosen, before the question whether to go on.
    fn show(&self, found: &Preflight, owners: &Owners);

    /// Whether a question waits for a person, and is not answered by a flag or refused.
    fn waits(&self) -> bool;

    /// Stops where a question would find nobody to answer it.
    fn answerable(&self) -> Result<()>;

    /// Whether to go on with a run that did not come to its end.
    async fn resume(&self, unfinished: &Unfinished) -> Result<bool>;

    /// Which of `users` shall own the books; `preselected` is among them.
    async fn choose_owner(&self, users: &[User], preselected: Option<i32>) -> Result<Owner>;

    /// Whether the target really is a development database: its name has to be typed.
    async fn mark(&self, found: &Preflight) -> Result<()>;

    /// Whether to replace every book.
    async fn confirm(&self, found: &Preflight, owners: &Owners) -> Result<()>;

    /// Whether to make these changes, which are staged and verified.
    async fn confirm_changes(&self, found: &Preflight, owners: &Owners, changes: &Changes) -> Result<()>;
}

/// A run that did not come to its end.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// The row of the ledger.
    pub run_id: i64,
    /// Where its transactions end.
    pub strategy: Strategy,
    /// How it wrote books.
    pub engine: Engine,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How it stopped.
    pub state: String,
    /// Whom it gives the books to that the owner map says nothing about.
    pub others: Option<Owner>,
    /// Its plan; `None` when it had none yet, or needs none.
    pub frozen: Option<Frozen>,
}
