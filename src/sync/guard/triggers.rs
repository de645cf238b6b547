//! What runs besides when books are changed or deleted: triggers and rules that somebody made.
//!
//! What they do is measured before the COMMIT and cannot be undone; a sync says so before it asks. A foreign key whose own
//! triggers are switched off would leave rows that refer to no book, so that is refused.

use serde::{Deserialize, Serialize};

use super::dependents::{ForeignKey, Reach, Writes};
use crate::error::{Error, Kind, Result};
use crate::sync::facts::Facts;

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

/// The sentence that names them, where there are some.
pub fn told(target: &Facts) -> Option<String> {
    let named: Vec<String> = target.triggers.iter().flatten().map(ToString::to_string).collect();
    (!named.is_empty()).then(|| {
        format!(
            "The target's `\"Book\"` has {}: what it does to other tables is counted before the books are committed, and \
             not undone. A rehearsal runs it as well, effects outside the database included.",
            named.join(", ")
        )
    })
}

/// # Errors
/// [`Kind::Refused`] when a foreign key that books can reach does not act.
pub fn check(keys: &[ForeignKey]) -> Result<()> {
    let Some(reach) = Reach::of(keys, Writes::Anything) else { return Ok(()) };
    let Some(key) = reach.keys().find(|key| !key.acts) else { return Ok(()) };
    let (name, table) = (&key.name, &key.table.name);
    Err(Error::new(Kind::Refused, "could not rely on the target's foreign keys")
        .because(format!(
            "triggers of the foreign key `{name}` of `{table}` are disabled, so that rows could refer to a book that is gone"
        ))
        .hint(format!("run `ALTER TABLE {table} ENABLE TRIGGER ALL; ALTER TABLE {} ENABLE TRIGGER ALL` as a superuser", key.references.name)))
}
