//! Guard: `"Book"` is a table that can be copied exactly. The name alone says nothing: PostgreSQL gives views, foreign tables
//! and parts of other tables the same names, and reads and writes most of them without a word.
//!
//! | kind | of the source | of the target |
//! |---|---|---|
//! | ordinary table, also `UNLOGGED` | read | written |
//! | partitioned table | read | written, if `isbn13` is unique, which only partitions by it can have |
//! | view | read, if each `id` and `isbn13` is there once | refused: keys and triggers are those of another table |
//! | a table that others inherit from | read with their rows, as a view is | refused: those rows would lose columns |
//! | a table that inherits, or a partition | read: what is in it | refused: its rows are another table's as well |
//! | materialized view | refused: rows of its last refresh | refused |
//! | foreign table, or a table with a part that is one | refused: rows of no snapshot | refused: rows of another server |
//! | temporary table | refused: rows of one session | refused |
//!
//! Which table it is, is decided by its oid; see [`same_table`](crate::postgres). What makes two rows the same book is `id`
//! in the source and `isbn13` in the target: where no key says that there is one of each, they are counted.

use sea_orm::IdenStatic;

use crate::book::{Column, CopiedColumns, KEY, TABLE, quoted};
use crate::config::{Endpoint, Side};
use crate::error::{Error, Kind, Result};
use crate::postgres::query::Query;
use crate::postgres::{Fault, SourceTx, identifier};
use crate::preflight::catalog::Facts;
use crate::preflight::catalog::table::BookTable;

/// # Errors
/// [`Kind::Refused`] with the kind and what to do about it.
pub fn check(endpoint: &Endpoint, facts: &Facts) -> Result<()> {
    let Some(table) = &facts.table else { return Ok(()) };
    let Some((cause, hint)) = refusal(endpoint, facts, table) else { return Ok(()) };
    let doing = match endpoint.side {
        Side::Source => format!("could not read the books of the source, {endpoint}"),
        Side::Target => format!("could not write books to the target, {endpoint}"),
    };
    Err(Error::new(Kind::Refused, doing).because(cause).hint(hint))
}

/// Why it cannot be copied, and what to do; none where it can be.
fn refusal(endpoint: &Endpoint, facts: &Facts, table: &BookTable) -> Option<(String, String)> {
    let schema = format!("let `schema=` in {} name the schema of the table itself", endpoint.origin.quoted());
    let book = format!("{}.{TABLE}", identifier(&endpoint.schema));
    let refused = |cause: String, hint: String| Some((format!("its `{TABLE}` {cause}"), hint));
    let first = |names: &Option<Vec<String>>| names.as_ref().and_then(|names| names.first().cloned());
    let is_target = endpoint.side == Side::Target;
    if table.persistence == 't' {
        return refused("is a temporary table, which only one session has".into(), schema);
    }
    if let Some(part) = first(&table.foreign_parts) {
        let cause = format!("has the part `{part}`, which is a foreign table, whose rows another server has");
        let hint = match table.kind {
            'p' => format!("run `ALTER TABLE {book} DETACH PARTITION {part}`"),
            _ => format!("run `ALTER FOREIGN TABLE {part} NO INHERIT {book}`"),
        };
        return refused(cause, hint);
    }
    match table.kind {
        'v' if is_target => refused(
            "is a view; foreign keys and triggers are those of the table behind it".into(),
            format!("{schema}, or give the table its name back"),
        ),
        'm' => refused(
            "is a materialized view, which holds the rows of its last refresh".into(),
            match endpoint.side {
                Side::Source => {
                    format!("make a plain view `{TABLE}` in a schema of its own, and name it with `schema=`")
                }
                Side::Target => schema,
            },
        ),
        'f' => refused(
            "is a foreign table, whose rows another server has".into(),
            format!("name that server in {}", endpoint.origin.quoted()),
        ),
        'r' | 'p' if is_target && table.is_partition => refused(
            format!("is a partition of `{}`", first(&table.parents).unwrap_or_default()),
            format!("give the name `{TABLE}` to the partitioned table"),
        ),
        'p' if is_target && !is_unique(facts, KEY) => {
            let key = KEY.as_str();
            let index = unique_index(&endpoint.schema);
            refused(
                format!(
                    "is a partitioned table without a unique key on `{key}`, by which books are told apart"
                ),
                format!("partition it by `{key}` at every level, and run `{index}`"),
            )
        }
        'p' => None,
        kind if !matches!(kind, 'r' | 'v') => refused("is no table".into(), schema),
        _ if is_target => {
            let (cause, hint) = inheritance(&book, first(&table.parents), first(&table.children))?;
            refused(cause, hint)
        }
        _ => None,
    }
}

/// Why a table that inherits or is inherited cannot be written.
fn inheritance(book: &str, parent: Option<String>, child: Option<String>) -> Option<(String, String)> {
    if let Some(parent) = parent {
        let cause = format!("inherits from `{parent}`, which has its rows as well");
        return Some((cause, format!("run `ALTER TABLE {book} NO INHERIT {parent}`")));
    }
    let child = child?;
    let cause =
        format!("has the child `{child}`, whose rows are books with more columns, which would be lost");
    Some((cause, format!("run `ALTER TABLE {child} NO INHERIT {book}`")))
}

