//! Guard: rows of other tables that reference books, followed through the foreign keys.
//!
//! What a deletion of books would take along is counted per table and asked about; what would block it stops the run.

pub mod current;
pub mod fate;
mod keys;
mod reach;
mod rows;
pub mod uncounted;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
pub use fate::Fate;
pub use keys::{ForeignKey, Relation, foreign_keys};
pub use reach::{Reach, Writes};
pub use rows::Which;

/// Rows of one table that the deletion of books would reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependents {
    /// The table, as a quoted identifier with its schema.
    pub table: String,
    /// What happens to the rows.
    pub fate: Fate,
    /// How many.
    pub rows: u64,
}

/// Stops when rows would block the deletion, and when rows would be lost that `--yes` alone does not agree to.
///
/// # Errors
/// [`Kind::Refused`].
pub fn check(dependents: &[Dependents], agreed: Agreement) -> Result<()> {
    if let Some(blocking) = dependents.iter().find(|found| found.fate == Fate::Blocking && found.rows > 0) {
        let table = &blocking.table;
        return Err(Error::new(Kind::Refused, "could not plan the removal of the old books")
            .because(match blocking.rows {
                1 => format!("{} forbids the removal of the book that it refers to", describe(blocking)),
                _ => format!("{} forbid the removal of the books that they refer to", describe(blocking)),
            })
            .hint(format!("remove those rows of `{table}`, or give its foreign key an ON DELETE action")));
    }
    let lost: Vec<String> = losses(dependents).map(describe).collect();
    match agreed {
        Agreement::Unasked if !lost.is_empty() => Err(Error::new(
            Kind::Refused,
            "refusing to lose rows that reference books without `--allow-cascade`",
        )
        .because(format!("replacing the books would also lose {}", lost.join(", ")))
        .hint("add `--allow-cascade`, or leave `--yes` out and answer the question")),
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
    /// Not at all: `--yes` answers the question, but bypasses no guard.
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

    #[test]
    fn a_blocking_row_stops_whatever_was_agreed() {
        let blocking = [Dependents { table: "loan".into(), fate: Fate::Blocking, rows: 1 }];
        let error = check(&blocking, Agreement::ByFlag).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
    }
}
