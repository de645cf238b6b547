//! The questions that only a person can answer, and what an answer covers.

use async_trait::async_trait;

use super::changes::{Agreed, Changes};
use super::losses::Losses;
use super::request::Strategy;
use crate::dependents::{self, Agreement};
use crate::error::{Error, Kind, Result};
use crate::ledger::lock::Lock;
use crate::ledger::run::Tenure;
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

/// Who is asked about what was staged, and with which answers given beforehand.
pub struct Consent<'a, 'target> {
    /// On a terminal or by flags.
    pub ask: &'a dyn Ask,
    /// Let go while a question waits, so that no transaction is open.
    pub lock: &'a Lock<'target>,
    /// For the question's context.
    pub found: &'a Preflight,
    /// Who will own the books.
    pub owners: &'a Owners,
    /// How losses of dependents are agreed to.
    pub agreement: Agreement,
}

impl Consent<'_, '_> {
    /// Whether there is nothing to ask, because the target had no books and nobody waits to see the numbers.
    pub(crate) fn is_to_a_first_fill(&self) -> bool {
        self.found.target_books.books == 0 && !self.ask.waits()
    }

    /// What was agreed to before the first write, where that removes every book.
    pub(crate) fn beforehand(&self) -> Agreed {
        let dependents = match self.agreement {
            Agreement::ByFlag => None,
            Agreement::ByQuestion => Some(self.found.target_books.dependents.clone()),
            Agreement::Unasked => Some(Vec::new()),
        };
        Agreed { removed: None, dependents }
    }

    /// Asks whether to make `changes`, if there are any.
    ///
    /// # Errors
    /// [`Kind::Declined`]; [`Kind::Refused`] when rows would block them or losses are not agreed to; [`Kind::Busy`] when
    /// another run took over while the question waited.
    pub async fn to_apply(&self, tenure: Tenure, changes: &Changes) -> Result<Agreed> {
        dependents::check(&changes.dependents, self.agreement)?;
        let exactly = Agreed { removed: Some(changes.removed), dependents: Some(changes.dependents.clone()) };
        if changes.is_none() {
            return Ok(exactly);
        }
        if self.ask.waits() {
            self.lock.release().await;
            self.ask.confirm_changes(self.found, self.owners, changes).await?;
            self.lock.retake(tenure).await?;
            return Ok(exactly);
        }
        self.ask.confirm_changes(self.found, self.owners, changes).await?;
        let dependents = (self.agreement != Agreement::ByFlag).then(Vec::new);
        Ok(Agreed { removed: None, dependents })
    }

    /// Asks whether batches may do to other tables what a sample did.
    ///
    /// # Errors
    /// As [`Consent::to_apply`].
    pub async fn to_batches(&self, tenure: Tenure, losses: &Losses) -> Result<()> {
        let changes = Changes {
            new: self.found.source_books.books,
            removed: self.found.target_books.books,
            dependents: losses.as_dependents(),
            ..Changes::default()
        };
        self.to_apply(tenure, &changes).await.map(drop)
    }

    /// Asks anew when more would be lost than `agreed`.
    ///
    /// # Errors
    /// As [`Consent::to_apply`]; [`Kind::Refused`] when nobody can be asked.
    pub async fn to_more(&self, tenure: Tenure, now: &Changes) -> Result<Agreed> {
        if self.ask.waits() {
            return self.to_apply(tenure, now).await;
        }
        dependents::check(&now.dependents, self.agreement)?;
        Err(Error::new(Kind::Refused, "could not apply what was staged")
            .because("more would be lost than was agreed to, because the target changed meanwhile"))
    }
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
