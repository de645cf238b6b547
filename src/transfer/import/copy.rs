//! The `copy` engine: what the source's binary COPY sends goes into the target's as it is. Rows are counted and cut into
//! statements; no column is decoded.

use std::pin::pin;

use futures_util::{Stream, StreamExt};
use sea_orm::IdenStatic;

use super::binary::{Binary, HEADER, TRAILER};
use super::transfer::{Copied, Transfer, inserting};
use crate::book::{Column, Constant, CopiedColumns, OWNER, TABLE, UPDATED_AT, comparable_type, quoted};
use crate::error::{Error, Kind, Result};
use crate::ledger::checkpoint::Destination;
use crate::postgres::{Fault, SourceTx, Tx, identifier, literal};
use crate::transfer::export::{Books, ChunkSize};
use crate::transfer::remap::{Remap, unmapped};

/// The statement for the source.
pub(crate) fn out_of_source(transfer: &Transfer<'_>, books: Books<'_>) -> String {
    let values: Vec<String> = columns(transfer).into_iter().map(|(_, value)| value).collect();
    let Remap { columns, owners, .. } = transfer.remap;
    format!("COPY ({}) TO STDOUT (FORMAT binary)", books.query(&values.join(", "), columns, owners))
}

/// The statement for the target.
fn into_target(transfer: &Transfer<'_>) -> String {
    let names: Vec<String> = columns(transfer).into_iter().map(|(name, _)| name).collect();
    let table = match transfer.destination {
        Destination::Stage => "dewey_sync.stage",
        Destination::Book => TABLE,
    };
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", names.join(", "))
}

/// The target's columns, each with its value as an expression on the source that has the column's binary format.
fn columns(Transfer { remap, destination, run_id, .. }: &Transfer<'_>) -> Vec<(String, String)> {
    let Remap { columns, owners, updated_at } = remap;
    let stored = |column| match destination {
        Destination::Stage => comparable_type(column),
        Destination::Book => columns.binary_type(column),
    };
    let cast = |column: Column, value: String| (quoted(column), format!("{value}::{}", stored(column)));
    let mut pairs = Vec::new();
    if *destination == Destination::Stage {
        pairs.push(("run_id".into(), format!("{run_id}::bigint")));
        pairs.push(("source_id".into(), format!("{}::integer", quoted(Column::Id))));
    }
    pairs.extend(columns.iter().map(|column| cast(column, columns.at_source(column))));
    pairs.push(cast(OWNER, owners.sql(&columns.at_source(OWNER))));
    pairs.extend(updated_at.as_ref().map(|updated_at| cast(UPDATED_AT, literal(updated_at))));
    if *destination == Destination::Book {
        pairs.extend(columns.constants().iter().map(|Constant { column, literal, binary_type }| {
            let cast = binary_type.as_ref().map(|name| format!("::{name}")).unwrap_or_default();
            (identifier(column), format!("({literal}){cast}"))
        }));
    }
    pairs
}

/// Stops where a column of the book table has a type that the source may not be able to send.
pub(crate) fn check(columns: &CopiedColumns) -> Result<()> {
    match columns.constants().iter().find(|constants| constants.binary_type.is_none()) {
        None => Ok(()),
        Some(Constant { column, .. }) => {
            Err(Error::new(Kind::Refused, "could not prepare the COPY of books")
                .because(format!("production may not know the type of development's `{column}`"))
                .hint("use `--engine insert`, or `--strategy staged`"))
        }
    }
}

/// What `statement` sends, cut into chunks of at most `size`.
pub(crate) fn chunks<'tx>(
    source: &'tx SourceTx<'_>,
    statement: String,
    size: ChunkSize,
) -> impl Stream<Item = Result<Binary, Fault>> + use<'tx> {
    async_stream::try_stream! {
        let mut messages = pin!(source.copy_out(&statement));
        let mut chunk = Binary::new();
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
                yield std::mem::replace(&mut chunk, Binary::new());
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
pub(crate) async fn copy(transfer: &Transfer<'_>, target: &Tx<'_>, chunk: Binary) -> Result<Copied> {
    let Binary { rows, mut bytes } = chunk;
    bytes.extend_from_slice(TRAILER);
    let inserted = target.copy_in(&into_target(transfer), &bytes).await;
    let inserted = inserted.map_err(|fault| match fault.sqlstate() {
        // The owner is NULL where the source found nobody.
        Some("23502") if fault.to_string().contains(OWNER.as_str()) => unmapped(None),
        _ => inserting(fault),
    })?;
    Ok(Copied { exported: rows, inserted })
}
