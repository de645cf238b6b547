//! Which process began or resumed a run: the name that its sessions have in common.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0009_run_session",
    create: "alter table dewey_sync.run add column session text",
    drop: "alter table dewey_sync.run drop column session",
};
