//! The application's book table: its names, and the columns that the sync works with itself.

use dewey_sync_entity::book::Column;
use sea_orm::IdenStatic;

use super::role::{Role, comparable_type, role};

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

/// The built-in type that an expression on the source is cast to before it is compared or read: a value that a decision
/// of the user made has the precision of the target's column.
pub fn read_type(column: Column) -> &'static str {
    match comparable_type(column) {
        "timestamp" => "timestamp(3)",
        compared_as => compared_as,
    }
}

/// Whether the sync works with `column` itself, so that it cannot be left out.
pub fn is_needed(column: Column) -> bool {
    let is_named = [KEY, OTHER_KEY, VISIBILITY, TITLE].iter().any(|named| named.as_str() == column.as_str());
    is_named || matches!(role(column), Role::Id | Role::Owner)
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
