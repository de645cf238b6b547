//! What runs besides when books are changed or deleted: triggers and rules that somebody made.
//!
//! What they do is measured before the COMMIT and cannot be undone; a sync says so before it asks. A foreign key whose own
//! triggers are switched off would leave rows that refer to no book, so that is refused.

use crate::dependents::{ForeignKey, Reach, Writes};
use crate::error::{Error, Kind, Result};
use crate::preflight::catalog::Facts;

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
