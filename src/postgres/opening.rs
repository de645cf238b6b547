//! How every transaction begins: BEGIN and the settings, sent along with its first statements and answered by one row.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Limit;
use super::connect::OWN_SESSION;
use super::settings::{begun, settings, tolerating};
use crate::config::Endpoint;
use crate::quote::literal;

/// Comes before the statements that follow.
const NEXT: &str = "; ";

/// BEGIN and the settings, whose answer is one row.
#[derive(Debug)]
pub(super) struct Opening {
    /// Ends so that other statements can follow.
    pub(super) sql: String,
    read_only: bool,
}

impl Opening {
    /// For the session `name` of a server of this version, as far as that is known.
    pub(super) fn new(
        endpoint: &Endpoint,
        version: Option<u32>,
        name: &str,
        mode: &str,
        limit: Limit,
    ) -> Self {
        let settings = settings(&endpoint.schema, name, limit, version);
        let begun = begun(endpoint, mode, limit, version);
        let is_own =
            format!("current_setting({}, true) IS NOT DISTINCT FROM {}", literal(OWN_SESSION), literal(name));
        let sql = format!("BEGIN {mode}; {settings}; {begun}, {is_own} AS is_own{NEXT}");
        Self { sql, read_only: mode.ends_with("READ ONLY") }
    }

    /// Has the answer hold one more column.
    pub(super) fn answer_also(&mut self, column: &str) {
        self.sql.truncate(self.sql.len() - NEXT.len());
        self.sql.push_str(", ");
        self.sql.push_str(column);
        self.sql.push_str(NEXT);
    }

    /// Leaves settings that only some roles may make to a guard, which has more to say about them.
    pub(super) fn tolerate(&mut self) {
        self.sql = tolerating(&self.sql);
    }

    /// Looks at the answer before anything that came after it is believed; whether the session is our own.
    pub(super) fn check(&self, row: Option<&PgRow>) -> Result<bool, sqlx::Error> {
        let unexpected = |text: &str| sqlx::Error::Protocol(text.into());
        let row = row.ok_or_else(|| unexpected("a transaction's settings were not answered"))?;
        let found: String = row.try_get("is_read_only")?;
        if (found == "on") == self.read_only {
            return row.try_get("is_own");
        }
        Err(unexpected("the server did not begin the transaction that was asked for"))
    }
}
