//! Proofs that an apply takes before it writes: a digest of each row that it keeps, and what happened to other tables without
//! being kept. Both are NULL where an older version applied.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0011_measured",
    create: "
alter table dewey_sync.replaced add column if not exists digest bigint;
alter table dewey_sync.generation add column if not exists not_undone jsonb",
    drop: "
alter table dewey_sync.replaced drop column digest;
alter table dewey_sync.generation drop column not_undone",
};
