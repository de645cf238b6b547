//! Everything this program knows about books, beside the generated entity: which column is what.
//!
//! # Your own table
//!
//! These places know the columns; a column more or another table means a change in each:
//!
//! 1. `migration/src/application/`: the tables as migrations; then `just entities` generates `entity/src/book.rs`.
//! 2. This module: which column is the id, the owner, the natural key, copied, or copied if both sides have it; the compiler
//!    asks about each new one.
//! 3. `migration/src/ledger/stage.rs` with `entity/src/ledger/stage.rs`: a column of the stage for each copied one, as a
//!    migration of its own once a ledger exists, such as `stage_optional.rs`.
//! 4. `src/sync/export.rs`: the long texts that limit a chunk's memory. `src/sync/import/mod.rs`: rows of an INSERT at most, by
//!    the number of its parameters.
//! 5. What is said of `visibility`, `title`, `id` and the owner's `email`: `src/sync/inventory.rs`, `changes.rs`,
//!    `apply/write.rs`, `guard/schema/columns.rs`.
//! 6. `src/demo/penumbra.sql` and `books.sql`: the generated data of demo and tests.

mod copied;
mod owners;

use sea_orm::IdenStatic;

pub use copied::{CopiedColumns, MadeUp};
pub use dewey_sync_entity::book::{ActiveModel, Column, Entity, Model};
pub use owners::{OwnerMap, SourceUserId, TargetUserId};

/// The table, as an SQL identifier. The transaction's search path says in which schema.
pub const TABLE: &str = "\"Book\"";

/// The table that owners are in, as an SQL identifier.
pub const OWNER_TABLE: &str = "\"User\"";

/// The natural key of a sync: books of both sides with the same value are the same book.
pub const KEY: Column = Column::Isbn13;

/// What else is unique.
pub const OTHER_KEY: Column = Column::Isbn10;

/// Who may see a book in the application.
pub const VISIBILITY: Column = Column::Visibility;

/// The label of [`VISIBILITY`] that hides a book from everybody but its owner.
pub const PRIVATE: &str = "PRIVATE";

/// What a dry run shows of a book.
pub const TITLE: Column = Column::Title;

/// Whose id a book refers to.
pub const OWNER: Column = Column::OwnerId;

/// NOT NULL without a default, so every insert has to give it.
pub const UPDATED_AT: Column = Column::UpdatedAt;

/// What a column is to the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Given anew by the target.
    Id,
    /// Remapped to a user of the target.
    Owner,
    /// Copied; both sides must have it.
    Copied,
    /// Copied when both sides have it.
    CopiedIfPresent,
}

/// What `column` is to the sync.
pub const fn role(column: Column) -> Role {
    match column {
        Column::Id => Role::Id,
        Column::OwnerId => Role::Owner,
        Column::ReadDate | Column::CreatedAt | Column::UpdatedAt => Role::CopiedIfPresent,
        Column::Isbn10
        | Column::Isbn13
        | Column::Title
        | Column::TitleLong
        | Column::Language
        | Column::Synopsis
        | Column::Image
        | Column::Edition
        | Column::PageCount
        | Column::Authors
        | Column::Binding
        | Column::Subjects
        | Column::DatePublished
        | Column::ImageOriginal
        | Column::Publisher
        | Column::Visibility => Role::Copied,
    }
}

/// The built-in type under which a copied column is compared: the same on every server, and none that changes a value.
pub const fn comparable_type(column: Column) -> &'static str {
    match column {
        Column::Id | Column::OwnerId | Column::PageCount => "integer",
        Column::Authors | Column::Subjects => "text[]",
        Column::ReadDate | Column::CreatedAt | Column::UpdatedAt => "timestamp",
        Column::Isbn10
        | Column::Isbn13
        | Column::Title
        | Column::TitleLong
        | Column::Language
        | Column::Synopsis
        | Column::Image
        | Column::Edition
        | Column::Binding
        | Column::DatePublished
        | Column::ImageOriginal
        | Column::Publisher
        | Column::Visibility => "text",
    }
}

/// The built-in type that an expression on the source is cast to before it is compared or read: a value that a decision
/// of the user made has the precision of the target's column.
pub const fn read_type(column: Column) -> &'static str {
    match column {
        Column::ReadDate | Column::CreatedAt | Column::UpdatedAt => "timestamp(3)",
        _ => comparable_type(column),
    }
}

/// Whether the sync works with `column` itself, so that it cannot be left out.
pub const fn is_needed(column: Column) -> bool {
    matches!(
        column,
        Column::Id | Column::OwnerId | Column::Isbn13 | Column::Isbn10 | Column::Visibility | Column::Title
    )
}

/// The type that a text has to be cast to before it is stored; elsewhere the assignment's own cast serves, which
/// never cuts a value short.
pub const fn stored_type(column: Column) -> Option<&'static str> {
    match column {
        Column::Visibility => Some("\"BookVisibility\""),
        _ => None,
    }
}

/// The column's name as an SQL identifier.
pub fn quoted(column: Column) -> String {
    format!("\"{}\"", column.as_str())
}

/// A book as the source has it, its id and owner the source's.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceBook(pub Model);

/// A book as the target shall have it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetBook {
    /// Its id in the source.
    pub source_id: i32,
    /// Without an id, owned by a user of the target.
    pub book: ActiveModel,
}
