//! The rows that a transaction inserted, updated and deleted in each table, counted by the server itself.
//!
//! PostgreSQL keeps statistics of the current transaction: rows that cascades, SET NULL, partitions and triggers touched are in
//! them, and any role may read them. They also hold what the session has not reported of earlier transactions (behind a pooler
//! another client's), so only the difference of two readings counts. TRUNCATE sets them back and a dropped table has none, so
//! both readings hold the file of every table as well; a file that changed is ours where this session holds the lock that such
//! a change needs.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::Row as _;

use super::effect::{Effect, Effects, TOO_MUCH};
use super::fault::Fault;
use super::query::Query;
use crate::book::TABLE;
use crate::quote::literal;

impl Effects {
    /// What `statements` do, the last of which says it, as [`guard`] does.
    pub(crate) fn of(statements: String) -> Query<'static, Self> {
        Query::last_row(statements, |row| {
            let reading: String = row.try_get(0)?;
            Self::from_json(&reading).map_err(|error| Fault::unreadable(&error))
        })
    }
}

/// The setting that keeps the first reading for the second one, within the transaction.
const BEFORE: &str = "dewey_sync.before";

/// The setting that keeps what the last reading is compared with.
const EXPECTED: &str = "dewey_sync.expected";

/// The setting that keeps the last reading for the client.
const SEEN: &str = "dewey_sync.seen";

/// Tables that may lose something: neither ours nor temporary. Large objects are rows of the catalog.
const WATCHED: &str = "(c.relkind = 'r' AND c.relpersistence <> 't' AND c.relnamespace <> ALL (ARRAY(SELECT oid FROM pg_namespace \
     WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'dewey_sync'))) \
     OR c.oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass))";

/// An expression that takes the first reading.
pub(super) fn first_reading() -> String {
    format!(
        "set_config('{BEFORE}', (SELECT json_build_object(
   'files', coalesce(json_object_agg(oid, json_build_array(relfilenode, name, dropped)), '{{}}'),
   'counts', coalesce(json_object_agg(oid, json_build_array(deleted, updated, inserted)) FILTER (WHERE deleted + updated + inserted > 0), '{{}}'))::text
  FROM (SELECT c.oid, relfilenode, format('%I.%I', nspname, relname) AS name, coalesce(dropped, 0) AS dropped, {COUNTS}
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN {DROPPED} ON attrelid = c.oid WHERE {WATCHED}) first), true)"
    )
}

/// How many columns each table has lost, which leaves its file as it is.
const DROPPED: &str =
    "(SELECT attrelid, count(*) AS dropped FROM pg_attribute WHERE attisdropped GROUP BY attrelid) d";

const COUNTS: &str = "pg_stat_get_xact_tuples_deleted(c.oid) AS deleted, pg_stat_get_xact_tuples_updated(c.oid) AS updated, \
     pg_stat_get_xact_tuples_inserted(c.oid) AS inserted";

/// A scalar expression of text: what the transaction did since it began, as JSON.
pub fn measured() -> String {
    format!(
        "(WITH first AS (SELECT current_setting('{BEFORE}')::json AS reading),
 counts AS (SELECT key::oid AS oid, value AS count FROM first, json_each(reading -> 'counts')),
 files AS (SELECT key::oid AS oid, (value ->> 0)::oid AS file, value ->> 1 AS name,
   (value ->> 2)::bigint AS dropped FROM first, json_each(reading -> 'files')),
 now AS (SELECT coalesce(pg_partition_root(c.oid), c.oid) AS root, deleted - coalesce((count ->> 0)::bigint, 0) AS deleted,
   updated - coalesce((count ->> 1)::bigint, 0) AS updated, inserted - coalesce((count ->> 2)::bigint, 0) AS inserted
  FROM (SELECT c.oid, {COUNTS} FROM pg_class c WHERE {WATCHED}) c LEFT JOIN counts USING (oid)),
 touched AS (SELECT root, sum(deleted)::bigint AS deleted, sum(updated)::bigint AS updated, sum(inserted)::bigint AS inserted
  FROM now WHERE deleted <> 0 OR updated <> 0 OR inserted <> 0 GROUP BY root),
 rewritten AS (SELECT f.name FROM files f LEFT JOIN pg_class c USING (oid) LEFT JOIN {DROPPED} ON attrelid = f.oid
   WHERE (c.relfilenode IS DISTINCT FROM f.file OR coalesce(d.dropped, 0) <> f.dropped) AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = f.oid
     AND l.mode = 'AccessExclusiveLock' AND l.granted))
SELECT json_build_object(
 'tables', coalesce((SELECT json_agg(json_build_object('is_book', coalesce(root = to_regclass({book}), false), 'table', {name},
    'deleted', deleted, 'updated', updated, 'inserted', inserted) ORDER BY root) FROM touched JOIN pg_class c ON c.oid = root
    JOIN pg_namespace n ON n.oid = c.relnamespace), '[]'),
 'rewritten', coalesce((SELECT json_agg(name ORDER BY name) FROM rewritten), '[]'))::text)",
        book = literal(TABLE),
        name = "format('%I.%I', n.nspname, c.relname)",
    )
}

