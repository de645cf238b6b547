//! The first round trip of an apply: its claim, the lock on the books, and what it keeps of them.

use sqlx::Row;

use super::keep::{self, Kept};
use super::write::Applying;
use crate::book::{BOOK_OID, TABLE, sequence};
use crate::dependents::current::Keys;
use crate::dependents::uncounted::Counting;
use crate::dependents::{ForeignKey, Reach, Writes, current as foreign_keys};
use crate::ledger::replaced::EXACT_TEXT;
use crate::ledger::run::{Claim, claim_run};
use crate::postgres::query::{Queries, Query};
use crate::postgres::{Fault, Tx};
use crate::sync::book_table::lock_sql;
use crate::sync::changes;
use crate::sync::owners::{self, Held};
use crate::sync::run::Run;

/// The transaction up to what it keeps, in one round trip. It keeps what is replaced if as many rows are
/// staged as they should; nothing where that is not known.
pub(super) async fn begin<'a>(
    run: &Run<'a>,
    staged: Option<i64>,
    keys: &mut Vec<ForeignKey>,
) -> Result<(Tx<'a>, Begun), Fault> {
    let (target, limit) = (&run.sides().target, run.tuning().whole_table());
    foreign_keys::with_current_keys(target, limit, keys, async |keys| {
        let queries = queries(run, staged, keys, Writers::AreWaitedFor);
        let (tx, answers) = target.write_measured(limit, queries).await?;
        let begun = Begun::from(answers);
        if begun.claim == Claim::Ours && !foreign_keys::are_same(keys, &begun.keys) {
            tx.rollback().await;
            return Ok(Keys::Changed(begun.keys));
        }
        Ok(Keys::Current((tx, begun)))
    })
    .await
}

/// What an open transaction of somebody else that has written books is to the lock on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// It ends before.
    AreWaitedFor,
    /// It may wait for a book that this transaction has inserted; then neither would end.
    AreLeftAlone,
}

pub(super) type BeginQueries = (
    Query<'static, Claim>,
    Query<'static, Held>,
    Query<'static, Option<i64>>,
    Query<'static, Books>,
    Query<'static, Option<Counting>>,
    Query<'static, Vec<ForeignKey>>,
    Query<'static, Kept>,
);

/// What needs no lock comes before it.
pub(super) fn queries(
    run: &Run<'_>,
    staged: Option<i64>,
    keys: &[ForeignKey],
    writers: Writers,
) -> BeginQueries {
    let (run_id, remap) = (run.lease.run_id, &run.remap);
    let reach = Reach::of(keys, Writes::Copies(&remap.columns));
    let tables = reach.as_ref().map(Reach::tables).unwrap_or_default();
    let tables: Vec<&str> = std::iter::once(TABLE).chain(tables).collect();
    let or_fail = if writers == Writers::AreLeftAlone { " NOWAIT" } else { "" };
    let lock = format!("{}{or_fail}", lock_sql(&tables));
    let keep_if = staged
        .map_or_else(|| "false".into(), |rows| format!("current_setting('dewey_sync.staged') = '{rows}'"));
    (
        claim_run(run.lease),
        owners::hold(&remap.owners),
        count_staged(staged.map(|_| run_id)),
        Books::query(&lock),
        Counting::begin(keys),
        foreign_keys::query(),
        keep::keep(run_id, remap, &keep_if, reach.as_ref()),
    )
}

/// Rows of the stage of this run, if they are to be counted; with the settings of the transaction.
fn count_staged(of_run: Option<i64>) -> Query<'static, Option<i64>> {
    let settings = format!("{EXACT_TEXT}; SET LOCAL work_mem = '{}'", changes::WORK_MEM);
    let Some(run_id) = of_run else { return Query::new(settings, |_| Ok(None)) };
    let count = format!(
        "{settings}; SELECT count, set_config('dewey_sync.staged', count::text, true) FROM (SELECT count(*) FROM dewey_sync.stage \
         WHERE run_id = {run_id}) staged"
    );
    Query::last_row(count, |row| Ok(Some(row.try_get(0)?)))
}

/// The book table, as it is found under the lock.
pub(super) struct Books {
    pub(super) are_there: bool,
    /// Which sequence gives out ids, if one does.
    sequence: Option<String>,
    keys_are_immediate: bool,
}

impl Books {
    fn query(lock: &str) -> Query<'static, Self> {
        let sql = format!(
            "{lock};
SELECT set_config('dewey_sync.locked', clock_timestamp()::text, true);
SELECT EXISTS (SELECT FROM {TABLE}), {sequence}::regclass::text,
  NOT EXISTS (SELECT FROM pg_index WHERE indrelid = {BOOK_OID} AND NOT indimmediate)",
            sequence = sequence::of_ids(BOOK_OID),
        );
        Query::last_row(sql, |row| {
            let (are_there, sequence) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Self { are_there, sequence, keys_are_immediate: row.try_get(2)? })
        })
    }
}

/// An applying transaction that has written nothing but what it keeps.
pub(super) struct Begun {
    pub(super) claim: Claim,
    pub(super) owners: Held,
    /// Rows of the stage, if they were counted.
    pub(super) staged: Option<i64>,
    pub(super) books: Books,
    counting: Option<Counting>,
    /// The target's foreign keys under the lock.
    keys: Vec<ForeignKey>,
    pub(super) kept: Kept,
}

impl From<<BeginQueries as Queries>::Answers> for Begun {
    fn from(
        (claim, owners, staged, books, counting, keys, kept): <BeginQueries as Queries>::Answers,
    ) -> Self {
        Self { claim, owners, staged, books, counting, keys, kept }
    }
}

impl Begun {
    /// What is written, and what was kept for it.
    pub(super) fn applying<'a>(
        self,
        run: &'a Run<'_>,
        keys: &[ForeignKey],
        through: Option<i32>,
    ) -> (Applying<'a>, Kept) {
        let Self { books: Books { are_there, sequence, keys_are_immediate }, counting, kept, .. } = self;
        let (run_id, remap) = (run.lease.run_id, &run.remap);
        let reach = Reach::of(keys, Writes::Copies(&remap.columns));
        let applying = Applying {
            run_id,
            remap,
            sequence,
            had_books: are_there && through.is_none(),
            returns_to_books: reach.as_ref().is_some_and(Reach::returns_to_books),
            leaving_out: if keys_are_immediate { "ON CONFLICT DO NOTHING" } else { "" },
            changes_others: reach.as_ref().is_some_and(Reach::changes_others),
            counting,
            through,
        };
        (applying, kept)
    }
}
