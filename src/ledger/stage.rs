//! Empties the stage.

use sqlx::Row;

use crate::postgres::query::Query;

/// A statement that empties the stage as part of an apply, unless somebody has a lock on it, such as a dump of the
/// database: for that one neither the apply nor whoever waits for the books has to wait.
pub const EMPTY_IF_FREE: &str = "DO $$ BEGIN
  LOCK TABLE dewey_sync.stage, dewey_sync.stage_checkpoint IN ACCESS EXCLUSIVE MODE NOWAIT;
  TRUNCATE dewey_sync.stage, dewey_sync.stage_checkpoint;
EXCEPTION WHEN lock_not_available THEN NULL; END $$";

/// Whether something is left of it.
pub(crate) fn is_left() -> Query<'static, bool> {
    Query::last_row("SELECT EXISTS (SELECT FROM dewey_sync.stage)", |row| Ok(row.try_get(0)?))
}
