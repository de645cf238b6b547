//! The table `"Book"`, with the names that Prisma gives to keys and indexes.

use super::Definition;
use crate::Kind;

pub(super) const DEFINITION: Definition = Definition {
    version: "m0003_book",
    kind: Kind::Table,
    name: "Book",
    create: r#"
create table {schema}."Book" (
    id              serial       not null constraint "Book_pkey" primary key,
    "ownerId"       integer      not null,
    isbn10          varchar(10)  not null,
    isbn13          varchar(13)  not null,
    title           text         not null,
    "titleLong"     text         not null,
    language        text         not null,
    synopsis        text         not null,
    image           text         not null,
    edition         text,
    "pageCount"     integer      not null,
    authors         text[],
    binding         text         not null,
    subjects        text[],
    "datePublished" text         not null,
    "imageOriginal" text         not null,
    publisher       text         not null,
    visibility      {schema}."BookVisibility" not null default 'PUBLIC',
    "createdAt"     timestamp(3) not null default current_timestamp,
    "readDate"      timestamp(3),
    "updatedAt"     timestamp(3) not null,
    constraint "Book_ownerId_fkey" foreign key ("ownerId") references {schema}."User" (id)
        on delete cascade on update cascade
);
create unique index "Book_isbn10_key" on {schema}."Book" (isbn10);
create unique index "Book_isbn13_key" on {schema}."Book" (isbn13);
create index "Book_ownerId_idx" on {schema}."Book" ("ownerId");
create index "Book_visibility_idx" on {schema}."Book" (visibility);
create index "Book_title_idx" on {schema}."Book" (title);
create index "Book_readDate_idx" on {schema}."Book" ("readDate");
create index "Book_ownerId_readDate_idx" on {schema}."Book" ("ownerId", "readDate")"#,
};
