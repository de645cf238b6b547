//! The question that comes when everything is known, and what its answer covers.

use super::Ask;
use super::apply::Agreed;
use super::changes::Changes;
use super::guard::dependents::{self, Agreement};
use super::guard::owner::Owners;
use super::losses::Losses;
use super::preflight::Preflight;
use crate::error::{Error, Kind, Result};
use crate::ledger::lock::Lock;
use crate::ledger::run::Tenure;

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
    pub(super) fn is_to_a_first_fill(&self) -> bool {
        self.found.target_books.books == 0 && !self.ask.waits()
    }

    /// What was agreed to before the first write, where that removes every book.
    pub(super) fn beforehand(&self) -> Agreed {
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
