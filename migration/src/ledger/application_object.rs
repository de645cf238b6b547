//! What `up` made of the application's objects and what it adopted.
//!
//! The oid tells an object that `up` made from one that the application made again under the same name.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0002_application_object",
    create: "
create table dewey_sync.application_object (
    name       text    not null constraint application_object_pkey primary key,
    kind       text    not null,
    object_oid oid     not null,
    made       boolean not null
)",
    drop: "drop table dewey_sync.application_object",
};
