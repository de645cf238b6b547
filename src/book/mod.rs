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
//! 4. What is said of `visibility`, `title`, `id` and the owner's `email`: `src/preflight/survey.rs`, `src/sync/changes.rs`,
//!    `apply/write.rs`, `guard/schema/columns.rs`.
//! 5. `src/demo/penumbra.sql` and `books.sql`: the generated data of demo and tests.

mod copied;
mod owners;
mod role;
pub mod sequence;
pub mod table;

pub use dewey_sync_entity::book::{ActiveModel, Column, Entity, Model};

pub use copied::{CopiedColumns, MadeUp};
pub use owners::{OwnerMap, SourceUserId, TargetUserId};
pub use role::{Role, comparable_type, role};
pub(crate) use table::BOOK_OID;
pub use table::{
    KEY, OTHER_KEY, OWNER, OWNER_TABLE, PRIVATE, TABLE, TITLE, UPDATED_AT, VISIBILITY, is_needed, quoted,
    read_type, stored_type,
};

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
