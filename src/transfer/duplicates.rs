//! Books that cannot be in the target together.

use super::export;
use super::import::is_duplicate_key;
use crate::book::{Column, CopiedColumns, KEY, OTHER_KEY, TABLE, quoted};
use crate::error::{Error, Kind, Result};
use crate::postgres::query::Query;
use crate::postgres::{SourceTx, literal};

/// The ids of books that cannot all be in the target, when that is why a batch failed.
pub(crate) async fn explain_duplicates(
    mut error: Error,
    source: &SourceTx<'_>,
    columns: &CopiedColumns,
) -> Error {
    if !is_duplicate_key(&error) {
        return error;
    }
    if let Ok(groups) = export::duplicates(source, columns).await
        && !groups.is_empty()
    {
        let groups: Vec<String> =
            groups.iter().map(|group| format!("{} ({})", group.ids, group.column)).collect();
        error.hint = Some(format!("these source books have a unique value in common: {}", groups.join("; ")));
    }
    error
}

/// What keeps books of the stage from being in a table with unique keys together: at most ten groups of source ids. Few keys
/// come twice, so that only theirs are sorted.
pub(crate) fn duplicates(run_id: i64) -> Query<'static, Vec<String>> {
    let groups = |column: Column, forbidden: &str| {
        format!(
            "SELECT string_agg(source_id::text, ', ' ORDER BY source_id) || ' ({name})' FROM dewey_sync.stage
   WHERE run_id = {run_id} AND {forbidden} AND {column} IN (SELECT {column} FROM dewey_sync.stage WHERE run_id = {run_id}
     GROUP BY {column} HAVING count(*) > 1) GROUP BY {column}",
            name = sea_orm::IdenStatic::as_str(&column),
            column = quoted(column),
        )
    };
    Query::json(format!(
        "SELECT coalesce(json_agg(ids), '[]')::text FROM ({}
  UNION ALL {} LIMIT 10) AS equal (ids)",
        groups(KEY, "true"),
        groups(OTHER_KEY, &is_unique_now(OTHER_KEY))
    ))
}

/// Stops when [`duplicates`] found some.
///
/// # Errors
/// [`Kind::NotCompleted`]; the hint names the books.
pub(crate) fn refuse_duplicates(groups: &[String]) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::NotCompleted, "could not apply the staged books")
        .because("a value that is unique in the target comes more than once")
        .hint(format!("these source books have a unique value in common: {}", groups.join("; "))))
}

/// The condition that the book table forbids equal values of `column`; where nothing does, as in a table that is partitioned by
/// another column, they are copied as production has them.
pub(crate) fn is_unique_now(column: Column) -> String {
    format!(
        "EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
         WHERE indrelid = to_regclass({}) AND attname = {} AND indnkeyatts = 1 AND indisunique AND indisvalid AND indpred IS NULL)",
        literal(TABLE),
        literal(sea_orm::IdenStatic::as_str(&column)),
    )
}
