//! The role and the type of each column, a line per column.

use dewey_sync_entity::book::Column;

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

/// The role of `column`, and the built-in type under which it is compared. Without a line here a column does not compile.
#[expect(clippy::match_same_arms, reason = "a line per column")]
const fn role_and_type(column: Column) -> (Role, &'static str) {
    match column {
        Column::Id => (Role::Id, "integer"),
        Column::OwnerId => (Role::Owner, "integer"),
        Column::Isbn10 => (Role::Copied, "text"),
        Column::Isbn13 => (Role::Copied, "text"),
        Column::Title => (Role::Copied, "text"),
        Column::TitleLong => (Role::Copied, "text"),
        Column::Language => (Role::Copied, "text"),
        Column::Synopsis => (Role::Copied, "text"),
        Column::Image => (Role::Copied, "text"),
        Column::Edition => (Role::Copied, "text"),
        Column::PageCount => (Role::Copied, "integer"),
        Column::Authors => (Role::Copied, "text[]"),
        Column::Binding => (Role::Copied, "text"),
        Column::Subjects => (Role::Copied, "text[]"),
        Column::DatePublished => (Role::Copied, "text"),
        Column::ImageOriginal => (Role::Copied, "text"),
        Column::Publisher => (Role::Copied, "text"),
        Column::Visibility => (Role::Copied, "text"),
        Column::CreatedAt => (Role::CopiedIfPresent, "timestamp"),
        Column::ReadDate => (Role::CopiedIfPresent, "timestamp"),
        Column::UpdatedAt => (Role::CopiedIfPresent, "timestamp"),
    }
}

/// What `column` is to the sync.
pub const fn role(column: Column) -> Role {
    role_and_type(column).0
}

/// The built-in type under which a copied column is compared: the same on every server, and none that changes a value.
pub const fn comparable_type(column: Column) -> &'static str {
    role_and_type(column).1
}
