//! One generation of what an apply replaced: the books and dependents as they were, and digests of the book table before
//! and after, by which `undo` knows that nobody changed it since and that it is as it was.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::postgres::query::Query;
use crate::postgres::{Effect, Fault, Fingerprint, literal};

/// What makes the text of a row the same value again, whatever the server's settings are.
pub const EXACT_TEXT: &str = "SET LOCAL extra_float_digits = 3; SET LOCAL IntervalStyle = 'postgres'; \
     SET LOCAL bytea_output = 'hex'; SET LOCAL xmloption = 'content'";

/// The book table before and after the apply of a run; the digests cover every column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The run that was applied.
    pub run_id: i64,
    /// What `undo` restores.
    pub before: Fingerprint,
    /// What it expects to find.
    pub after: Fingerprint,
    /// What happened to other tables without being kept; `None` where an older version did not measure it.
    pub not_undone: Option<Vec<Effect>>,
}

impl Generation {
    /// A statement that records it.
    pub fn record_sql(&self) -> String {
        let Self { run_id, before, after, not_undone } = self;
        let not_undone = serde_json::json!(not_undone).to_string();
        format!(
            "INSERT INTO dewey_sync.generation (run_id, rows_before, digest_before, rows_after, digest_after, not_undone) \
             VALUES ({run_id}, {}, '{}', {}, '{}', {}::jsonb)",
            before.rows,
            before.digest_hex(),
            after.rows,
            after.digest_hex(),
            literal(&not_undone),
        )
    }

    /// The only one.
    pub(crate) fn query() -> Query<'static, Option<Self>> {
        let sql = "SELECT run_id, rows_before, digest_before, rows_after, digest_after, \
             not_undone::text FROM dewey_sync.generation ORDER BY run_id DESC LIMIT 1";
        Query::new(sql, |rows| rows.first().map(Self::from_row).transpose())
    }

    fn from_row(row: &PgRow) -> Result<Self, Fault> {
        let digest = |at: usize| {
            let hex: String = row.try_get(at)?;
            u64::from_str_radix(&hex, 16).map_err(|_| Fault::client("a digest in the ledger is no number"))
        };
        let not_undone: Option<String> = row.try_get(5)?;
        let not_undone = not_undone.map(|text| serde_json::from_str(&text)).transpose();
        Ok(Self {
            not_undone: not_undone.map_err(|error| Fault::unreadable(&error))?.flatten(),
            run_id: row.try_get(0)?,
            before: Fingerprint { rows: row.try_get(1)?, digest: digest(2)? },
            after: Fingerprint { rows: row.try_get(3)?, digest: digest(4)? },
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
