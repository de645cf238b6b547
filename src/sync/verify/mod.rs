//! Compares every row of both sides: each copied column and the owner, digested by the servers that hold them.

pub mod before;
pub mod book_table;
pub mod stage;

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::book::{CopiedColumns, KEY, OwnerMap, TABLE};
use crate::error::{Error, Kind, Result};
use crate::postgres::fingerprint::{Fingerprint, Rows, bucket, by_bucket, row_digest, whole_table};
use crate::postgres::{Fault, SourceTx, Tx};
use crate::sync::changes::BookChanges;

/// Buckets whose keys are compared in one step: some 16,000 rows a side at a million books.
const BUCKETS_A_STEP: usize = 64;

/// Both sides as two open transactions see them.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a, 'server> {
    /// Production.
    pub source: &'a SourceTx<'server>,
    /// Development.
    pub target: &'a Tx<'server>,
    /// What is compared.
    pub columns: &'a CopiedColumns,
    /// Who owns the books of the target, if all is well.
    pub owners: &'a OwnerMap,
}

/// How many books are not equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the source.
    pub missing: u64,
    /// Only in the target.
    pub extra: u64,
    /// In both, with another value or owner.
    pub different: u64,
}

/// Which books are not equal, by their natural keys.
#[derive(Debug, Clone, Default)]
pub struct Differing {
    /// How many.
    pub counts: Difference,
    /// Those that only the target has.
    pub only_in_target: Vec<String>,
    /// Those that both have.
    pub in_both: Vec<String>,
}

impl Difference {
    /// What a sync would change in a target of so many books.
    pub fn changes(self, target_books: u64) -> BookChanges {
        let Self { missing, extra, different } = self;
        let unchanged = target_books.saturating_sub(extra + different);
        BookChanges { added: missing, changed: different, deleted: extra, unchanged }
    }

    /// The error of a run that ends with it.
    pub fn error(self) -> Error {
        let Self { missing, extra, different } = self;
        Error::new(Kind::Differs, "the target is not equal to the source").because(format!(
            "books missing: {missing}, extra: {extra}, with another value or owner: {different}"
        ))
    }
}

impl Pair<'_, '_> {
    /// The fingerprints of source and target, computed at the same time.
    pub async fn fingerprints(&self) -> Result<(Fingerprint, Fingerprint)> {
        self.fingerprints_after("").await
    }

    /// The same, after statements without rows on the target.
    pub async fn fingerprints_after(&self, first: &str) -> Result<(Fingerprint, Fingerprint)> {
        self.both(
            whole_table(self.columns, self.of_source()),
            format!("{first}{}", whole_table(self.columns, Rows::OfTarget)),
            |rows| {
                rows.first()
                    .map_or_else(|| Err(Fault::client("no fingerprint")), |row| Fingerprint::from_row(row, 0))
            },
        )
        .await
    }

    /// The buckets in which the sides differ, in order.
    pub async fn differing_buckets(&self) -> Result<Vec<i32>> {
        let read = |rows: Vec<PgRow>| -> Result<BTreeMap<i32, Fingerprint>, Fault> {
            rows.iter().map(|row| Ok((row.try_get(0)?, Fingerprint::from_row(row, 1)?))).collect()
        };
        let (source, target) = self
            .both(by_bucket(self.columns, self.of_source()), by_bucket(self.columns, Rows::OfTarget), read)
            .await?;
        let mut differing: Vec<i32> = source
            .keys()
            .chain(target.keys())
            .copied()
            .filter(|bucket| source.get(bucket) != target.get(bucket))
            .collect();
        differing.sort_unstable();
        differing.dedup();
        Ok(differing)
    }

    /// Counts the books that differ within `buckets`.
    pub async fn difference(&self, buckets: &[i32]) -> Result<Difference> {
        Ok(self.differing(buckets).await?.counts)
    }

    /// The same, with the keys.
    pub async fn differing(&self, buckets: &[i32]) -> Result<Differing> {
        let mut found = Differing::default();
        for step in buckets.chunks(BUCKETS_A_STEP) {
            let step: Vec<String> = step.iter().map(i32::to_string).collect();
            let query = |rows: Rows<'_>| {
                let digest = row_digest(self.columns, rows);
                format!(
                    "SELECT {key}::text, {digest} FROM {TABLE} WHERE {bucket} IN ({step})",
                    key = rows.value(self.columns, KEY),
                    bucket = bucket(self.columns, rows),
                    step = step.join(", ")
                )
            };
            let (source, target) =
                self.both(query(self.of_source()), query(Rows::OfTarget), digests_by_key).await?;
            found.only_in_target.extend(target.keys().filter(|key| !source.contains_key(*key)).cloned());
            found.in_both.extend(target.keys().filter(|key| differs(&source, &target, key)).cloned());
            found.counts.add(source, target);
        }
        Ok(found)
    }

    fn of_source(&self) -> Rows<'_> {
        Rows::OfSource(self.owners)
    }

    /// Runs a query on each side at the same time.
    async fn both<T>(
        &self,
        on_source: String,
        on_target: String,
        read: impl Fn(Vec<PgRow>) -> Result<T, Fault>,
    ) -> Result<(T, T)> {
        let (source, target) = tokio::join!(self.source.read(&on_source), self.target.simple(&on_target));
        let source =
            source.and_then(&read).map_err(|fault| fault.error("could not verify the source's books"))?;
        let target =
            target.and_then(&read).map_err(|fault| fault.error("could not verify the target's books"))?;
        Ok((source, target))
    }
}

type DigestsByKey = BTreeMap<String, Vec<i64>>;

fn differs(source: &DigestsByKey, target: &DigestsByKey, key: &str) -> bool {
    source.get(key).is_some_and(|digests| target.get(key) != Some(digests))
}

/// A key may come more than once, where the unique index is gone.
fn digests_by_key(rows: Vec<PgRow>) -> Result<DigestsByKey, Fault> {
    let mut digests = DigestsByKey::new();
    for row in rows {
        digests.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    Ok(digests)
}

impl Difference {
    fn add(&mut self, source: DigestsByKey, mut target: DigestsByKey) {
        for (key, mut only_source) in source {
            let mut only_target = target.remove(&key).unwrap_or_default();
            only_source.retain(|digest| match only_target.iter().position(|other| other == digest) {
                Some(equal) => {
                    only_target.swap_remove(equal);
                    false
                }
                None => true,
            });
            let different = only_source.len().min(only_target.len());
            self.different += different as u64;
            self.missing += (only_source.len() - different) as u64;
            self.extra += (only_target.len() - different) as u64;
        }
        self.extra += target.values().map(|digests| digests.len() as u64).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &[(&str, &[i64])], target: &[(&str, &[i64])], expected: [u64; 3]) {
        let map = |books: &[(&str, &[i64])]| -> DigestsByKey {
            books.iter().map(|(key, digests)| ((*key).to_owned(), digests.to_vec())).collect()
        };
        let mut found = Difference::default();
        found.add(map(source), map(target));
        assert_eq!([found.missing, found.extra, found.different], expected);
    }

    #[test]
    fn a_book_on_one_side_is_missing_or_extra() {
        check(&[("a", &[1])], &[("b", &[1])], [1, 1, 0]);
    }

    #[test]
    fn another_digest_under_the_same_key_is_different() {
        check(&[("a", &[1])], &[("a", &[2])], [0, 0, 1]);
    }

    #[test]
    fn a_second_row_of_a_key_is_extra() {
        check(&[("a", &[1])], &[("a", &[1, 1])], [0, 1, 0]);
    }
}
