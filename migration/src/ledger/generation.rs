//! The state before the last apply, and the one after it: what `undo` proves before and after it puts rows back.
//!
//! At most one row. The digests cover every column of the book table, id and owner included.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0007_generation",
    create: "
create table dewey_sync.generation (
    run_id        bigint not null constraint generation_pkey primary key
                         constraint generation_run_id_fkey references dewey_sync.run (run_id) on delete cascade,
    rows_before   bigint not null,
    digest_before text   not null,
    rows_after    bigint not null,
    digest_after  text   not null
)",
    drop: "drop table dewey_sync.generation",
};
