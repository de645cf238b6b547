//! The application's book table: its names, and the role of each column.

use dewey_sync_entity::book::Column;
use sea_orm::IdenStatic;

/// The table, as an SQL identifier. The transaction's search path says in which schema.
pub const TABLE: &str = "\"Book\"";

/// An expression for the oid of the book table; NULL where there is none.
pub(crate) const BOOK_OID: &str = "to_regclass('\"Book\"')::oid";

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
