//! The `insert` engine: SeaORM's `insert_many`, one statement a chunk.

use std::str::FromStr;

use dewey_sync_entity::ledger::stage;
use sea_orm::sea_query::{Alias, Expr, InsertStatement, IntoIden, Query};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IdenStatic, Iterable, Set};

use super::{Copied, Transfer, inserting};
use crate::book::{ActiveModel, Column, Entity, MadeUp, SourceBook, TargetBook};
use crate::error::Result;
use crate::ledger::checkpoint::Destination;
use crate::postgres::{Fault, Tx};

/// Remaps and inserts `books`, at least one.
pub(super) async fn insert(
    transfer: &Transfer<'_>,
    target: &Tx<'_>,
    books: Vec<SourceBook>,
) -> Result<Copied> {
    let Transfer { remap, run_id, .. } = transfer;
    let exported = books.len() as u64;
    let books: Vec<TargetBook> = books.into_iter().map(|book| remap.apply(book)).collect::<Result<_>>()?;
    let inserted = match transfer.destination {
        Destination::Book => into_books(target, books, remap.columns.made_up()).await,
        Destination::Stage => into_stage(target, *run_id, books).await,
    };
    Ok(Copied { exported, inserted: inserted.map_err(inserting)? })
}

/// Each with what is `made_up` for columns that only the target has; how many rows the server says it inserted.
async fn into_books(tx: &Tx<'_>, books: Vec<TargetBook>, made_up: &[MadeUp]) -> Result<u64, Fault> {
    let models = books.into_iter().map(|book| book.book);
    if made_up.is_empty() {
        return Ok(Entity::insert_many(models).exec_without_returning(tx).await?);
    }
    let insert = with_made_up(models.collect(), made_up)?;
    Ok(tx.execute(&insert).await?.rows_affected())
}

/// The statement that `insert_many` would make, and more columns, which the entity does not know.
fn with_made_up(mut books: Vec<ActiveModel>, made_up: &[MadeUp]) -> Result<InsertStatement, Fault> {
    let is_set = |column: &Column| books.first().is_some_and(|book| !book.get(*column).is_not_set());
    let columns: Vec<Column> = Column::iter().filter(is_set).collect();
    let names = columns.iter().map(|column| column.into_iden());
    let made_up_names = made_up.iter().map(|made_up| Alias::new(&made_up.column).into_iden());
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(names.chain(made_up_names));
    for book in &mut books {
        let value =
            |column: &Column| book.take(*column).into_value().map(|value| column.save_as(Expr::val(value)));
        let values: Option<Vec<_>> = columns.iter().map(value).collect();
        let values = values.ok_or_else(|| Fault::client("a book lacks a column that others have"))?;
        let literals = made_up.iter().map(|made_up| Expr::cust(made_up.literal.clone()));
        insert
            .values(values.into_iter().chain(literals))
            .map_err(|error| Fault::client(error.to_string()))?;
    }
    Ok(insert)
}

async fn into_stage(tx: &Tx<'_>, run_id: i64, books: Vec<TargetBook>) -> Result<u64, Fault> {
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
