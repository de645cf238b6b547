//! One batch on its way into the target.

use futures_util::stream::{LocalBoxStream, Peekable};

use super::binary::Binary;
use super::statement::StatementCache;
use crate::book::SourceBook;
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::Fault;
use crate::transfer::engine::Engine;
use crate::transfer::remap::Remap;

/// Rows of a part of the source.
#[derive(Debug, Clone, Copy, Default)]
pub struct Copied {
    /// Read from the source.
    pub exported: u64,
    /// Rows that the target says were inserted.
    pub inserted: u64,
}

/// What is the same for every part of a run.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// How books are written.
    pub engine: Engine,
    /// How they change owners.
    pub remap: &'a Remap,
    /// Where they go.
    pub destination: Destination,
    /// Whose they are in the stage.
    pub run_id: i64,
    /// Of `insert`'s statements.
    pub statements: &'a StatementCache,
    /// Whether a connection has only few of these statements, so that to prepare one would cost a wait and save none.
    pub is_single: bool,
}

/// Books on their way; nothing is asked of the source before it is polled.
pub type Exported<'tx> = Peekable<LocalBoxStream<'tx, Result<Chunk, Fault>>>;

/// Books that are inserted by one statement, as the engine has them; never empty.
pub enum Chunk {
    /// To be remapped.
    Books(Vec<SourceBook>),
    /// As the target shall have them.
    Binary(Binary),
}

pub(crate) fn inserting(fault: Fault) -> Error {
    fault.error("could not insert books")
}
