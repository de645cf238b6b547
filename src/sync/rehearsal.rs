//! Writes a sample of the books as the apply would, in a transaction that is rolled back: what a trigger, a rule, a domain or a
//! CHECK of the target refuses is known before anything is staged or deleted.
//!
//! It runs triggers, burns ids of the sequence, and may raise the sequence; nothing else of it stays.

use tokio_util::sync::CancellationToken;

use super::apply::rehearsal_sql;
use super::consent::Consent;
use super::export::{self, SAMPLE_MAX};
use super::guard::dependents::Agreement;
use super::import::staging_text;
use super::losses::{self, Losses};
use super::preflight::Sides;
use super::remap::Remap;
use super::strategy::{Job, Strategy};
use super::{Request, SYNC, unless_cancelled};
use crate::book::SourceBook;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Effects, Fault, Limit, Origin, SourceTx, Target, literal};
use crate::progress::{Event, Phase, Progress};
use crate::retry::{Class, classify, retry};

/// How many source ids a refusal names.
const IDS_SHOWN: usize = 10;

/// A lock is not waited for longer: the apply may get it, and the rehearsal must not keep the application waiting.
const LOCK_TIMEOUT: &str = "2s";

/// Whether a sync writes a sample first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// It does.
    Wanted,
    /// `--no-rehearsal`.
    LeftOut,
}

/// Books that a rehearsal tries, and the snapshot that they were read in, which ends while they are tried.
pub(super) struct Sample<'a> {
    books: Vec<SourceBook>,
    snapshot: SourceTx<'a>,
}

/// Reads the sample.
pub(super) async fn sample<'a>(
    sides: &'a Sides,
    remap: &Remap,
    limit: impl Into<Limit>,
) -> Result<Sample<'a>, Fault> {
    let limit = limit.into();
    let snapshot = sides.source.open(limit).await?;
    match export::sample(&snapshot, remap).await {
        Ok(books) => Ok(Sample { books, snapshot }),
        // What cannot be read as a book is for the copy to tell, which knows the batch.
        Err(fault) if fault.origin == Origin::Client => {
            tracing::info!(%fault, "the rehearsal is left out, because the sample cannot be read");
            Ok(Sample { books: Vec::new(), snapshot: sides.source.open(limit).await? })
        }
        Err(fault) => Err(fault),
    }
}

/// The same for a run, tried again like any other reading.
pub(super) async fn sample_of_run<'a>(
    sides: &'a Sides,
    remap: &Remap,
    request: &Request,
    cancel: &CancellationToken,
    progress: &dyn Progress,
) -> Result<Sample<'a>> {
    let policy = request.tuning.retry;
    retry(policy, "the sample for the rehearsal", cancel, progress, async |_| {
        let sampled = sample(sides, remap, request.tuning.batch_timeout).await;
        sampled.map_err(|fault| fault.error("could not read a sample of the source's books"))
    })
    .await
}

/// Rehearses. Batches are committed one by one, so that what they do elsewhere is agreed to before the first one.
pub(super) async fn before_writing(
    job: &mut Job<'_>,
    strategy: Strategy,
    consent: &Consent<'_, '_>,
    sample: Result<Sample<'_>>,
) -> Result<()> {
    let losses = rehearse(job, sample?).await?;
    if strategy == Strategy::Batched && !losses.is_empty() {
        consent.to_batches(job.tenure, &losses).await?;
        job.agreement = Agreement::ByFlag;
    }
    Ok(())
}

impl Sample<'_> {
    /// Ends the snapshot; the books.
    pub(super) async fn finished(self) -> Result<Vec<SourceBook>, Fault> {
        self.snapshot.finish().await?;
        Ok(self.books)
    }
}

/// Writes the sample of a run that is about to begin, and rolls back.
///
/// # Errors
/// [`Kind::Refused`] with the ids of books that cannot be written, or with what writing them does to other tables, where that is
/// not agreed to.
async fn rehearse(job: &Job<'_>, Sample { books, snapshot }: Sample<'_>) -> Result<Losses> {
    job.progress.event(&Event::Phase { phase: Phase::Rehearsing });
    let stage =
        Stage { target: &job.sides.target, limit: job.tuning.batch_timeout.into(), before: String::new() };
    let rehearsed = retry(job.tuning.retry, "the rehearsal", job.cancel, job.progress, async |_| {
        unless_cancelled(job.cancel, SYNC, stage.rehearse(job.tenure.run_id, &job.remap, &books)).await
    });
    // Nothing depends on how the snapshot ends.
    let (rehearsed, ended) = tokio::join!(rehearsed, snapshot.finish());
    if let Err(fault) = ended {
        tracing::info!(%fault, "the snapshot of the sample was not ended");
    }
    match rehearsed? {
        Rehearsed::Written(losses) if losses.is_empty() || job.agreement != Agreement::Unasked => Ok(losses),
        Rehearsed::Written(losses) => Err(losses::refuse(losses.effects())),
        Rehearsed::Undecided(text) => {
            job.progress.event(&Event::Notice { text });
            Ok(Losses::default())
        }
    }
}

