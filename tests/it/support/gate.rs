//! Holds a run at a book, so that it does not come to its end before the test has done what it wants to do meanwhile.

use sqlx::{Connection, PgConnection};

use super::inspect::dump;
use super::running::until;
use super::sandbox::Sandbox;
use super::servers::{connect, execute};

/// The advisory lock that stands for the gate, and the one that who stands before it has.
const GATE: u32 = 7001;
const REACHED: u32 = 7002;

/// What a trigger does that waits for an advisory lock as for no lock, because such a wait has a time-out of its own.
pub(crate) fn stopping(lock: u32, reached: u32) -> String {
    format!(
        "BEGIN
           PERFORM pg_advisory_xact_lock_shared({reached});
           WHILE NOT pg_try_advisory_xact_lock_shared({lock}) LOOP PERFORM pg_sleep(0.01); END LOOP;
           RETURN NEW;
         END"
    )
}

/// A query for how many sessions of a database have come to where they have this advisory lock.
pub(crate) fn having(reached: u32) -> String {
    format!(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
         WHERE datname = current_database() AND locktype = 'advisory' AND classid = 0 AND objid = {reached} AND granted"
    )
}

/// Shut as long as it is there.
pub(crate) struct Gate(PgConnection);

impl Gate {
    /// Lets no book pass into `table` of the target that is the first one of batch `from` or a later one, of batches of `size`.
    pub(crate) async fn shut(sandbox: &Sandbox, table: &str, from: usize, size: usize) -> Self {
        let first = format!(
            r#"SELECT string_agg(quote_literal(isbn13), ', ')
               FROM (SELECT isbn13, row_number() OVER (ORDER BY id) AS number FROM "Book") b
               WHERE number > {} AND number % {size} = 1"#,
            (from - 1) * size
        );
        let first = String::from_utf8(dump(&sandbox.source_admin_url(), &first)).unwrap();
        let trigger = format!(
            "CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
               $$ {stop} $$;
             DROP TRIGGER IF EXISTS gate ON {table};
             CREATE TRIGGER gate BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.isbn13 IN ({}))
               EXECUTE FUNCTION gate()",
            first.trim_end(),
            stop = stopping(GATE, REACHED),
        );
        execute(&sandbox.target_admin_url(), &trigger).await;
        let mut holder = connect(&sandbox.target_admin_url()).await;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(i64::from(GATE)).execute(&mut holder).await.unwrap();
        Self(holder)
    }

    /// Until so many sessions stand before it.
    pub(crate) fn until_reached(sandbox: &Sandbox, sessions: usize) {
        until(&sandbox.target_admin_url(), &having(REACHED), |found| found == sessions.to_string());
    }

    pub(crate) async fn open(self) {
        self.0.close().await.unwrap();
    }
}
