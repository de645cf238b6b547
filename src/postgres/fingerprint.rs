//! An order-independent digest of books, computed by the server that holds them.
//!
//! A row's digest is the first 8 bytes of `sha256(record_send(row(…)))`, every column cast to a built-in type and the
//! owner last. It tells NULL, `{}` and array bounds apart and depends on no setting of the server. Digests are added, so
//! those of parts add up to that of the whole.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::fault::Fault;
use crate::book::{self, Column, CopiedColumns, OwnerMap};

/// How many rows there are and the sum of their digests modulo 2^64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Rows covered.
    pub rows: i64,
    /// The sum.
    pub digest: u64,
}

impl Fingerprint {
    /// The digest in hexadecimal, 16 digits.
    pub fn digest_hex(&self) -> String {
        format!("{:016x}", self.digest)
    }

    /// That of both parts together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, digest: self.digest.wrapping_add(other.digest) }
    }

    /// Reads `rows` and `digest` from columns `at` and `at + 1` of a row of one of the queries below.
    pub fn from_row(row: &PgRow, at: usize) -> Result<Self, Fault> {
        let sum: i128 = row
            .try_get::<String, _>(at + 1)?
            .parse()
            .map_err(|_| Fault::client("a sum of digests is not a number"))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^64 is meant")]
        let digest = sum as u64;
        Ok(Self { rows: row.try_get(at)?, digest })
    }
}

/// Whose rows a digest is of.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Books of the source, as the target shall have them: with the user of the target whom each is mapped to.
    OfSource(&'a OwnerMap),
    /// Books of the target, or of the stage.
    OfTarget,
}

impl Rows<'_> {
    /// A column's value as an SQL expression.
    pub fn value(self, columns: &CopiedColumns, column: Column) -> String {
        match self {
            Self::OfSource(_) => columns.at_source(column),
            Self::OfTarget => book::quoted(column),
        }
    }
}

/// The digest of one row, as a bigint expression.
pub fn row_digest(columns: &CopiedColumns, rows: Rows<'_>) -> String {
    let term = |column| format!("{}::{}", rows.value(columns, column), book::comparable_type(column));
    let mut terms: Vec<String> = columns.iter().map(term).collect();
    terms.push(match rows {
        Rows::OfSource(owners) => owners.sql(&columns.at_source(book::OWNER)),
        Rows::OfTarget => term(book::OWNER),
    });
    record_digest(&format!("row({})", terms.join(", ")))
}

/// The digest of any record, as a bigint expression.
pub fn record_digest(record: &str) -> String {
    format!("('x' || encode(substr(sha256(record_send({record})), 1, 8), 'hex'))::bit(64)::bigint")
}

/// A query for the fingerprint of the whole table: one row of count (bigint) and sum (text).
pub fn whole_table(columns: &CopiedColumns, rows: Rows<'_>) -> String {
    let digest = row_digest(columns, rows);
    format!("SELECT count(*), coalesce(sum({digest}), 0)::text FROM {}", book::TABLE)
}

/// A query for the fingerprints of the source's books by range: rows of `range` (integer, from 0), count (bigint) and
/// sum (text). `ends` are the last ids of all ranges but the last one.
///
/// Without sorts, because wide rows would be sorted on disk.
pub fn by_range(columns: &CopiedColumns, owners: &OwnerMap, ends: &[i32]) -> String {
    let digest = row_digest(columns, Rows::OfSource(owners));
    let range = range(&book::quoted(book::Column::Id), ends);
    format!(
        "{NO_SORT}; SELECT {range} AS range, count(*), sum({digest})::text FROM {} GROUP BY 1",
        book::TABLE
    )
}

/// The same of what run `run_id` has staged.
pub fn stage_by_range(columns: &CopiedColumns, run_id: i64, ends: &[i32]) -> String {
    let digest = row_digest(columns, Rows::OfTarget);
    let range = range("source_id", ends);
    format!(
        "{NO_SORT}; SELECT {range} AS range, count(*), sum({digest})::text FROM dewey_sync.stage \
         WHERE run_id = {run_id} GROUP BY 1"
    )
}

/// The planner takes each row for a range of its own, so that to it nothing is gained by several processes.
const NO_SORT: &str =
    "SET LOCAL enable_sort = off; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0";

fn range(id: &str, ends: &[i32]) -> String {
    // The lower bound of each range but the first.
    let starts: Vec<String> = ends.iter().map(|end| (i64::from(*end) + 1).to_string()).collect();
    format!("width_bucket({id}::bigint, '{{{}}}'::bigint[])", starts.join(","))
}

/// How many buckets [`bucket`] knows: a bucket of a million books holds about 250.
pub const BUCKETS: i32 = 4096;

/// The bucket (0 to 4095, integer) of a row: by the key's text as the wire has it, whatever the server's encoding.
pub fn bucket(columns: &CopiedColumns, rows: Rows<'_>) -> String {
    let key = rows.value(columns, book::KEY);
    format!("('x' || substr(md5(textsend({key}::text)), 1, 3))::bit(12)::integer")
}

/// A query for the fingerprints by bucket: rows of bucket (integer), count (bigint) and sum (text).
pub fn by_bucket(columns: &CopiedColumns, rows: Rows<'_>) -> String {
    let digest = row_digest(columns, rows);
    let bucket = bucket(columns, rows);
    format!("SELECT {bucket}, count(*), sum({digest})::text FROM {} GROUP BY 1", book::TABLE)
}
