//! Everything this program knows about books, beside the generated entity: which column is what.
//!
//! # Your own table
//!
//! One more column is a change in these places and in no other. `just own-table` makes it in a copy of the workspace:
//!
//! 1. `migration/src/application/book.rs`: the column. `src/demo/penumbra.sql` is the same table as the application makes it; a test
//!    compares the two.
//! 2. `migration/src/ledger/`: the same column of the stage, without NOT NULL, as a migration of its own such as
//!    `stage_optional.rs`; `mod.rs` names it last.
//! 3. `just entities` generates `entity/src/book.rs` and `entity/src/ledger/stage.rs`. A test names a column that the stage lacks.
//! 4. `src/book/role.rs`: a line with the column's role and type. Without it the compiler stops there.
//!
//! A type that `role.rs` does not have yet also needs its conversions in `src/preflight/guard/schema/types.rs`, and a column that is
//! NOT NULL a value in `src/demo/books.sql`.
//!
//! Another table is also other names: those of the table and of its id, owner, keys, title and visibility are in `table.rs`. That
//! the id is `id`, and that an owner has an `id`, an `email` and a `name`, is in the SQL of `src/preflight/`, `src/sync/` and
//! `src/cli/users.rs`.

mod copied;
mod owners;
mod role;
pub mod sequence;
pub mod table;

pub use dewey_sync_entity::book::{ActiveModel, Column, Entity, Model};

pub use copied::{Constant, CopiedColumns};
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
