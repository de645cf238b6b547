//! Fills the book table from the stage, up to the COMMIT and its last statements.

use std::ops::ControlFlow;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::ahead::Ahead;
use super::keep;
use super::outcome::{Outcome, applying};
use super::staged::{Filled, Staged, finish};
use super::write::{self, Applying};
use crate::book::{BOOK_OID, TABLE, sequence};
use crate::dependents::current::Asked;
use crate::dependents::uncounted::{self, Counting};
use crate::dependents::{Agreement, ForeignKey, Reach, Writes, check, current as foreign_keys};
use crate::error::Result;
use crate::ledger::replaced::EXACT_TEXT;
use crate::ledger::run::{Claim, claim_whole, claim_whole_sql};
use crate::postgres::{Fault, Tx};
use crate::sync::book_table::lock_sql;
use crate::sync::changes::{self, Agreed, Changes};
use crate::sync::exactly_once::{Attempted, Sent};
use crate::sync::owners;
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
    sent: &mut Sent<Outcome>,
) -> Result<ControlFlow<Attempted<'a, Outcome>, Filled<'a>>> {
    let Run { tenure, remap, .. } = run;
    let run_id = tenure.run_id;
    let Staged { verified, keys, snapshot, .. } = staged;
    let expected = verified.fingerprint().rows;
    let (began, ended) = tokio::join!(begin(run, Some(expected), keys), finish(snapshot.take()));
    let not = |outcome| Ok(ControlFlow::Break(Attempted::Not(outcome)));
    if let Err(fault) = ended {
        if let Ok((tx, _)) = began {
            tx.rollback().await;
        }
        return not(Outcome::Lost(Some(fault)));
    }
    let (tx, rows) = began.map_err(applying)?;
    match claim_whole(&rows) {
        Claim::Ours => sent.forget(),
        Claim::AlreadyDone => return Ok(ControlFlow::Break(Attempted::Before)),
        Claim::Lost => return Err(run.taken_over()),
    }
    owners::check_held(&rows, &remap.owners)?;
    let found = Found::in_rows(&rows, keys, None).map_err(applying)?;
    if found.staged != Some(expected) {
        tx.rollback().await;
        run.context().notice(STAGE_LOST);
        return not(Outcome::Lost(None));
    }
    let kept = keep::found(&rows).map_err(applying)?;
    check(&kept.dependents, Agreement::ByQuestion)?;
    let changes = Changes {
        changed: kept.changed,
        removed: kept.removed,
        dependents: kept.dependents.clone(),
        ..Changes::default()
    };
    if !agreed.covers(&changes) {
        let changes = changes::count(&tx, run_id, &remap.columns, keys).await?;
        tx.rollback().await;
        return not(Outcome::More { changes, why: "the target changed since the question" });
    }
    let written = write::write(&tx, &found.applying(run, keys)).await.map_err(applying)?;
    Ok(ControlFlow::Continue(Filled { tx, kept, written }))
}

/// Fills a book table that is empty from a stage that is not verified: nothing is to be asked or lost, and whether it holds
/// what the source has is looked at before the COMMIT. `ahead` has begun with it. `None` when there are books after all,
/// when the run is applied already, or when books of the stage cannot be in the table together: then verifying the stage
/// says which.
///
/// # Errors
/// Any; nothing is changed then.
pub(crate) async fn fill_early<'a>(
    run: &Run<'a>,
    keys: &[ForeignKey],
    ahead: Option<Ahead<'a>>,
) -> Result<Option<Filled<'a>>> {
    let mut keys = keys.to_vec();
    let (tx, rows, through) = match go_on(run, &keys, ahead).await {
        Some(begun) => begun,
        None => begin(run, None, &mut keys).await.map(|(tx, rows)| (tx, rows, None)).map_err(applying)?,
    };
    let claim = claim_whole(&rows);
    if claim == Claim::Lost {
        return Err(run.taken_over());
    }
    let found = Found::in_rows(&rows, &keys, through).map_err(applying)?;
    if claim != Claim::Ours || found.had_books {
        tx.rollback().await;
        return Ok(None);
    }
    owners::check_held(&rows, &run.remap.owners)?;
    let kept = keep::found(&rows).map_err(applying)?;
    let written = write::write(&tx, &found.applying(run, &keys)).await;
    match written.map_err(applying) {
        Ok(written) => Ok(Some(Filled { tx, kept, written })),
        Err(error) if is_duplicate_key(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What [`begin`] does, in a transaction that has begun; `None` where that cannot go on. Nothing hangs on books that nobody
/// else sees yet, whatever foreign keys there are by now.
async fn go_on<'a>(
    run: &Run<'a>,
    keys: &[ForeignKey],
    ahead: Option<Ahead<'a>>,
) -> Option<(Tx<'a>, Vec<PgRow>, Option<i32>)> {
    let Ahead { tx, through } = ahead?;
    // From now on it is as every apply.
    let patience = run.tuning().whole_table().lock_sql();
    let begin = begin_sql(run, None, keys, Writers::AreLeftAlone);
    match tx.simple(&format!("{patience}; {begin}")).await {
        Ok(rows) => Some((tx, rows, Some(through))),
        Err(fault) => {
            tracing::debug!(%fault, "what was filled ahead was of no use");
            None
        }
    }
}

/// The transaction up to what it keeps, in one round trip. It keeps what is replaced if as many rows are
/// staged as they should; nothing where that is not known.
async fn begin<'a>(
    run: &Run<'a>,
    staged: Option<i64>,
    keys: &mut Vec<ForeignKey>,
) -> Result<(Tx<'a>, Vec<PgRow>), Fault> {
    let (target, limit) = (&run.sides().target, run.tuning().whole_table());
    foreign_keys::asked_for(target, limit, keys, async |keys| {
        let (tx, rows) =
            target.write_measured(limit, &begin_sql(run, staged, keys, Writers::AreWaitedFor)).await?;
        if claim_whole(&rows) == Claim::Ours {
            let now = foreign_keys::found(&rows)?;
            if !foreign_keys::are_same(keys, &now) {
                tx.rollback().await;
                return Ok(Asked::Outdated(now));
            }
        }
        Ok(Asked::Answered((tx, rows)))
    })
    .await
}

