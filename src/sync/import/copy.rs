//! The `copy` engine: what the source's binary COPY sends goes into the target's as it is. Rows are counted and cut into
//! statements; no column is decoded.

use std::pin::pin;

use futures_util::{Stream, StreamExt};

use super::{Copied, Transfer, inserting};
use crate::book::{Column, CopiedColumns, MadeUp, OWNER, TABLE, UPDATED_AT, comparable_type, quoted};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::{Fault, SourceTx, identifier, literal};
use crate::sync::export::{Books, ChunkSize};
use crate::sync::remap::unmapped;

/// What a binary COPY begins with, the flags and the empty extension of its header included.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with, in place of a row's number of columns.
const TRAILER: &[u8] = b"\xff\xff";

/// A whole binary COPY.
pub(super) struct Chunk {
    rows: u64,
    bytes: Vec<u8>,
}

/// The statement for the source and the one for the target, with the same columns in the same order.
pub(super) fn statements(transfer: &Transfer<'_, '_>, books: Books<'_>) -> [String; 2] {
    let Transfer { remap, run_id, .. } = transfer;
    let columns = &remap.columns;
    let mut pairs: Vec<(String, String)> = Vec::new();
    let stage = transfer.destination == Destination::Stage;
    let stored = |column: Column| if stage { comparable_type(column) } else { columns.binary_type(column) };
    if stage {
        pairs.push(("run_id".into(), format!("{run_id}::bigint")));
        pairs.push(("source_id".into(), format!("{}::integer", quoted(Column::Id))));
    }
    for column in columns.iter() {
        pairs.push((quoted(column), format!("{}::{}", columns.at_source(column), stored(column))));
    }
    let owner = remap.owners.sql(&columns.at_source(OWNER));
    pairs.push((quoted(OWNER), format!("{owner}::{}", stored(OWNER))));
    if let Some(updated_at) = &remap.updated_at {
        pairs.push((quoted(UPDATED_AT), format!("{}::timestamp", literal(updated_at))));
    }
    if !stage {
        for made_up in columns.made_up() {
            let cast = made_up.binary_type.as_ref().map(|name| format!("::{name}")).unwrap_or_default();
            pairs.push((identifier(&made_up.column), format!("({}){cast}", made_up.literal)));
        }
    }
    let (names, values): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
    let query = books.query(&values.join(", "), columns, &remap.owners);
    let table = if stage { "dewey_sync.stage" } else { TABLE };
    [
        format!("COPY ({query}) TO STDOUT (FORMAT binary)"),
        format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", names.join(", ")),
    ]
}

/// Stops where a column of the book table has a type that the source may not be able to send.
pub(super) fn check(columns: &CopiedColumns) -> Result<()> {
    match columns.made_up().iter().find(|made_up| made_up.binary_type.is_none()) {
        None => Ok(()),
        Some(MadeUp { column, .. }) => Err(Error::new(Kind::Refused, "could not prepare the COPY of books")
            .because(format!("production may not know the type of development's `{column}`"))
            .hint("use `--engine insert`, or `--strategy staged`")),
    }
}

/// What `statement` sends, cut into chunks of at most `size`.
pub(super) fn chunks<'tx>(
    source: &'tx SourceTx<'_>,
    statement: String,
    size: ChunkSize,
) -> impl Stream<Item = Result<Chunk, Fault>> + use<'tx> {
    async_stream::try_stream! {
        let mut messages = pin!(source.copy_out(&statement));
        let mut chunk = Chunk { rows: 0, bytes: HEADER.to_vec() };
        let mut begun = false;
        while let Some(message) = messages.next().await {
            let message = message?;
            // PostgreSQL sends a message a row; the header comes with the first one.
            let row = if begun { message.as_ref() } else { without_header(message.as_ref())? };
            begun = true;
            if row == TRAILER {
                continue;
            }
            chunk.bytes.extend_from_slice(row);
            chunk.rows += 1;
            if chunk.rows >= size.rows || chunk.bytes.len() >= size.bytes {
                let next = Chunk { rows: 0, bytes: HEADER.to_vec() };
                yield std::mem::replace(&mut chunk, next);
            }
        }
        if chunk.rows > 0 {
            yield chunk;
        }
    }
}

fn without_header(message: &[u8]) -> Result<&[u8], Fault> {
    message.strip_prefix(HEADER).ok_or_else(|| Fault::client("the source's COPY did not begin as it should"))
}

/// Sends the whole chunk at once: small messages after one another would wait for each other on the way.
pub(super) async fn copy(transfer: &Transfer<'_, '_>, statement: &str, chunk: Chunk) -> Result<Copied> {
    let Chunk { rows, mut bytes } = chunk;
    bytes.extend_from_slice(TRAILER);
    let inserted = transfer.target.copy_in(statement, &bytes).await;
    let inserted = inserted.map_err(|fault| match fault.sqlstate() {
        // No column that is copied may be NULL without the guards' knowing; the owner is, where nobody is found.
        Some("23502") if !transfer.remap.owners.has_default() => unmapped(None),
        _ => inserting(fault),
    })?;
    Ok(Copied { exported: rows, inserted })
}
