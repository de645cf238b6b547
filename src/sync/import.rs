//! Writes books into the target.

use std::str::FromStr;

use dewey_sync_entity::ledger::stage;
use sea_orm::{ActiveModelTrait, EntityTrait, IdenStatic, Iterable, Set};

use crate::book::{Column, Entity, TABLE, TargetBook};
use crate::postgres::{Fault, Limit, Tx};

/// Inserts `books` (at least one, at most [`CHUNK_ROWS_MAX`](super::export::CHUNK_ROWS_MAX)) into the book table with one
/// statement; how many rows the server says it inserted.
pub async fn import(tx: &Tx<'_>, books: Vec<TargetBook>) -> Result<u64, Fault> {
    let models = books.into_iter().map(|book| book.book);
    Ok(Entity::insert_many(models).exec_without_returning(tx).await?)
}

/// Inserts `books` into the stage of run `run_id` in the same way.
pub async fn import_into_stage(tx: &Tx<'_>, run_id: i64, books: Vec<TargetBook>) -> Result<u64, Fault> {
    let same_name = |column: Column| Some((column, stage::Column::from_str(column.as_str()).ok()?));
    let columns: Vec<_> = Column::iter().filter_map(same_name).collect();
    let models = books.into_iter().map(|TargetBook { source_id, mut book }| {
        let mut row =
            stage::ActiveModel { run_id: Set(run_id), source_id: Set(source_id), ..Default::default() };
        for (column, staged) in &columns {
            if let Some(value) = book.take(*column).into_value() {
                row.set(*staged, value);
            }
        }
        row
    });
    Ok(stage::Entity::insert_many(models).exec_without_returning(tx).await?)
}

/// Removes every book, and from then on gives each statement `limit`; how many there were.
pub async fn delete_all(tx: &Tx<'_>, limit: impl Into<Limit>) -> Result<u64, Fault> {
    tx.execute_then_limit(&format!("DELETE FROM {TABLE}"), limit).await
}
