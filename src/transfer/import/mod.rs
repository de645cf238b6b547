//! Writes books into the target: how depends on the engine, what is there afterwards does not.

pub mod binary;
mod copy;
mod insert;
pub mod statement;
pub mod transfer;

use std::convert::Infallible;
use std::pin::Pin;

use dewey_sync_entity::ledger::stage;
use futures_util::{StreamExt, TryStreamExt};
use sea_orm::Iterable;

use super::engine::Engine;
use super::export::{self, Books, ChunkSize};
use crate::book::{Column, CopiedColumns, TABLE};
use crate::error::{Error, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::{Fault, Limit, SourceTx, Tx};
use crate::retry::fault_of;
pub use insert::staging_text;
pub use statement::StatementCache;
use transfer::{Chunk, Copied, Exported, Transfer};

impl Engine {
    /// Stops before the first write where this engine could not write the columns.
    pub fn check(self, destination: Destination, columns: &CopiedColumns) -> Result<()> {
        match self {
            Self::Copy if destination == Destination::Book => copy::check(columns),
            Self::Copy | Self::Insert => Ok(()),
        }
    }

    /// How many rows one statement can take.
    pub(crate) fn rows_max(self) -> u64 {
        match self {
            Self::Insert => {
                PARAMETERS_MAX / Ord::max(stage::Column::iter().count(), Column::iter().count()) as u64
            }
            Self::Copy => u64::MAX,
        }
    }
}

/// PostgreSQL takes no more of a statement, and an INSERT has one per row and column.
const PARAMETERS_MAX: u64 = 65_535;

impl Transfer<'_> {
    /// Reads `books`, of which the plan saw `planned`, from an open snapshot; `shrinks` halves what a chunk holds.
    pub fn export<'tx>(
        &self,
        source: &'tx SourceTx<'_>,
        books: Books<'_>,
        planned: u64,
        shrinks: u32,
    ) -> Exported<'tx> {
        let size = ChunkSize::of(planned, self.engine.rows_max()).halved(shrinks);
        let chunks = match self.engine {
            Engine::Insert => {
                export::chunks(source, books, self.remap, size).map_ok(Chunk::Books).boxed_local()
            }
            Engine::Copy => {
                let statement = copy::out_of_source(self, books);
                copy::chunks(source, statement, size).map_ok(Chunk::Binary).boxed_local()
            }
        };
        chunks.peekable()
    }

    /// Writes what is exported into an open transaction; the next chunk is read while one is written. After a duplicate key
    /// the rest is read all the same, so that the source can be asked which books have it.
    pub async fn import(&self, target: &Tx<'_>, mut exported: Exported<'_>) -> Result<Copied> {
        let mut copied = Copied::default();
        loop {
            let chunk = exported.try_next().await;
            let chunk = chunk.map_err(|fault| fault.error("could not read books from the source"))?;
            let Some(chunk) = chunk else { return Ok(copied) };
            let writing = async {
                match chunk {
                    Chunk::Books(books) => insert::insert(self, target, books).await,
                    Chunk::Binary(rows) => copy::copy(self, target, rows).await,
                }
            };
            match while_reading(&mut exported, writing).await {
                Ok(Copied { exported, inserted }) => {
                    copied.exported += exported;
                    copied.inserted += inserted;
                }
                Err(error) => {
                    if is_duplicate_key(&error) {
                        read_to_end(exported).await;
                    }
                    return Err(error);
                }
            }
        }
    }
}

/// What `work` brings, while the first chunk of `next` is read. Work that has failed does not wait for the source. Where both
/// read from one connection, `work` has to have it already.
pub(crate) async fn while_reading<T>(next: &mut Exported<'_>, work: impl Future<Output = T>) -> T {
    let reading = async {
        Pin::new(next).peek().await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        done = work => done,
        never = reading => match never {},
    }
}

/// So that the source's connection can be used again.
pub(crate) async fn read_to_end(mut exported: Exported<'_>) {
    while matches!(exported.try_next().await, Ok(Some(_))) {}
}

/// Whether a value that is unique in the target came twice.
pub fn is_duplicate_key(error: &Error) -> bool {
    fault_of(error).is_some_and(|fault| fault.sqlstate() == Some("23505"))
}

/// Removes every book, and from then on gives each statement `limit`; how many there were.
pub async fn delete_all(tx: &Tx<'_>, limit: impl Into<Limit>) -> Result<u64, Fault> {
    tx.execute_then_limit(&format!("DELETE FROM {TABLE}"), limit).await
}

#[cfg(test)]
mod tests {
    use sea_orm::{ActiveModelTrait, ColumnTrait, ColumnType, DbBackend, EntityTrait, QueryTrait};

    use super::*;

    #[test]
    fn the_largest_insert_has_as_many_parameters_as_a_server_takes() {
        let mut row = <stage::ActiveModel as ActiveModelTrait>::default();
        for column in stage::Column::iter() {
            let value = match column.def().get_column_type() {
                ColumnType::BigInteger => 1_i64.into(),
                ColumnType::Integer => 1_i32.into(),
                _ => "x".into(),
            };
            row.set(column, value);
        }
        let parameters = |rows: u64| {
            let rows = (0..rows).map(|_| row.clone());
            let insert = stage::Entity::insert_many(rows).into_query();
            DbBackend::Postgres.build(&insert).values.unwrap().0.len()
        };
        let most = Engine::Insert.rows_max();
        assert!(parameters(most) <= 65_535, "{most} rows");
        assert!(parameters(most + 1) > 65_535, "{most} rows");
    }
}
