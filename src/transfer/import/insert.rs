//! The `insert` engine: SeaORM's `insert_many`, one statement a chunk.

use std::str::FromStr;

use dewey_sync_entity::ledger::stage;
use sea_orm::sea_query::{Alias, Expr, InsertStatement, IntoIden, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IdenStatic, Iterable, QueryTrait,
    Set, Statement,
};

use super::statement::set_columns;
use super::transfer::{Copied, Transfer, inserting};
use crate::book::{ActiveModel, Column, Constant, Entity, SourceBook, TargetBook};
use crate::error::Result;
use crate::ledger::checkpoint::Destination;
use crate::postgres::{Fault, Tx};

/// Remaps and inserts `books`, at least one.
pub(crate) async fn insert(
    transfer: &Transfer<'_>,
    target: &Tx<'_>,
    books: Vec<SourceBook>,
) -> Result<Copied> {
    let Transfer { remap, run_id, statements, .. } = transfer;
    let exported = books.len() as u64;
    let books = books.into_iter().map(|book| remap.apply(book));
    let statement = match transfer.destination {
        Destination::Book => {
            let constants = remap.columns.constants();
            let rows = books.map(|book| Ok(book?.book)).collect::<Result<_>>()?;
            statements.statement(rows, |rows| match constants {
                [] => Ok(Entity::insert_many(rows).into_query()),
                constants => with_made_up(rows, constants),
            })
        }
        Destination::Stage => {
            let staged = staged_columns();
            let rows = books.map(|book| Ok(into_stage(*run_id, book?, &staged))).collect::<Result<_>>()?;
            statements.statement(rows, |rows| Ok(stage::Entity::insert_many(rows).into_query()))
        }
    };
    let statement = statement.map_err(inserting)?;
    let inserted = if transfer.is_single {
        target.execute_simple(&text_of(&statement)).await.map_err(inserting)?
    } else {
        let done = target.execute_raw(statement).await;
        done.map_err(|error| inserting(error.into()))?.rows_affected()
    };
    Ok(Copied { exported, inserted })
}

/// A statement that stages `books`, with their values in its text.
pub fn staging_text(run_id: i64, books: Vec<TargetBook>) -> String {
    let staged = staged_columns();
    let rows = books.into_iter().map(|book| into_stage(run_id, book, &staged));
    text_of(&DbBackend::Postgres.build(&stage::Entity::insert_many(rows).into_query()))
}

/// The statement with its values in the text, as literals that mean the same whatever the session is set to. Backslashes are
/// only in those that begin with `E'`, but there an apostrophe is `\'`, which depends on `backslash_quote`.
fn text_of(statement: &Statement) -> String {
    let text = statement.to_string();
    let mut same = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        same.push(character);
        if character == '\\' {
            match characters.next() {
                Some('\'') => same.push_str("047"),
                escaped => same.extend(escaped),
            }
        }
    }
    same
}

/// The statement that `insert_many` would make, and more columns, which the entity does not know.
fn with_made_up(mut books: Vec<ActiveModel>, constants: &[Constant]) -> Result<InsertStatement, Fault> {
    let columns = set_columns(&books);
    let names = columns.iter().map(|column| column.into_iden());
    let made_up_names = constants.iter().map(|constants| Alias::new(&constants.column).into_iden());
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(names.chain(made_up_names));
    for book in &mut books {
        let value =
            |column: &Column| book.take(*column).into_value().map(|value| column.save_as(Expr::val(value)));
        let values: Option<Vec<_>> = columns.iter().map(value).collect();
        let values = values.ok_or_else(|| Fault::client("a book lacks a column that others have"))?;
        let literals = constants.iter().map(|constants| Expr::cust(constants.literal.clone()));
        insert
            .values(values.into_iter().chain(literals))
            .map_err(|error| Fault::client(error.to_string()))?;
    }
    Ok(insert)
}

/// The book's columns with those of the stage.
fn staged_columns() -> Vec<(Column, stage::Column)> {
    Column::iter()
        .filter_map(|column| Some((column, stage::Column::from_str(column.as_str()).ok()?)))
        .collect()
}

fn into_stage(
    run_id: i64,
    TargetBook { source_id, mut book }: TargetBook,
    columns: &[(Column, stage::Column)],
) -> stage::ActiveModel {
    let mut row = stage::ActiveModel { run_id: Set(run_id), source_id: Set(source_id), ..Default::default() };
    for (column, staged) in columns {
        if let Some(value) = book.take(*column).into_value() {
            row.set(*staged, value);
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::super::statement::StatementCache;
    use super::*;
    use crate::book::{Role, role};

    fn rows(titles: [&str; 2]) -> Vec<stage::ActiveModel> {
        let row = |title: &str| stage::ActiveModel {
            title: Set(title.into()),
            run_id: Set(7),
            edition: Set(None),
            ..Default::default()
        };
        titles.map(row).into()
    }

    #[test]
    fn the_stage_has_a_column_for_each_one_that_travels() {
        let is_staged = |column: &Column| {
            let name = column.as_str();
            stage::Column::from_str(name).is_ok_and(|staged| staged.as_str() == name)
        };
        let lacking = Column::iter().filter(|column| role(*column) != Role::Id && !is_staged(column));
        assert_eq!(lacking.map(|column| column.as_str()).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn no_literal_of_a_text_depends_on_a_setting() {
        let [mut row, _] = <[_; 2]>::try_from(rows(["it's \\' \n\\", ""])).unwrap();
        row.isbn10 = Set("'".into());
        let text = text_of(&DbBackend::Postgres.build(&stage::Entity::insert_many([row]).into_query()));
        assert!(text.contains(r"E'it\047s \\\047 \n\\'"), "{text}");
        assert!(text.contains(r"E'\047'"), "{text}");
    }

    #[test]
    fn a_text_that_is_used_again_is_what_insert_many_would_build() {
        let statements = StatementCache::default();
        let built = |rows| Ok(stage::Entity::insert_many(rows).into_query());
        for titles in [["a", "b"], ["c", "d"], ["e", "f"]] {
            let expected = DbBackend::Postgres.build(&built(rows(titles)).unwrap());
            assert_eq!(statements.statement(rows(titles), built).unwrap(), expected);
        }
        let one = rows(["g", "h"]).split_off(1);
        let expected = DbBackend::Postgres.build(&built(one.clone()).unwrap());
        assert_eq!(statements.statement(one, built).unwrap(), expected);
    }
}
