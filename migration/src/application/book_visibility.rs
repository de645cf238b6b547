//! The enum `"BookVisibility"`.

use super::Definition;
use crate::Kind;

pub(super) const DEFINITION: Definition = Definition {
    version: "m0001_book_visibility",
    kind: Kind::Enum,
    name: "BookVisibility",
    create: r#"create type {schema}."BookVisibility" as enum ('PRIVATE', 'PUBLIC', 'FRIENDS', 'UNLISTED')"#,
};
