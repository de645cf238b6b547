//! Empties the stage.

/// A statement that empties the stage as part of an apply, unless somebody has a lock on it, such as a dump of the
/// database: for that one neither the apply nor whoever waits for the books has to wait.
pub const EMPTY_IF_FREE: &str = "DO $$ BEGIN
  LOCK TABLE dewey_sync.stage, dewey_sync.stage_checkpoint IN ACCESS EXCLUSIVE MODE NOWAIT;
  TRUNCATE dewey_sync.stage, dewey_sync.stage_checkpoint;
EXCEPTION WHEN lock_not_available THEN NULL; END $$";

/// A query for whether something is left of it, as the column `left_over`.
pub const IS_LEFT: &str = "SELECT EXISTS (SELECT FROM dewey_sync.stage) AS left_over";
