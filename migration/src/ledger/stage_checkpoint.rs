//! The batches that are in the stage; unlogged, because a checkpoint must not outlive the rows that it vouches for.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0006_stage_checkpoint",
    create: "
create unlogged table dewey_sync.stage_checkpoint (
    run_id     bigint  not null constraint stage_checkpoint_run_id_fkey
                       references dewey_sync.run (run_id) on delete cascade,
    batch      integer not null,
    round      integer not null default 0,
    after_id   bigint,
    through_id bigint,
    rows       bigint  not null,
    digest     text,
    epoch      bigint  not null default 0,
    constraint stage_checkpoint_pkey primary key (run_id, batch, round)
)",
    drop: "drop table dewey_sync.stage_checkpoint",
};
