//! The database in which the ledger was created; in any other one it came with a dump and marks nothing.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0001_identity",
    create: "
create table dewey_sync.identity (
    id                smallint    not null default 1 constraint identity_pkey primary key
                                  constraint identity_one_row check (id = 1),
    system_identifier text        not null,
    database_oid      bigint      not null,
    database_name     text        not null,
    marked_at         timestamptz not null default now()
)",
    drop: "drop table dewey_sync.identity",
};
