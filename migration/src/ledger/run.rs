//! The audit log: one row for every run that passed its guards.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0003_run",
    create: "
create table dewey_sync.run (
    run_id             bigserial   not null constraint run_pkey primary key,
    action             text        not null,
    state              text        not null,
    started_at         timestamptz not null default now(),
    finished_at        timestamptz,
    os_user            text        not null,
    host               text        not null,
    tool_version       text        not null,
    source             text,
    target             text        not null,
    source_identity    text,
    target_identity    text        not null,
    strategy           text,
    mode               text,
    engine             text,
    owner_id           integer,
    plan               jsonb,
    exported           bigint      not null default 0,
    inserted           bigint      not null default 0,
    updated            bigint      not null default 0,
    deleted            bigint      not null default 0,
    unchanged          bigint      not null default 0,
    skipped            bigint      not null default 0,
    failed             bigint      not null default 0,
    retries            bigint      not null default 0,
    fingerprint_rows   bigint,
    fingerprint_digest text,
    snapshot_at        timestamptz,
    apply_ms           bigint,
    epoch              bigint      not null default 0,
    error              text
)",
    drop: "drop table dewey_sync.run",
};