/// What should be said of the target's table, though it can be written.
pub fn notice(target: &Facts) -> Option<String> {
    let unlogged = target.table.as_ref().is_some_and(|table| table.persistence == 'u');
    unlogged.then(|| format!("development's `{TABLE}` is UNLOGGED: a crash of its server empties it"))
}

/// For a target into which books go by their `isbn13`.
///
/// # Errors
/// [`Kind::Refused`] with the index to create, and when the target has an `id` more than once.
pub fn check_keys(endpoint: &Endpoint, facts: &Facts, repeated_ids: u64) -> Result<()> {
    let refused = || Error::new(Kind::Refused, format!("could not write books to the target, {endpoint}"));
    if !is_unique(facts, KEY) {
        return Err(refused()
            .because(format!(
                "its `{TABLE}` has no unique key on `{}`, by which books are told apart",
                KEY.as_str()
            ))
            .hint(format!("run `{}`", unique_index(&endpoint.schema))));
    }
    if repeated_ids > 0 {
        return Err(refused()
            .because(format!(
                "its `{TABLE}` has no unique key on `id`, and {repeated_ids} ids more than once"
            ))
            .hint("give those books ids of their own"));
    }
    Ok(())
}

/// A scalar expression for how many ids come more than once, or are NULL; 0 where a key forbids that.
pub(crate) fn repeated_ids(facts: &Facts) -> String {
    if is_unique(facts, Column::Id) {
        return "0".into();
    }
    format!(
        "(SELECT count(*) FROM (SELECT FROM {TABLE} GROUP BY id HAVING count(*) > 1 OR id IS NULL) repeated)"
    )
}

/// Looks for books that a view or a table without keys has more than once: a range of ids would miss or repeat them.
///
/// # Errors
/// [`Kind::Refused`] with some of them.
pub async fn check_source(source: &SourceTx<'_>, facts: &Facts, columns: &CopiedColumns) -> Result<()> {
    let table = facts.table.as_ref();
    let is_view = table.is_some_and(|table| table.kind == 'v' || table.children.is_some());
    let never_null = facts.column(Column::Id.as_str()).is_some_and(|id| id.not_null);
    if !is_view && never_null && is_unique(facts, Column::Id) {
        return Ok(());
    }
    let looking = |fault: Fault| fault.error("could not look for books that are there more than once");
    let key = columns.at_source(KEY);
    let keys = if is_view {
        format!(
            "(SELECT json_agg(ids) FROM (SELECT string_agg(id::text, ', ' ORDER BY id) FROM {TABLE} GROUP BY {key} \
             HAVING count(*) > 1 ORDER BY min(id) LIMIT {SHOWN}) keys (ids))"
        )
    } else {
        "NULL".into()
    };
    let sql = format!(
        "SELECT json_build_array((SELECT count(*) FROM {TABLE} WHERE id IS NULL), (SELECT json_agg(id) FROM (SELECT id \
         FROM {TABLE} WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT {SHOWN}) ids), {keys})::text"
    );
    let found: (u64, Option<Vec<i64>>, Option<Vec<String>>) =
        source.read(Query::json(sql)).await.map_err(looking)?;
    let cause = match found {
        (0, None, None) => return Ok(()),
        (nulls @ 1.., _, _) => format!("{nulls} of its books have no `id`"),
        (_, Some(ids), _) => {
            let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
            format!("books with these ids are there more than once: {}", ids.join(", "))
        }
        (_, _, Some(groups)) => {
            format!("books with these ids have an `{}` in common: {}", KEY.as_str(), groups.join("; "))
        }
    };
    let (what, hint) = match table {
        Some(table) if table.kind == 'v' => (
            "is a view",
            format!("let the view have every book once, for instance by `DISTINCT ON ({})`", quoted(KEY)),
        ),
        _ if is_view => (
            "has children with keys of their own",
            "give those books other values, on either side of the inheritance".into(),
        ),
        _ => (
            "has no unique key on `id`",
            "give those books ids of their own, and the table a primary key".into(),
        ),
    };
    Err(Error::new(Kind::Refused, "could not read every book of the source once")
        .because(format!("its `{TABLE}` {what}, and {cause}"))
        .hint(hint))
}

/// How many books or groups of them an error lists.
const SHOWN: usize = 10;

/// Whether a key of the book table forbids equal values of `column`. Children of a table have keys of their own.
fn is_unique(facts: &Facts, column: Column) -> bool {
    facts.unique_keys.iter().flatten().any(|key| key[..] == [column.as_str()])
}

/// The statement that the application's own schema has it by.
fn unique_index(schema: &str) -> String {
    let key = KEY.as_str();
    let name = identifier(&format!("{}_{key}_key", TABLE.trim_matches('"')));
    format!("CREATE UNIQUE INDEX {name} ON {}.{TABLE} ({})", identifier(schema), quoted(KEY))
}
