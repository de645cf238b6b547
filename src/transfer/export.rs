//! Reads books of the source, in chunks that bound memory.

use std::pin::pin;

use dewey_sync_entity::book;
use futures_util::{Stream, StreamExt};
use sea_orm::sea_query::Expr;
use sea_orm::{EntityTrait, IdenStatic, Iterable, QueryFilter, QueryOrder, QuerySelect, Select};
use sqlx::Row;

use super::remap::Remap;
use crate::book::{
    Column, CopiedColumns, KEY, OTHER_KEY, OwnerMap, Role, SourceBook, TABLE, UPDATED_AT, comparable_type,
    quoted, role,
};
use crate::plan::Range;
use crate::postgres::fingerprint::{Rows, bucket};
use crate::postgres::{Fault, SizedBook, SourceTx};

/// Values of a chunk, in bytes. While one is written the next one is read, so that a worker holds more than one.
const CHUNK_BYTES: usize = 6 << 20;

/// Where a chunk ends at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSize {
    /// Rows at most.
    pub rows: u64,
    /// Bytes; a chunk ends with the book that reaches them.
    pub bytes: usize,
}

impl ChunkSize {
    /// For a batch of `books`, of which at most `rows_max` go into one statement.
    pub fn of(books: u64, rows_max: u64) -> Self {
        Self { rows: Ord::clamp(books, 1, rows_max), bytes: CHUNK_BYTES }
    }

    /// Half of it, `times` over; whatever bounds the chunks becomes less.
    #[must_use]
    pub fn halved(self, times: u32) -> Self {
        Self { rows: Ord::max(self.rows >> times, 1), bytes: self.bytes >> times }
    }
}

/// Which books of the source.
#[derive(Debug, Clone, Copy)]
pub enum Books<'a> {
    /// Those of a range, in order of ids.
    Range(&'a Range),
    /// Those whose keys fall into one of these buckets.
    Buckets(&'a [i32]),
    /// At most [`SAMPLE_MAX`]: the newest, those that were changed last, and some in between.
    Sample,
}

/// Books of a sample at most.
pub const SAMPLE_MAX: usize = 100;

impl Books<'_> {
    /// As SeaORM reads them.
    fn select(self, columns: &CopiedColumns, owners: &OwnerMap) -> Select<book::Entity> {
        let select = all(columns).filter(Expr::cust(self.condition(columns, owners)));
        match self {
            Self::Range(_) | Self::Sample => select.order_by_asc(Column::Id),
            Self::Buckets(_) => select,
        }
    }

    /// A query for `values`, which are expressions on the source.
    pub fn query(self, values: &str, columns: &CopiedColumns, owners: &OwnerMap) -> String {
        let order = match self {
            Self::Range(_) | Self::Sample => format!(" ORDER BY {TABLE}.{}", quoted(Column::Id)),
            Self::Buckets(_) => String::new(),
        };
        format!("SELECT {values} FROM {TABLE} WHERE {}{order}", self.condition(columns, owners))
    }

    fn condition(self, columns: &CopiedColumns, owners: &OwnerMap) -> String {
        match self {
            Self::Range(range) => range.condition(&quoted(Column::Id)),
            Self::Buckets(buckets) => {
                let list: Vec<String> = buckets.iter().map(i32::to_string).collect();
                format!("{} IN ({})", bucket(columns, Rows::OfSource(owners)), list.join(", "))
            }
            Self::Sample => format!("{} IN ({})", quoted(Column::Id), sample_ids(columns)),
        }
    }
}

/// A query for the ids of [`Books::Sample`].
fn sample_ids(columns: &CopiedColumns) -> String {
    let id = quoted(Column::Id);
    let changed = columns.contains(UPDATED_AT).then(|| {
        format!("UNION (SELECT {id} FROM {TABLE} ORDER BY {} DESC LIMIT 40)", columns.at_source(UPDATED_AT))
    });
    format!(
        "(SELECT {id} FROM {TABLE} ORDER BY {id} DESC LIMIT 40) {} UNION (SELECT (SELECT min({id}) FROM {TABLE} WHERE {id} >= place)
  FROM (SELECT generate_series(min({id})::bigint, max({id}), greatest((max({id})::bigint - min({id})) / 19, 1)) AS place
    FROM {TABLE}) places)",
        changed.unwrap_or_default()
    )
}

/// The books of [`Books::Sample`]; fewer where they are long.
pub async fn sample(
    source: &SourceTx<'_>,
    Remap { columns, owners, .. }: &Remap,
) -> Result<Vec<SourceBook>, Fault> {
    let books = source.books(Books::Sample.select(columns, owners)).await?;
    let mut books = pin!(books);
    let mut sample = Vec::new();
    let mut bytes = 0;
    while let Some(book) = books.next().await {
        let SizedBook { book, bytes: more } = book?;
        if sample.len() < SAMPLE_MAX && (sample.is_empty() || bytes + more < CHUNK_BYTES) {
            bytes += more;
            sample.push(SourceBook(book));
        }
    }
    Ok(sample)
}

/// Every column of the entity. One that does not travel is read as a constant, because the source may lack it.
fn all(columns: &CopiedColumns) -> Select<book::Entity> {
    let mut select = book::Entity::find().select_only();
    for column in Column::iter() {
        let travels = matches!(role(column), Role::Id | Role::Owner) || columns.contains(column);
        let expression = match columns.mapped(column) {
            _ if !travels => as_read(column, if comparable_type(column) == "integer" { "0" } else { "''" }),
            Some(_) => as_read(column, &columns.at_source(column)),
            // The entity reads no smaller or larger integer as it is.
            None if comparable_type(column) == "integer" => as_read(column, &quoted(column)),
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

/// The books in chunks of at most `size`. Rows are read from the wire only as chunks are taken.
pub fn chunks<'tx>(
    source: &'tx SourceTx<'_>,
    books: Books<'_>,
    Remap { columns, owners, .. }: &Remap,
    size: ChunkSize,
) -> impl Stream<Item = Result<Vec<SourceBook>, Fault>> + use<'tx> {
    let select = books.select(columns, owners);
    async_stream::try_stream! {
        let books = source.books(select).await?;
        let mut books = pin!(books);
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(book) = books.next().await {
            let SizedBook { book, bytes: more } = book?;
            bytes += more;
            chunk.push(SourceBook(book));
            if chunk.len() as u64 >= size.rows || bytes >= size.bytes {
                bytes = 0;
                yield std::mem::take(&mut chunk);
            }
        }
        if !chunk.is_empty() {
            yield chunk;
        }
    }
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
