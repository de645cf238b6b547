//! Writes books into the target: how depends on the engine, what is there afterwards does not.

mod copy;
mod insert;

use std::pin::pin;

use futures_util::{Stream, TryStreamExt};
use serde::Serialize;

use super::export::{self, Books, ChunkSize};
use super::remap::Remap;
use super::strategy::Strategy;
use crate::book::{CopiedColumns, TABLE};
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::{Fault, Limit, SourceTx, Tx};

/// How books are written, by the name on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// SeaORM's `insert_many`.
    #[default]
    Insert,
    /// PostgreSQL's binary COPY, from server to server without decoding a column.
    Copy,
}

impl Engine {
    /// The name on the command line, in the ledger and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Copy => "copy",
        }
    }

    /// The engine of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Insert, Self::Copy].into_iter().find(|engine| engine.name() == name)
    }

    /// Stops before the first write where this engine could not write the columns.
    pub fn check(self, strategy: Strategy, columns: &CopiedColumns) -> Result<()> {
        match self {
            Self::Copy if strategy.removes_all() => copy::check(columns),
            Self::Copy | Self::Insert => Ok(()),
        }
    }

    /// How many rows one statement can take.
    const fn rows_max(self) -> u64 {
        match self {
            // PostgreSQL takes at most 65,535 parameters a statement and a row of the stage has 22.
            Self::Insert => 2_900,
            Self::Copy => u64::MAX,
        }
    }
}

/// Rows of a part of the source.
#[derive(Debug, Clone, Copy, Default)]
pub struct Copied {
    /// Read from the source.
    pub exported: u64,
    /// Rows that the target says were inserted.
    pub inserted: u64,
}

/// What is copied, from where to where.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a, 'server> {
    /// An open snapshot.
    pub source: &'a SourceTx<'server>,
    /// An open transaction.
    pub target: &'a Tx<'server>,
    /// How books are written.
    pub engine: Engine,
    /// How they change owners.
    pub remap: &'a Remap,
    /// Where they go.
    pub destination: Destination,
    /// Whose they are in the stage.
    pub run_id: i64,
}

impl Transfer<'_, '_> {
    /// Copies `books`, of which the plan saw `planned`, statement by statement; `shrinks` halves what a statement takes.
    pub async fn copy(&self, books: Books<'_>, planned: u64, shrinks: u32) -> Result<Copied> {
        let size = ChunkSize::of(planned, self.engine.rows_max()).halved(shrinks);
        match self.engine {
            Engine::Insert => {
                let chunks = export::chunks(self.source, books, self.remap, size);
                write_each(chunks, async |export::Chunk(books)| insert::insert(self, books).await).await
            }
            Engine::Copy => {
                let [out, into] = copy::statements(self, books);
                let chunks = copy::chunks(self.source, out, size);
                write_each(chunks, async |chunk| copy::copy(self, &into, chunk).await).await
            }
        }
    }
}

/// Writes every chunk; after a failure the rest is read all the same, so that the source can be asked why.
async fn write_each<C>(
    chunks: impl Stream<Item = Result<C, Fault>>,
    write: impl AsyncFn(C) -> Result<Copied>,
) -> Result<Copied> {
    let mut chunks = pin!(chunks);
    let mut copied = Copied::default();
    loop {
        let chunk = chunks.try_next().await;
        let chunk = chunk.map_err(|fault| fault.error("could not read books from the source"))?;
        let Some(chunk) = chunk else { return Ok(copied) };
        match write(chunk).await {
            Ok(Copied { exported, inserted }) => {
                copied.exported += exported;
                copied.inserted += inserted;
            }
            Err(error) => {
                while let Ok(Some(_)) = chunks.try_next().await {}
                return Err(error);
            }
        }
    }
}

fn inserting(fault: Fault) -> Error {
    fault.error("could not insert books")
}

/// Removes every book, and from then on gives each statement `limit`; how many there were.
pub async fn delete_all(tx: &Tx<'_>, limit: impl Into<Limit>) -> Result<u64, Fault> {
    tx.execute_then_limit(&format!("DELETE FROM {TABLE}"), limit).await
}
