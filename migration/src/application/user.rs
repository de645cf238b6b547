//! The table `"User"`, with the names that Prisma gives to keys and indexes.

use super::Definition;
use crate::Kind;

pub(super) const DEFINITION: Definition = Definition {
    version: "m0002_user",
    kind: Kind::Table,
    name: "User",
    create: r#"
create table {schema}."User" (
    id                serial       not null constraint "User_pkey" primary key,
    "clerkId"         text         not null,
    email             text         not null,
    name              text,
    "createdAt"       timestamp(3) not null default current_timestamp,
    "profileImageUrl" text,
    "updatedAt"       timestamp(3) not null,
    "githubUrl"       text,
    "instagramUrl"    text,
    "letterboxdUrl"   text,
    "linkedinUrl"     text,
    "spotifyUrl"      text
);
create unique index "User_clerkId_key" on {schema}."User" ("clerkId");
create unique index "User_email_key" on {schema}."User" (email)"#,
};
