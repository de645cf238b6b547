//! Proofs that an apply takes: a digest of each row that it keeps, what happened to other tables without being kept, and the
//! text of each row that foreign keys changed, as it was left (`left_row`). All are NULL where an older version applied.
//!
//! `chosen` is filled by an undo for itself: which columns of such a row it sets, as the text of an array.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0011_measured",
    create: "
alter table dewey_sync.replaced add column if not exists digest bigint,
    add column if not exists left_row text, add column if not exists chosen text;
alter table dewey_sync.generation add column if not exists not_undone jsonb",
    drop: "
alter table dewey_sync.replaced drop column if exists digest, drop column if exists left_row, drop column if exists chosen;
alter table dewey_sync.generation drop column if exists not_undone",
};
