//! The book table is the one that the guards looked at, until the transaction that wrote to it is committed.
//!
//! Statements name it, and a name may come to mean another table or a view while a run waits for an answer, for a lock or
//! between two of its transactions, on either side. Whatever a transaction has read or written under that name it holds a lock
//! on, so that the name cannot change any more: what it means in the end is what it meant.

use crate::book::TABLE;
use crate::config::Endpoint;
use crate::quote::literal;

/// In the server's error.
const REPLACED: &str = "dewey_sync.another_table";

/// A statement that fails unless the name means the table with this oid, in the URL's schema and by the search path, which a
/// trigger may have changed.
pub(super) fn check_sql(endpoint: &Endpoint, oid: u32) -> String {
    format!(
        "SELECT current_setting(CASE count(*) WHEN 1 THEN 'search_path' ELSE '{REPLACED}' END) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {schema} AND c.relname = {table} AND c.oid = {oid} \
         AND c.oid = to_regclass({name})",
        name = literal(TABLE),
        schema = literal(&endpoint.schema),
        table = literal(TABLE.trim_matches('"')),
    )
}

/// Whether a server's message is that error.
pub(super) fn says_replaced(message: &str) -> bool {
    message.contains(REPLACED)
}
