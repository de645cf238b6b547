//! Answers that are JSON text.

use serde::Deserialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Fault;

/// Reads the JSON text in the only column of the only row.
pub(crate) fn from_json<T: for<'de> Deserialize<'de>>(rows: &[PgRow]) -> Result<T, Fault> {
    let row = rows.first().ok_or_else(|| Fault::client("a question about the database was not answered"))?;
    let text: String = row.try_get(0)?;
    serde_json::from_str(&text).map_err(|error| Fault::unreadable(&error))
}

/// Reads the JSON text in the column `name`, which one row of a query of several statements has.
pub(crate) fn named_json<T: for<'de> Deserialize<'de>>(rows: &[PgRow], name: &str) -> Result<T, Fault> {
    let text = rows.iter().find_map(|row| row.try_get::<String, _>(name).ok());
    let text = text.ok_or_else(|| Fault::client("a question about the stage was not answered"))?;
    serde_json::from_str(&text).map_err(|error| Fault::unreadable(&error))
}
