//! Writes a sample of the books as the apply would, in a transaction that is rolled back: what a trigger, a rule, a domain or a
//! CHECK of the target refuses is known before anything is staged or deleted.
//!
//! It runs triggers, burns ids of the sequence, and may raise the sequence; nothing else of it stays.

use super::apply::rehearsal_sql;
use super::losses::{self, Losses};
use super::misfit::Tried;
use super::run::Run;
use super::sample::{Sample, end};
use crate::book::SourceBook;
use crate::dependents::Agreement;
use crate::error::{Error, Result};
use crate::postgres::{Effects, Fault, Limit, Target};
use crate::progress::Phase;
use crate::retry::{Class, classify};
use crate::transfer::import::staging_text;
use crate::transfer::remap::Remap;

/// A lock is not waited for longer: the apply may get it, and the rehearsal must not keep the application waiting.
const LOCK_TIMEOUT: &str = "2s";

/// Writes the sample of a run that is about to begin, and rolls back.
///
/// # Errors
/// [`Kind::Refused`](crate::error::Kind::Refused) with the ids of books that cannot be written, or with what writing them does
/// to other tables, where that is not agreed to.
pub(crate) async fn rehearse(run: &Run<'_>, Sample { books, snapshot }: Sample<'_>) -> Result<()> {
    run.context().phase(Phase::Rehearsing);
    let stage = Stage {
        target: &run.sides().target,
        limit: run.tuning().batch_timeout.into(),
        before: String::new(),
    };
    let rehearsed = run.context().retry("the rehearsal", async |_| {
        run.context().cancellable(stage.rehearse(run.lease.run_id, &run.remap, &books)).await
    });
    let (rehearsed, ()) = tokio::join!(rehearsed, end(snapshot));
    match rehearsed? {
        Rehearsed::Written { losses, .. } if !losses.is_empty() && run.agreement() == Agreement::Unasked => {
            return Err(losses::refuse(losses.effects()));
        }
        Rehearsed::Written { .. } => {}
        Rehearsed::Undecided(text) => run.context().notice(text),
    }
    Ok(())
}

/// What a rehearsal found.
pub(crate) enum Rehearsed {
    /// The sample fits.
    Written {
        /// How many of its books were inserted or changed.
        books: u64,
        /// What writing them did to other tables.
        losses: Losses,
    },
    /// It could not be tried, for this reason.
    Undecided(String),
}

/// Where a sample is staged for the time of a transaction.
pub(crate) struct Stage<'a> {
    pub(crate) target: &'a Target,
    pub(crate) limit: Limit,
    /// Statements that make the ledger where there is none.
    pub(crate) before: String,
}

impl Stage<'_> {
    /// Tries the whole sample; where it does not fit, finds the books for which that is so.
    pub(crate) async fn rehearse(
        &self,
        run_id: i64,
        remap: &Remap,
        sample: &[SourceBook],
    ) -> Result<Rehearsed> {
        let fault = match self.attempt(run_id, remap, sample).await? {
            Ok(effects) => {
                let books = effects.books.inserted + effects.books.updated;
                return Losses::of(&effects, 0).map(|losses| Rehearsed::Written { books, losses });
            }
            Err(fault) => fault,
        };
        if fault.sqlstate() == Some("55P03") {
            let text = "the rehearsal was left out: somebody has locked what it would write";
            return Ok(Rehearsed::Undecided(text.into()));
        }
        // Books outside the sample may have the key, or be what a book refers to.
        if fault.sqlstate().is_some_and(|state| matches!(state, "23505" | "23503" | "23P01" | "23001")) {
            let text =
                format!("the rehearsal decided nothing, because books outside the sample may: {fault}");
            return Ok(Rehearsed::Undecided(text));
        }
        let fits = async |books: &[SourceBook]| Ok(self.attempt(run_id, remap, books).await?.is_ok());
        let instead = "`--no-rehearsal` leaves that out";
        let tried = Tried { target: self.target, limit: self.limit, instead };
        Err(tried.refused(fault, sample, rehearsing, fits).await)
    }

    /// The transaction, all of it in one round trip; a fault in place of an error where the sample decides about it.
    async fn attempt(
        &self,
        run_id: i64,
        remap: &Remap,
        sample: &[SourceBook],
    ) -> Result<Result<Effects, Fault>> {
        let books = sample.iter().map(|book| remap.apply(book.clone())).collect::<Result<Vec<_>>>()?;
        if books.is_empty() {
            return Ok(Ok(Effects::default()));
        }
        let sql = format!(
            "SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {}{}; {}",
            self.before,
            staging_text(run_id, books),
            rehearsal_sql(run_id, remap)
        );
        match self.target.try_and_roll_back(self.limit, Effects::of(sql)).await {
            Ok(effects) => Ok(Ok(effects)),
            Err(fault) if classify(&fault) == Class::Permanent || fault.sqlstate() == Some("55P03") => {
                Ok(Err(fault))
            }
            Err(fault) => Err(rehearsing(fault)),
        }
    }
}

fn rehearsing(fault: Fault) -> Error {
    fault.error("could not rehearse the writing of books")
}
