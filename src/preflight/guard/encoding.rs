//! Guard: a source that checks no encoding holds only text that is UTF-8, or the rows that do not are named.
//!
//! In a database with the encoding `SQL_ASCII` the server takes and gives bytes as they come. Every other encoding is
//! converted by the servers.

use sqlx::Row;

use crate::book::{Column, CopiedColumns, TABLE, comparable_type, quoted};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, SourceTx};
use crate::preflight::catalog::Facts;

/// How many ids an error lists.
const IDS_SHOWN: usize = 10;

/// UTF-8 in hexadecimal digits, as RFC 3629 has it.
const UTF8: &str = "^([0-7].|(c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|(e[1-9abcef])([89ab].){2}|ed[89].[89ab].\
    |f0[9ab].([89ab].){2}|f[123]([89ab].){3}|f48.([89ab].){2})*$";

/// # Errors
/// [`Kind::Refused`] with the ids of books that hold other bytes.
pub async fn check(source: &SourceTx<'_>, facts: &Facts, columns: &CopiedColumns) -> Result<()> {
    if facts.encoding != "SQL_ASCII" {
        return Ok(());
    }
    let rows = source.read(&query(columns)).await;
    let rows = rows.map_err(|fault| fault.error("could not look for text that is not UTF-8"))?;
    let ids: Result<Vec<i32>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
    let ids = ids.map_err(|error| Fault::from(&error).error("could not look for text that is not UTF-8"))?;
    if ids.is_empty() {
        return Ok(());
    }
    let more = if ids.len() > IDS_SHOWN { ", and others" } else { "" };
    let shown: Vec<String> = ids.iter().take(IDS_SHOWN).map(i32::to_string).collect();
    Err(Error::new(Kind::Refused, "could not read the source's text as UTF-8")
        .because(format!(
            "the encoding of its database is `SQL_ASCII`, and books with these ids hold other bytes: {}{more}",
            shown.join(", ")
        ))
        .hint(
            "correct those books; or, where they are in Latin-1 for instance, add under `[values]` in `dewey-sync.toml`: \
             `title = { sql = \"convert_from(convert(convert_to(title, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'UTF8')\" }`",
        ))
}

fn query(columns: &CopiedColumns) -> String {
    let text = columns.iter().filter(|column| matches!(comparable_type(*column), "text" | "text[]"));
    let wrong: Vec<String> = text
        .map(|column| {
            format!("encode(convert_to({}::text, 'SQL_ASCII'), 'hex') !~ '{UTF8}'", columns.at_source(column))
        })
        .collect();
    let id = quoted(Column::Id);
    format!("SELECT {id} FROM {TABLE} WHERE {} ORDER BY {id} LIMIT {IDS_SHOWN} + 1", wrong.join(" OR "))
}