/// What an open transaction of somebody else that has written books is to the lock on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writers {
    /// It ends before.
    AreWaitedFor,
    /// It may wait for a book that this transaction has inserted; then neither would end.
    AreLeftAlone,
}

/// What needs no lock comes before it.
fn begin_sql(run: &Run<'_>, staged: Option<i64>, keys: &[ForeignKey], writers: Writers) -> String {
    let Run { tenure, remap, .. } = run;
    let reach = Reach::of(keys, Writes::Copies(&remap.columns));
    let tables = reach.as_ref().map(Reach::tables).unwrap_or_default();
    let tables: Vec<&str> = std::iter::once(TABLE).chain(tables).collect();
    let (count, keep_if) = staged.map_or_else(
        || (String::new(), "false".to_owned()),
        |rows| {
            let count = format!(
                "SELECT set_config('dewey_sync.staged', count(*)::text, true) AS staged \
                 FROM dewey_sync.stage WHERE run_id = {};",
                tenure.run_id
            );
            (count, format!("current_setting('dewey_sync.staged') = '{rows}'"))
        },
    );
    format!(
        "{claim}; {owner}; {EXACT_TEXT}; SET LOCAL work_mem = '{work_mem}';
{count}
{lock}{or_fail};
SELECT set_config('dewey_sync.locked', clock_timestamp()::text, true);
SELECT EXISTS (SELECT FROM {TABLE}) AS had_books, {sequence}::regclass::text AS sequence,
  NOT EXISTS (SELECT FROM pg_index WHERE indrelid = {BOOK_OID} AND NOT indimmediate) AS keys_are_immediate; {counts};
{foreign_keys};
{keep}",
        claim = claim_whole_sql(*tenure),
        owner = owners::hold_sql(&remap.owners),
        work_mem = changes::WORK_MEM,
        lock = lock_sql(&tables),
        or_fail = if writers == Writers::AreLeftAlone { " NOWAIT" } else { "" },
        sequence = sequence::of_ids(BOOK_OID),
        counts = uncounted::sql(keys),
        foreign_keys = foreign_keys::query(),
        keep = keep::sql(tenure.run_id, remap, &keep_if, reach.as_ref()),
    )
}

/// What the begun transaction found before it kept anything.
struct Found {
    /// Rows of the stage, if they were counted.
    staged: Option<i64>,
    had_books: bool,
    sequence: Option<String>,
    keys_are_immediate: bool,
    counting: Option<Counting>,
    through: Option<i32>,
}

impl Found {
    fn applying<'a>(self, run: &'a Run<'_>, keys: &[ForeignKey]) -> Applying<'a> {
        let Self { had_books, sequence, keys_are_immediate, counting, through, .. } = self;
        let Run { tenure, remap, .. } = run;
        let reach = Reach::of(keys, Writes::Copies(&remap.columns));
        let returns_to_books = reach.as_ref().is_some_and(Reach::returns_to_books);
        let changes_others = reach.as_ref().is_some_and(Reach::changes_others);
        Applying {
            run_id: tenure.run_id,
            remap,
            sequence,
            had_books,
            returns_to_books,
            leaving_out: if keys_are_immediate { "ON CONFLICT DO NOTHING" } else { "" },
            changes_others,
            counting,
            through,
        }
    }

    /// Books up to `through` are our own. Any of somebody else's make the table unlike the source.
    fn in_rows(rows: &[PgRow], keys: &[ForeignKey], through: Option<i32>) -> Result<Self, Fault> {
        let staged = rows.iter().find_map(|row| row.try_get::<String, _>("staged").ok());
        let staged = staged.and_then(|staged| staged.parse().ok());
        let books = rows.iter().find(|row| row.try_get::<bool, _>("had_books").is_ok());
        let books = books.ok_or_else(|| Fault::client("the books were not looked for"))?;
        let had_books = through.is_none() && books.try_get("had_books")?;
        let counting = Counting::begun(rows, keys)?;
        Ok(Self {
            staged,
            had_books,
            sequence: books.try_get("sequence")?,
            keys_are_immediate: books.try_get("keys_are_immediate")?,
            counting,
            through,
        })
    }
}
