//! One generation of what an apply replaced: the books and dependents as they were, and digests of the book table before
//! and after, by which `undo` knows that nobody changed it since and that it is as it was.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::postgres::{Fault, Fingerprint};

/// What makes the text of a row the same value again, whatever the server's settings are.
pub const EXACT_TEXT: &str = "SET LOCAL extra_float_digits = 3; SET LOCAL IntervalStyle = 'postgres'; \
     SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content'";

/// The book table before and after the apply of a run; the digests cover every column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// The run that was applied.
    pub run_id: i64,
    /// What `undo` restores.
    pub before: Fingerprint,
    /// What it expects to find.
    pub after: Fingerprint,
}

impl Generation {
    /// A statement that records it.
    pub fn record_sql(&self) -> String {
        let Self { run_id, before, after } = self;
        format!(
            "INSERT INTO dewey_sync.generation (run_id, rows_before, digest_before, rows_after, digest_after) \
             VALUES ({run_id}, {}, '{}', {}, '{}')",
            before.rows,
            before.digest_hex(),
            after.rows,
            after.digest_hex()
        )
    }

    /// A query for the only one.
    pub const QUERY: &str = "SELECT run_id AS generation, rows_before, digest_before, rows_after, digest_after \
         FROM dewey_sync.generation ORDER BY run_id DESC LIMIT 1";

    /// Finds the answer to [`Self::QUERY`] among the rows of a query that held it.
    pub fn find(rows: &[PgRow]) -> Result<Option<Self>, Fault> {
        let row = rows.iter().find(|row| row.try_get::<i64, _>("generation").is_ok());
        row.map(Self::from_row).transpose()
    }

    fn from_row(row: &PgRow) -> Result<Self, Fault> {
        let digest = |name| {
            let hex: String = row.try_get(name)?;
            u64::from_str_radix(&hex, 16).map_err(|_| Fault::client("a digest in the ledger is no number"))
        };
        Ok(Self {
            run_id: row.try_get("generation")?,
            before: Fingerprint { rows: row.try_get("rows_before")?, digest: digest("digest_before")? },
            after: Fingerprint { rows: row.try_get("rows_after")?, digest: digest("digest_after")? },
        })
    }
}

/// Statements that end every generation but that of `run_id`.
pub fn end_others_sql(run_id: i64) -> String {
    format!(
        "DELETE FROM dewey_sync.generation WHERE run_id <> {run_id}; \
         DELETE FROM dewey_sync.replaced WHERE run_id <> {run_id}"
    )
}

/// The columns of a table in order, each with its type, as a scalar expression of text: rows are put back only into a
/// table that still has the same. `table` is an expression of its name.
pub fn columns_sql(table: &str) -> String {
    format!(
        "(SELECT string_agg(format('%I %s%s', attname, format_type(atttypid, atttypmod), \
         CASE attgenerated WHEN '' THEN '' ELSE ' generated' END), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = to_regclass({table}) AND attnum > 0 AND NOT attisdropped)"
    )
}
