//! Reads books of the source, in chunks that bound memory.

use std::pin::pin;

use dewey_sync_entity::book;
use futures_util::{Stream, StreamExt};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, IdenStatic, Iterable, QueryFilter, QueryOrder, QuerySelect, Select};
use sqlx::Row;

use super::plan::Range;
use crate::book::{
    Column, CopiedColumns, KEY, Model, OTHER_KEY, Role, SourceBook, TABLE, comparable_type, role,
};
use crate::postgres::fingerprint::{Rows, bucket};
use crate::postgres::{Fault, SourceTx};

/// PostgreSQL takes at most 65,535 parameters a statement and a row of the stage has 22.
pub const CHUNK_ROWS_MAX: u64 = 2_900;

/// Text of a chunk, in bytes. A chunk ends with the book that reaches it.
const CHUNK_BYTES: usize = 8 << 20;

/// Where a chunk ends at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSize {
    rows: u64,
    bytes: usize,
}

impl ChunkSize {
    /// For a batch of `books`.
    pub fn of(books: u64) -> Self {
        Self { rows: Ord::clamp(books, 1, CHUNK_ROWS_MAX), bytes: CHUNK_BYTES }
    }

    /// Half of it, `times` over; whatever bounds the chunks becomes less.
    #[must_use]
    pub fn halved(self, times: u32) -> Self {
        Self { rows: Ord::max(self.rows >> times, 1), bytes: self.bytes >> times }
    }
}

/// Books that are inserted by one statement; never empty.
#[derive(Debug)]
pub struct Chunk(pub Vec<SourceBook>);

/// The books of `range` in order of ids.
pub fn of_range(columns: &CopiedColumns, range: &Range) -> Select<book::Entity> {
    let mut select = all(columns);
    if let Some(after) = range.after {
        select = select.filter(Column::Id.gt(after));
    }
    if let Some(through) = range.through {
        select = select.filter(Column::Id.lte(through));
    }
    select.order_by_asc(Column::Id)
}

/// The books whose keys fall into one of `buckets`.
pub fn of_buckets(columns: &CopiedColumns, rows: Rows<'_>, buckets: &[i32]) -> Select<book::Entity> {
    let bucket = bucket(columns, rows);
    all(columns).filter(Expr::cust(bucket).is_in(buckets.iter().copied()))
}

/// Every column of the entity. One that does not travel is read as a constant, because the source may lack it.
fn all(columns: &CopiedColumns) -> Select<book::Entity> {
    let mut select = book::Entity::find().select_only();
    for column in Column::iter() {
        let travels = matches!(role(column), Role::Id | Role::Owner) || columns.contains(column);
        let expression = match columns.mapped(column) {
            _ if !travels => as_read(column, if comparable_type(column) == "integer" { "0" } else { "''" }),
            Some(_) => as_read(column, &columns.at_source(column)),
            None => {
                select = select.column(column);
                continue;
            }
        };
        select = select.expr_as(Expr::cust(expression), column.as_str());
    }
    select
}

/// As the entity reads it: numbers as they are, everything else as text.
fn as_read(column: Column, expression: &str) -> String {
    let read = if comparable_type(column) == "integer" { "integer" } else { "text" };
    format!("({expression})::{read}")
}

/// The books of `select` in chunks of at most `size`. Rows are read from the wire only as
/// chunks are taken.
pub fn chunks<'tx>(
    source: &'tx SourceTx<'_>,
    select: Select<book::Entity>,
    size: ChunkSize,
) -> impl Stream<Item = Result<Chunk, Fault>> + 'tx {
    async_stream::try_stream! {
        let books = source.books(select).await?;
        let mut books = pin!(books);
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(book) = books.next().await {
            let book = book?;
            bytes += bytes_of(&book);
            chunk.push(SourceBook(book));
            if chunk.len() as u64 >= size.rows || bytes >= size.bytes {
                bytes = 0;
                yield Chunk(std::mem::take(&mut chunk));
            }
        }
        if !chunk.is_empty() {
            yield Chunk(chunk);
        }
    }
}

/// The bytes of the columns that can be long.
fn bytes_of(book: &Model) -> usize {
    let arrays =
        [&book.authors, &book.subjects, &book.edition].map(|text| text.as_ref().map_or(0, String::len));
    let texts =
        [&book.title, &book.title_long, &book.synopsis, &book.image, &book.image_original, &book.publisher];
    arrays.iter().sum::<usize>() + texts.map(String::len).iter().sum::<usize>()
}

/// Source ids of books that have a unique value in common, at most ten groups.
pub async fn duplicates(source: &SourceTx<'_>, columns: &CopiedColumns) -> Result<Vec<Duplicates>, Fault> {
    let groups = |column: Column| {
        format!(
            "SELECT '{name}', string_agg(id::text, ', ' ORDER BY id) FROM {TABLE} \
             GROUP BY {value} HAVING count(*) > 1",
            name = column.as_str(),
            value = columns.at_source(column),
        )
    };
    let query = format!("{} UNION ALL {} LIMIT 10", groups(KEY), groups(OTHER_KEY));
    let rows = source.read(&query).await?;
    let read = |row: &sqlx::postgres::PgRow| Ok(Duplicates { column: row.try_get(0)?, ids: row.try_get(1)? });
    rows.iter().map(read).collect()
}

/// Books of the source that cannot all be in a table with unique keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates {
    /// The column in which they are equal.
    pub column: String,
    /// Their source ids, separated by commas.
    pub ids: String,
}
