//! The plan: the source's ids cut into ranges, frozen before the first write. Everything later consumes ranges.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::book::{self, OwnerMap};
use crate::ledger::checkpoint::Checkpoint;
use crate::postgres::Fault;

/// What one run will do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In order of ids, covering all of them; one without books when the source has none.
    pub ranges: Vec<Range>,
    /// Rows of all ranges when the plan was made.
    pub books: u64,
}

/// A plan with what else has to be the same when the run is resumed, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The ranges.
    pub plan: Plan,
    /// The names of the columns that travel, in order.
    pub columns: Vec<String>,
    /// Who owns whose books.
    #[serde(default)]
    pub owners: OwnerMap,
    /// What new books get as an `updatedAt` that only the target has: the run's first start.
    pub updated_at: Option<String>,
}

/// Source ids in `(after, through]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Counted from 1.
    pub batch: usize,
    /// `None`: open downwards.
    pub after: Option<i32>,
    /// `None`: open upwards.
    pub through: Option<i32>,
    /// Rows when the plan was made.
    pub books: u64,
}

impl Plan {
    /// The query whose rows [`Plan::from_rows`] reads: the last id and the count of each run of at most
    /// `batch_size` rows, by an index-only scan.
    pub fn query(batch_size: u32) -> String {
        let id = book::quoted(book::Column::Id);
        format!(
            "SELECT max({id})::integer AS max, count(*) FROM (SELECT {id}, (row_number() OVER (ORDER BY {id}) - 1) / {batch_size} \
             AS batch FROM {}) numbered GROUP BY batch ORDER BY batch",
            book::TABLE
        )
    }

    /// The same rows as a scalar expression of JSON, for [`Plan::from_ends`].
    pub fn ends_query(batch_size: u32) -> String {
        let query = Self::query(batch_size);
        format!("(SELECT json_agg(json_build_array(max, count) ORDER BY max) FROM ({query}) ranges)")
    }

    /// The last ids of all ranges but the last one, which is open.
    pub fn ends(&self) -> Vec<i32> {
        self.ranges.iter().filter_map(|range| range.through).collect()
    }

    /// Builds the plan from the rows of [`Plan::query`].
    pub fn from_rows(rows: &[PgRow]) -> Result<Self, Fault> {
        let cut: Result<Vec<(i32, i64)>, sqlx::Error> =
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
        Ok(Self::from_ends(&cut?))
    }

    /// Ranges from the last id and the count of each, the outer ends open: a book that arrives below the first or
    /// above the last id belongs to a range as well.
    pub fn from_ends(ends: &[(i32, i64)]) -> Self {
        let ends = if ends.is_empty() { &[(0, 0)] } else { ends };
        let last = ends.len();
        let ranges: Vec<Range> = ends
            .iter()
            .enumerate()
            .map(|(index, (end, count))| Range {
                batch: index + 1,
                after: index.checked_sub(1).map(|before| ends[before].0),
                through: (index + 1 < last).then_some(*end),
                books: count.unsigned_abs(),
            })
            .collect();
        let books = ranges.iter().map(|range| range.books).sum();
        Self { ranges, books }
    }
}

impl Range {
    /// The condition on the ids in column `id` of some table, as SQL.
    pub fn condition(&self, id: &str) -> String {
        let after = self.after.map(|after| format!("{id} > {after}"));
        let through = self.through.map(|through| format!("{id} <= {through}"));
        let bounds: Vec<String> = after.into_iter().chain(through).collect();
        if bounds.is_empty() { "true".into() } else { bounds.join(" AND ") }
    }

    /// The checkpoint of this range's batch, when it is copied for the first time.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            batch: self.batch,
            round: 0,
            after_id: self.after,
            through_id: self.through,
            rows: self.books,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_without_gap_and_are_open_at_both_ends() {
        let plan = Plan::from_ends(&[(10, 3), (20, 3), (21, 1)]);
        let bounds: Vec<_> = plan.ranges.iter().map(|range| (range.after, range.through)).collect();
        assert_eq!(bounds, [(None, Some(10)), (Some(10), Some(20)), (Some(20), None)]);
        assert_eq!(plan.books, 7);
    }

    #[test]
    fn a_single_range_covers_every_id() {
        let plan = Plan::from_ends(&[(10, 3)]);
        assert_eq!((plan.ranges[0].after, plan.ranges[0].through), (None, None));
    }

    #[test]
    fn a_source_without_books_has_one_range_for_those_that_come() {
        let range = Range { batch: 1, after: None, through: None, books: 0 };
        assert_eq!(Plan::from_ends(&[]), Plan { ranges: vec![range], books: 0 });
    }
}
