//! Statements on the book table as a whole.

use sea_orm::Iterable;

use crate::book::{Column, TABLE, is_needed, quoted};

/// Takes `tables` for a writer: readers go on, whoever else writes waits.
pub(crate) fn lock_sql(tables: &[&str]) -> String {
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "))
}

/// Statements that let the planner know the new books. Wide columns cost most of the time and gain little by a large
/// sample; those that books are looked for by are sampled as the server is set to.
pub(crate) fn analyze_sql() -> String {
    let looked_for: Vec<String> = Column::iter().filter(|column| is_needed(*column)).map(quoted).collect();
    format!(
        "SET LOCAL default_statistics_target = 10; ANALYZE {TABLE};
SET LOCAL default_statistics_target TO DEFAULT; ANALYZE {TABLE} ({})",
        looked_for.join(", ")
    )
}