/// What a transaction may have done when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    /// Rows of other tables may have been inserted, and of these tables any number may be gone or changed.
    Within(Losing),
    /// Anything whose size is known.
    KnownLosses,
    /// What this reading of [`measured`] says, and nothing since.
    AsMeasured(String),
}

/// Tables of which rows may be gone, and those of which rows may be changed, by the names that [`Effect`]s have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Losing {
    deleted: BTreeSet<String>,
    updated: BTreeSet<String>,
}

impl Losing {
    /// Adds what these effects do.
    pub fn add(&mut self, effects: &[Effect]) {
        for Effect { table, deleted, updated, .. } in effects {
            self.deleted.extend((*deleted > 0).then(|| table.clone()));
            self.updated.extend((*updated > 0).then(|| table.clone()));
        }
    }
}

impl Bounds {
    /// Whether they let these losses be.
    pub fn allow(&self, losses: &[Effect]) -> bool {
        match self {
            Self::Within(Losing { deleted, updated }) => losses.iter().all(|loss| {
                (loss.deleted == 0 || deleted.contains(&loss.table))
                    && (loss.updated == 0 || updated.contains(&loss.table))
            }),
            Self::KnownLosses => true,
            Self::AsMeasured(_) => losses.is_empty(),
        }
    }
}

/// The last statements before a COMMIT: the second reading, which ends the transaction when it did more than `bounds` say and
/// is the last row otherwise. Deferred constraints act before it.
pub fn guard(bounds: &Bounds) -> String {
    let (expected, too_much) = match bounds {
        Bounds::Within(losing) => (
            serde_json::json!(losing).to_string(),
            "json_array_length(seen -> 'rewritten') > 0 OR EXISTS (SELECT FROM json_array_elements(seen -> 'tables') t, \
             CAST(current_setting('dewey_sync.expected') AS jsonb) losing \
             WHERE (t ->> 'deleted')::bigint <> 0 AND NOT losing -> 'deleted' ? (t ->> 'table') \
             OR (t ->> 'updated')::bigint <> 0 AND NOT (t ->> 'is_book')::boolean AND NOT losing -> 'updated' ? (t ->> 'table'))",
        ),
        Bounds::KnownLosses => (String::new(), "json_array_length(seen -> 'rewritten') > 0"),
        Bounds::AsMeasured(reading) => {
            (reading.clone(), "seen::text <> current_setting('dewey_sync.expected')")
        }
    };
    format!(
        "SET CONSTRAINTS ALL IMMEDIATE; SELECT set_config('{EXPECTED}', {expected}, true);
DO $dewey_sync$ DECLARE seen json := {measured}; BEGIN
 IF {too_much} THEN RAISE EXCEPTION USING ERRCODE = '{TOO_MUCH}', MESSAGE = seen::text; END IF;
 PERFORM set_config('{SEEN}', seen::text, true);
END $dewey_sync$; SELECT current_setting('{SEEN}') AS effects",
        expected = literal(&expected),
        measured = measured(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_went_back_are_a_loss_of_unknown_size() {
        let reading = r#"{"tables": [
            {"is_book": true, "table": "public.\"Book\"", "deleted": 2, "updated": 0, "inserted": 1},
            {"is_book": false, "table": "public.note", "deleted": -3, "updated": 1, "inserted": 0}], "rewritten": []}"#;
        let Effects { books, others, rewritten } = Effects::from_json(reading).unwrap();
        assert_eq!((books.deleted, books.inserted), (2, 1));
        assert_eq!((others[0].deleted, others[0].updated), (0, 1));
        assert_eq!(rewritten, ["public.note"]);
    }
}
