//! The text of INSERT statements, kept from chunk to chunk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sea_orm::sea_query::InsertStatement;
use sea_orm::{ActiveModelTrait, DbBackend, EntityTrait, Iterable, Statement, Value, Values};

use crate::error::Result;
use crate::postgres::Fault;

pub(super) type ColumnOf<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Column;

/// The text of the last statement. Building it anew for each chunk, most of which have as many rows, would take longer
/// than everything else that the client does.
#[derive(Debug, Default)]
pub struct StatementCache(Mutex<Option<(usize, Arc<str>)>>);

impl StatementCache {
    /// The statement that inserts `rows`, built by `build` if the last one had another number of rows.
    pub(crate) fn statement<A: ActiveModelTrait>(
        &self,
        mut rows: Vec<A>,
        build: impl FnOnce(Vec<A>) -> Result<InsertStatement, Fault>,
    ) -> Result<Statement, Fault> {
        let count = rows.len();
        let known = self.last().as_ref().filter(|(rows, _)| *rows == count).map(|(_, sql)| Arc::clone(sql));
        let Some(sql) = known else {
            let statement = DbBackend::Postgres.build(&build(rows)?);
            *self.last() = Some((count, statement.sql.as_str().into()));
            return Ok(statement);
        };
        let columns = set_columns(&rows);
        let values = rows.iter_mut().flat_map(|row| values(row, &columns)).collect();
        Ok(Statement {
            sql: (*sql).to_owned(),
            values: Some(Values(values)),
            db_backend: DbBackend::Postgres,
        })
    }

    pub(crate) fn last(&self) -> MutexGuard<'_, Option<(usize, Arc<str>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The columns that an insert of `rows` names, which all of them have set.
pub(crate) fn set_columns<A: ActiveModelTrait>(rows: &[A]) -> Vec<ColumnOf<A>> {
    let is_set = |column: &ColumnOf<A>| rows.first().is_some_and(|row| !row.get(*column).is_not_set());
    ColumnOf::<A>::iter().filter(is_set).collect()
}

pub(crate) fn values<A: ActiveModelTrait>(row: &mut A, columns: &[ColumnOf<A>]) -> Vec<Value> {
    columns.iter().filter_map(|column| row.take(*column).into_value()).collect()
}
