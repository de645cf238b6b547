//! What may be changed, as far as somebody agreed to it: on a terminal or by flags given beforehand.

use super::changes::{Agreed, Changes};
use super::losses::Losses;
use super::run::Run;
use crate::dependents::{self, Agreement};
use crate::error::{Error, Kind, Result};

impl Run<'_> {
    /// Whether there is nothing to ask, because the target had no books and nobody waits to see the numbers.
    pub(crate) fn is_first_fill(&self) -> bool {
        self.found().target_books.books == 0 && !self.ask().waits()
    }

    /// What was agreed to before the first write, where that removes every book.
    pub(crate) fn agreed_beforehand(&self) -> Agreed {
        let dependents = match self.agreement() {
            Agreement::ByFlag => None,
            Agreement::ByQuestion => Some(self.found().target_books.dependents.clone()),
            Agreement::Unasked => Some(Vec::new()),
        };
        Agreed { removed: None, dependents }
    }

    /// Asks whether to make `changes`, if there are any. The lock is let go while a question waits, so that no transaction is
    /// open.
    ///
    /// # Errors
    /// [`Kind::Declined`]; [`Kind::Refused`] when rows would block them or losses are not agreed to; [`Kind::Busy`] when
    /// another run took over while the question waited; [`Kind::Interrupted`].
    pub(crate) async fn ask_to_apply(&self, changes: &Changes) -> Result<Agreed> {
        self.context().cancellable(self.ask_about(changes)).await
    }

    async fn ask_about(&self, changes: &Changes) -> Result<Agreed> {
        dependents::check(&changes.dependents, self.agreement())?;
        let exactly = Agreed { removed: Some(changes.removed), dependents: Some(changes.dependents.clone()) };
        if changes.is_none() {
            return Ok(exactly);
        }
        let question = self.ask().confirm_changes(self.found(), self.owners(), changes);
        if self.ask().waits() {
            self.lock.release().await;
            question.await?;
            self.lock.retake(self.lease).await?;
            return Ok(exactly);
        }
        question.await?;
        let dependents = (self.agreement() != Agreement::ByFlag).then(Vec::new);
        Ok(Agreed { removed: None, dependents })
    }

    /// Asks whether batches may do to other tables what a sample did.
    ///
    /// # Errors
    /// As [`ask_to_apply`](Self::ask_to_apply).
    pub(crate) async fn ask_about_batches(&self, losses: &Losses) -> Result<()> {
        let changes = Changes {
            new: self.found().source_books.books,
            removed: self.found().target_books.books,
            dependents: losses.as_dependents(),
            ..Changes::default()
        };
        self.ask_to_apply(&changes).await.map(drop)
    }

    /// Asks anew when more would be lost than was agreed to.
    ///
    /// # Errors
    /// As [`ask_to_apply`](Self::ask_to_apply); [`Kind::Refused`] when nobody can be asked.
    pub(crate) async fn ask_about_more(&self, now: &Changes) -> Result<Agreed> {
        if self.ask().waits() {
            return self.ask_to_apply(now).await;
        }
        dependents::check(&now.dependents, self.agreement())?;
        Err(Error::new(Kind::Refused, "could not apply what was staged")
            .because("more would be lost than was agreed to, because the target changed meanwhile"))
    }
}
