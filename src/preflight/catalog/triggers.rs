//! What else runs when books are written.

use serde::{Deserialize, Serialize};

/// A trigger or a rule of the book table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its name, as a quoted identifier.
    pub name: String,
    /// `trigger` or `rule`.
    pub kind: String,
    /// On which statements it runs, such as `UPDATE, DELETE`.
    pub events: String,
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, kind, events } = self;
        write!(f, "{kind} `{name}` ({events})")
    }
}

/// Those of the table with the oid `book`, and of its partitions, that run on INSERT, UPDATE or DELETE, as a scalar expression: a JSON
/// array, or NULL.
pub fn query(book: &str) -> String {
    format!(
        "(SELECT json_agg(json_build_object('name', name, 'kind', kind, 'events', events) ORDER BY kind, name)
 FROM (SELECT format('%I', tgname) AS name, 'trigger' AS kind,
    concat_ws(', ', CASE WHEN tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN tgtype & 16 <> 0 THEN 'UPDATE' END,
      CASE WHEN tgtype & 8 <> 0 THEN 'DELETE' END) AS events
   FROM pg_trigger WHERE (tgrelid = {book} OR tgrelid IN (SELECT relid FROM pg_partition_tree({book})))
     AND NOT tgisinternal AND tgparentid = 0 AND tgenabled IN ('O', 'A') AND tgtype & 28 <> 0
   UNION SELECT format('%I', rulename), 'rule', CASE ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END
   FROM pg_rewrite WHERE ev_class = {book} AND ev_type IN ('2', '3', '4') AND ev_enabled IN ('O', 'A')) found)"
    )
}