/// What a rehearsal found.
pub(super) enum Rehearsed {
    /// The sample fits; what writing it did to other tables.
    Written(Losses),
    /// It could not be tried, for this reason.
    Undecided(String),
}

/// Where a sample is staged for the time of a transaction.
pub(super) struct Stage<'a> {
    pub(super) target: &'a Target,
    pub(super) limit: Limit,
    /// Statements that make the ledger where there is none.
    pub(super) before: String,
}

impl Stage<'_> {
    /// Tries the whole sample; where it does not fit, finds the books for which that is so.
    pub(super) async fn rehearse(
        &self,
        run_id: i64,
        remap: &Remap,
        sample: &[SourceBook],
    ) -> Result<Rehearsed> {
        let fault = match self.attempt(run_id, remap, sample).await? {
            Ok(effects) => return Losses::of(&effects, 0).map(Rehearsed::Written),
            Err(fault) => fault,
        };
        if fault.sqlstate() == Some("55P03") {
            let text = "the rehearsal was left out: somebody has locked what it would write";
            return Ok(Rehearsed::Undecided(text.into()));
        }
        // Books outside the sample may have the key, or be what a book refers to.
        if fault.sqlstate().is_some_and(|state| matches!(state, "23505" | "23503" | "23P01" | "23001")) {
            tracing::debug!(%fault, "the rehearsal ended with what books outside the sample may decide");
            return Ok(Rehearsed::Written(Losses::default()));
        }
        if !is_of_a_book(&fault) {
            return Err(fault.error(REHEARSING));
        }
        let ids = self.do_not_fit(run_id, remap, sample).await?;
        Err(self.refused(fault, &ids).await)
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
        let rows = match self.target.try_and_roll_back(self.limit, &sql).await {
            Ok(rows) => rows,
            Err(fault) if classify(&fault) == Class::Permanent || fault.sqlstate() == Some("55P03") => {
                return Ok(Err(fault));
            }
            Err(fault) => return Err(fault.error(REHEARSING)),
        };
        Effects::from_rows(&rows).map(Ok).map_err(|fault| fault.error(REHEARSING))
    }

    /// The source ids of books that do not fit, found by halving.
    async fn do_not_fit(&self, run_id: i64, remap: &Remap, sample: &[SourceBook]) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        let mut suspected = vec![sample];
        while let Some(books) = suspected.pop() {
            if found.len() == IDS_SHOWN {
                break;
            }
            let (first, second) = books.split_at(books.len() / 2);
            let mut is_found = false;
            for half in [second, first].into_iter().filter(|half| !half.is_empty()) {
                let fits = books.len() > 1 && self.attempt(run_id, remap, half).await?.is_ok();
                if !fits && half.len() == 1 {
                    found.push(half[0].0.id);
                } else if !fits {
                    suspected.push(half);
                }
                is_found |= !fits;
            }
            // Each half fits: it is all of them together that do not.
            if !is_found {
                found.extend(books.iter().map(|book| book.0.id));
            }
        }
        found.sort_unstable();
        found.truncate(IDS_SHOWN);
        Ok(found)
    }

    async fn refused(&self, fault: Fault, ids: &[i32]) -> Error {
        let shown: Vec<String> = ids.iter().map(i32::to_string).collect();
        let mut doing =
            format!("books of production do not fit into development: source ids {}", shown.join(", "));
        if let Some(function) = &fault.function
            && let Some(triggers) = self.triggers_of(function).await
        {
            doing = format!("{doing} (trigger {triggers})");
        }
        Error::new(Kind::Refused, doing).because(fault).hint(format!(
            "change development's constraint or trigger, or these books; a sample of {SAMPLE_MAX} books was tried and rolled \
             back, and `--no-rehearsal` leaves that out"
        ))
    }

    /// The book table's triggers that call `function`.
    async fn triggers_of(&self, function: &str) -> Option<String> {
        let sql = format!(
            "SELECT string_agg(DISTINCT format('`%I`', tgname), ', ') FROM pg_trigger WHERE tgrelid = to_regclass({}) \
             AND NOT tgisinternal AND tgfoid = to_regprocedure({})",
            literal(crate::book::TABLE),
            literal(function)
        );
        let rows = self.target.read_once(self.limit, &sql).await.ok()?;
        sqlx::Row::try_get(rows.first()?, 0).ok()?
    }
}

const REHEARSING: &str = "could not rehearse the writing of books";

/// Whether the fault says something of a row, and not of the server, the connection, the disk or a right that is lacking.
fn is_of_a_book(fault: &Fault) -> bool {
    if fault.sqlstate() == Some("42501") && fault.function.is_none() {
        return false;
    }
    fault
        .sqlstate()
        .is_some_and(|state| !["08", "28", "3D", "53", "57", "58", "XX"].iter().any(|c| state.starts_with(c)))
}
