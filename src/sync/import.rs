//! Writes books into the target.

use sea_orm::EntityTrait;

use crate::book::{Entity, TABLE, TargetBook};
use crate::postgres::{Fault, Limit, Tx};

/// Inserts `books` (at least one, at most [`CHUNK_ROWS_MAX`](super::export::CHUNK_ROWS_MAX)) with one statement; how many
/// rows the server says it inserted.
pub async fn import(tx: &Tx<'_>, books: Vec<TargetBook>) -> Result<u64, Fault> {
    let models = books.into_iter().map(|TargetBook(model)| model);
    Ok(Entity::insert_many(models).exec_without_returning(tx).await?)
}

/// Removes every book, and from then on grants each statement `limit`; how many there were.
pub async fn delete_all(tx: &Tx<'_>, limit: impl Into<Limit>) -> Result<u64, Fault> {
    tx.execute_then_limit(&format!("DELETE FROM {TABLE}"), limit).await
}
