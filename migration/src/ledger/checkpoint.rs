//! The batches that `batched` has committed; logged, because they vouch for rows of a logged table.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0004_checkpoint",
    create: "
create table dewey_sync.checkpoint (
    run_id     bigint  not null constraint checkpoint_run_id_fkey
                       references dewey_sync.run (run_id) on delete cascade,
    batch      integer not null,
    round      integer not null default 0,
    after_id   bigint,
    through_id bigint,
    rows       bigint  not null,
    digest     text,
    epoch      bigint  not null default 0,
    constraint checkpoint_pkey primary key (run_id, batch, round)
)",
    drop: "drop table dewey_sync.checkpoint",
};
