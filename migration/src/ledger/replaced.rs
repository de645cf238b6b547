//! What the last apply inserted, updated and deleted, and what its deletions took along.
//!
//! `place` is 0 for books and the distance from them for dependents, so that rows can be put back parents first. `row`
//! is the old row as record text, `columns` the columns that the table had then; inserted books have neither.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0008_replaced",
    create: "
create table dewey_sync.replaced (
    replaced_id bigserial not null constraint replaced_pkey primary key,
    run_id      bigint    not null constraint replaced_run_id_fkey
                          references dewey_sync.run (run_id) on delete cascade,
    action      text      not null constraint replaced_action
                          check (action in ('inserted', 'updated', 'deleted', 'detached')),
    place       integer   not null,
    table_name  text      not null,
    columns     text,
    book_id     integer,
    source_id   integer,
    row         text
)",
    drop: "drop table dewey_sync.replaced",
};
