//! What a transaction asks of its session.

use super::connect::{identifier, literal};
use super::heartbeat::Limit;

/// One row. A parallel worker sends text in the encoding of the database, not of the client, so that a digest would depend on
/// who computed it: where the two differ, there are no workers.
pub(super) const BEGUN: &str = "SELECT current_setting('transaction_read_only') AS is_read_only, \
    set_config('max_parallel_workers_per_gather', CASE getdatabaseencoding() \
    WHEN 'UTF8' THEN current_setting('max_parallel_workers_per_gather') ELSE '0' END, true)";

/// What every transaction sets for itself, because a pooler may have lent the session to somebody else and a role or a
/// database may have defaults of its own. With the keepalives the server notices within a minute that a client vanished.
/// Compiling the long lists of columns would take longer than it saves. Temporary tables are looked for last, where
/// PostgreSQL would look first: a pooler's session may have one with the name of the application's.
pub(super) fn settings(schema: &str, name: &str, limit: Limit, version: Option<u32>) -> String {
    let mut settings = format!(
        "SET LOCAL search_path = {schema}, pg_temp; SET LOCAL client_encoding = 'UTF8'; SET LOCAL DateStyle = 'ISO, MDY'; \
         SET LOCAL TimeZone = 'UTC'; SET LOCAL standard_conforming_strings = on; SET LOCAL row_security = off; \
         SET LOCAL application_name = {name}; SET LOCAL statement_timeout = {timeout_ms}; \
         SET LOCAL lock_timeout = {lock_ms}; SET LOCAL idle_in_transaction_session_timeout = {idle_ms}; \
         SET LOCAL jit = off; SET LOCAL tcp_keepalives_idle = 30; SET LOCAL tcp_keepalives_interval = 10; SET LOCAL tcp_keepalives_count = 3",
        schema = identifier(schema),
        name = literal(name),
        timeout_ms = limit.statement_timeout().as_millis(),
        lock_ms = limit.lock_timeout().as_millis(),
        idle_ms = limit.idle_timeout().as_millis().min(i32::MAX.unsigned_abs().into()),
    );
    // PostgreSQL 14 and later end a statement whose client is gone; without it, it goes on to its end.
    if version.is_some_and(|version| version >= 140_000) {
        settings.push_str("; SET LOCAL client_connection_check_interval = 1000");
    }
    // Statements have limits of their own, and an apply may take longer than any role's default.
    if version.is_some_and(|version| version >= 170_000) {
        settings.push_str("; SET LOCAL transaction_timeout = 0");
    }
    settings
}
