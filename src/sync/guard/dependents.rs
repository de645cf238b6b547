//! Guard: rows of other tables that hang on books, followed through the foreign keys.
//!
//! What a deletion of every book would take along is counted per table and asked about; what would block it stops the
//! run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// A foreign key of the target. Names are quoted identifiers, tables with their schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForeignKey {
    /// Whose rows refer.
    pub table: String,
    /// With which columns.
    pub columns: Vec<String>,
    /// To which table.
    pub references: String,
    /// Whether that is the book table.
    pub references_book: bool,
    /// To which columns of it.
    pub referenced_columns: Vec<String>,
    /// `c` cascade, `n` set null, `d` set default, `r` restrict, `a` no action.
    pub on_delete: char,
}

/// What happens to the rows of a dependent table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// They are removed.
    Removed,
    /// They lose their reference.
    Detached,
    /// They keep the books from being removed.
    Blocking,
}

/// Rows of one table that the deletion of every book would reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependents {
    /// The table, as a quoted identifier with its schema.
    pub table: String,
    /// What happens to the rows.
    pub fate: Fate,
    /// How many.
    pub rows: u64,
}

/// A query for a JSON array of [`Dependents`], or `None` when nothing refers to the book table.
pub fn query(foreign_keys: &[ForeignKey]) -> Option<String> {
    let root = foreign_keys.iter().find(|key| key.references_book)?.references.clone();
    let mut reached = BTreeMap::new();
    follow(foreign_keys, &root, None, &mut vec![root.clone()], &mut reached);
    let counts: Vec<String> = reached
        .into_iter()
        .map(|((table, fate), conditions)| {
            let name = crate::postgres::literal(&table);
            let fate = match fate {
                Fate::Removed => "removed",
                Fate::Detached => "detached",
                Fate::Blocking => "blocking",
            };
            let condition = conditions.join(" OR ");
            format!(
                "json_build_object('table', {name}, 'fate', '{fate}', \
                 'rows', (SELECT count(*) FROM {table} WHERE {condition}))"
            )
        })
        .collect();
    Some(format!("json_build_array({})", counts.join(", ")))
}

/// Adds what refers to `table`, whose doomed rows are those that meet `doomed` (all of them when `None`). A table that
/// is already on the way is not followed again, so that circles end.
fn follow(
    foreign_keys: &[ForeignKey],
    table: &str,
    doomed: Option<&str>,
    way: &mut Vec<String>,
    reached: &mut BTreeMap<(String, Fate), Vec<String>>,
) {
    for key in foreign_keys.iter().filter(|key| key.references == table) {
        if way.contains(&key.table) {
            continue;
        }
        let columns = key.columns.join(", ");
        let not_null = key.columns.iter().map(|column| format!("{column} IS NOT NULL"));
        let condition = match doomed {
            None => format!("({})", not_null.collect::<Vec<_>>().join(" AND ")),
            Some(doomed) => format!(
                "(({columns}) IN (SELECT {} FROM {table} WHERE {doomed}))",
                key.referenced_columns.join(", ")
            ),
        };
        let fate = match key.on_delete {
            'c' => Fate::Removed,
            'n' | 'd' => Fate::Detached,
            _ => Fate::Blocking,
        };
        reached.entry((key.table.clone(), fate)).or_default().push(condition.clone());
        if fate == Fate::Removed {
            way.push(key.table.clone());
            follow(foreign_keys, &key.table, Some(&condition), way, reached);
            way.pop();
        }
    }
}

/// Stops when rows would block the deletion, and when rows would be lost that `--yes` alone does not agree to.
///
/// # Errors
/// [`Kind::Refused`].
pub fn check(dependents: &[Dependents], agreed: Agreement) -> Result<()> {
    if let Some(blocking) = dependents.iter().find(|found| found.fate == Fate::Blocking && found.rows > 0) {
        let table = &blocking.table;
        return Err(Error::new(Kind::Refused, "could not plan the removal of the old books")
            .because(format!("{} forbid the removal of the books that they refer to", describe(blocking)))
            .hint(format!("remove those rows of `{table}`, or give its foreign key an ON DELETE action")));
    }
    let lost: Vec<String> = losses(dependents).map(describe).collect();
    match agreed {
        Agreement::Unasked if !lost.is_empty() => {
            Err(Error::new(Kind::Refused, "could not agree to the loss of what hangs on the old books")
                .because(format!("the books would take along {}", lost.join(", ")))
                .hint("add `--allow-cascade`, or leave `--yes` out and answer the question"))
        }
        _ => Ok(()),
    }
}

/// How the user agrees to losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// By the question that comes.
    ByQuestion,
    /// By `--allow-cascade`.
    ByFlag,
    /// Not at all: `--yes` answers the question, but disarms no guard.
    Unasked,
}

/// The tables that lose something.
pub fn losses(dependents: &[Dependents]) -> impl Iterator<Item = &Dependents> {
    dependents.iter().filter(|found| found.fate != Fate::Blocking && found.rows > 0)
}

/// `3 rows of "public"."BookInReadingList"`, or that they lose their reference.
pub fn describe(lost: &Dependents) -> String {
    let Dependents { table, fate, rows } = lost;
    let counted =
        if *rows == 1 { format!("1 row of `{table}`") } else { format!("{rows} rows of `{table}`") };
    match fate {
        Fate::Detached => format!("the reference of {counted}"),
        Fate::Removed | Fate::Blocking => counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: &str, references: &str, on_delete: char) -> ForeignKey {
        ForeignKey {
            table: table.into(),
            columns: vec!["parent".into()],
            references: references.into(),
            references_book: references == "book",
            referenced_columns: vec!["id".into()],
            on_delete,
        }
    }

    #[test]
    fn cascades_are_followed_and_circles_end() {
        let keys = [key("entry", "book", 'c'), key("note", "entry", 'c'), key("entry", "note", 'c')];
        let sql = query(&keys).unwrap_or_default();
        assert!(
            sql.contains("FROM note WHERE ((parent) IN (SELECT id FROM entry WHERE (parent IS NOT NULL)))")
        );
        assert_eq!(sql.matches("count(*)").count(), 2);
    }

    #[test]
    fn rows_behind_a_set_null_are_not_followed() {
        let keys = [key("entry", "book", 'n'), key("note", "entry", 'c')];
        assert_eq!(query(&keys).unwrap_or_default().matches("count(*)").count(), 1);
    }

    #[test]
    fn a_blocking_row_stops_whatever_was_agreed() {
        let blocking = [Dependents { table: "loan".into(), fate: Fate::Blocking, rows: 1 }];
        let error = check(&blocking, Agreement::ByFlag).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
    }
}
