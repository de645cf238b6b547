//! New books, until they are verified and applied. Unlogged: a crash of the server empties it together with its
//! checkpoints, so that a resumed run copies again.
//!
//! Every type is built-in, because one of the application's would tie our schema to it. There is no unique key
//! beside the primary one: a book that moves between two ranges while they are read arrives twice.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0005_stage",
    create: r#"
create unlogged table dewey_sync.stage (
    run_id          bigint  not null,
    source_id       integer not null,
    "ownerId"       integer not null,
    isbn10          text    not null,
    isbn13          text    not null,
    title           text    not null,
    "titleLong"     text    not null,
    language        text    not null,
    synopsis        text    not null,
    image           text    not null,
    edition         text,
    "pageCount"     integer not null,
    authors         text[],
    binding         text    not null,
    subjects        text[],
    "datePublished" text    not null,
    "imageOriginal" text    not null,
    publisher       text    not null,
    visibility      text    not null,
    "createdAt"     timestamp(3),
    "readDate"      timestamp(3),
    "updatedAt"     timestamp(3),
    constraint stage_pkey primary key (run_id, source_id)
)"#,
    drop: "drop table dewey_sync.stage",
};
