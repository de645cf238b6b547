//! Whether there is anything to do: both sides compared before the first write. Tried again like any other reading of
//! whole tables, because a standby may take back its snapshot.

use std::collections::BTreeMap;

use sea_orm::IdenStatic;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Difference, Differing, Pair};
use crate::book::{Column, KEY, OWNER, OwnerMap, TABLE, comparable_type, quoted};
use crate::dependents::{Dependents, Reach, Which, Writes};
use crate::error::{Error, Result};
use crate::postgres::fingerprint::{Rows, whole_table};
use crate::postgres::query::Query;
use crate::postgres::{Fault, Fingerprint, SourceTx, Tx, literal};
use crate::preflight::Preflight;
use crate::progress::Phase;
use crate::sync::call::Call;
use crate::sync::changes::names_column;
use crate::sync::intent::Intent;
use crate::sync::outcome::{Verified, snapshot_time};

/// What a run would change.
#[derive(Debug, Clone)]
pub enum Compared {
    /// Nothing.
    Equal(Verified),
    /// These books, and the rows that reference those which only the target has.
    Different {
        /// Books.
        difference: Difference,
        /// Rows of other tables.
        dependents: Vec<Dependents>,
    },
}

/// The proof that both sides are equal, if they are. Different numbers of books answer without another look.
pub async fn equal(call: Call<'_>, intent: &Intent) -> Result<Option<Verified>> {
    let (sides, found) = (call.sides, &intent.found);
    if found.source_books.books != found.target_books.books {
        return Ok(None);
    }
    let (columns, owners) = (&found.columns, intent.owners.map());
    let print =
        |rows: Rows<'_>| Query::last_row(whole_table(columns, rows), |row| Fingerprint::from_row(row, 0));
    let limit = call.tuning().whole_table();
    retried(call, async || {
        call.context.phase(Phase::Comparing);
        let (source, target) = tokio::join!(
            async {
                let asked = (snapshot_time(), print(Rows::OfSource(&owners)));
                sides.source.open(limit).await?.last(asked).await
            },
            sides.target.read_once(limit, print(Rows::OfTarget))
        );
        let ((snapshot_at, expected), found) = (source.map_err(comparing)?, target.map_err(comparing)?);
        Ok((expected == found).then(|| Verified::new(expected, snapshot_at)))
    })
    .await
}

/// Both sides compared book by book where they are not equal.
pub async fn compare(call: Call<'_>, intent: &Intent) -> Result<Compared> {
    retried(call, async || {
        let open = Open::begin(call, intent).await?;
        let pair = open.pair(intent);
        let (expected, found) = Box::pin(pair.fingerprints()).await?;
        if expected == found {
            return Ok(Compared::Equal(Verified::new(expected, open.end().await?)));
        }
        let differing = Box::pin(pair.differing(&pair.differing_buckets().await?)).await?;
        let dependents = referencing(pair, &intent.found, &differing).await.map_err(comparing)?;
        open.end().await?;
        Ok(Compared::Different { difference: differing.counts, dependents })
    })
    .await
}

/// At a signal, whoever waits for this stops waiting.
async fn retried<T>(call: Call<'_>, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    call.context.retry_on("the comparison", async |_| Box::pin(look()).await).await
}

/// A snapshot of each side.
struct Open<'a> {
    owners: OwnerMap,
    source: SourceTx<'a>,
    target: Tx<'a>,
    /// The time of the source's.
    snapshot_at: String,
}

impl<'a> Open<'a> {
    async fn begin(call: Call<'a>, intent: &Intent) -> Result<Self> {
        call.context.phase(Phase::Comparing);
        let (sides, limit) = (call.sides, call.tuning().whole_table());
        let opened = tokio::join!(sides.source.snapshot(limit, snapshot_time()), sides.target.open(limit));
        let ((source, snapshot_at), target) = (opened.0.map_err(comparing)?, opened.1.map_err(comparing)?);
        Ok(Self { owners: intent.owners.map(), source, target, snapshot_at })
    }

    fn pair<'b>(&'b self, intent: &'b Intent) -> Pair<'b, 'a> {
        let Self { owners, source, target, .. } = self;
        Pair { source, target, columns: &intent.found.columns, owners }
    }

    async fn end(self) -> Result<String> {
        let (finished, ()) = tokio::join!(self.source.finish(), self.target.rollback());
        finished.map_err(comparing)?;
        Ok(self.snapshot_at)
    }
}

fn comparing(fault: Fault) -> Error {
    fault.error("could not compare both sides")
}

/// The rows that foreign keys delete or change when the target's books become those of the source.
async fn referencing(
    pair: Pair<'_, '_>,
    found: &Preflight,
    differing: &Differing,
) -> Result<Vec<Dependents>, Fault> {
    let foreign_keys = found.target.foreign_keys.as_deref().unwrap_or_default();
    let Some(reach) = Reach::of(foreign_keys, Writes::Copies(pair.columns)) else { return Ok(Vec::new()) };
    let mut changed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in reach.changing() {
        let column = pair.columns.iter().chain([OWNER]).find(|column| names_column(name, *column));
        if let Some(column) = column.filter(|_| !differing.in_both.is_empty()) {
            changed.insert(name, changed_keys(pair, column, &differing.in_both).await?);
        }
    }
    let which = Which {
        deleted: Some(&|alias| is_one_of(alias, &differing.only_in_target)),
        changed: &|alias, names| {
            let keys = names.iter().filter_map(|name| changed.get(name.as_str())).flatten();
            is_one_of(alias, &keys.cloned().collect::<Vec<_>>())
        },
    };
    pair.target.ask(Query::json(format!("SELECT {}::text", reach.counted(&which)))).await
}

/// Those of `keys` whose books have another value of `column` on the other side.
async fn changed_keys(pair: Pair<'_, '_>, column: Column, keys: &[String]) -> Result<Vec<String>, Fault> {
    let query = |rows: Rows<'_>| {
        let key = rows.value(pair.columns, KEY);
        let value = match rows {
            Rows::OfSource(owners) if column.as_str() == OWNER.as_str() => {
                owners.sql(&pair.columns.at_source(OWNER))
            }
            _ => rows.value(pair.columns, column),
        };
        let kind = comparable_type(column);
        format!(
            "SELECT {key}::text, ({value})::{kind}::text FROM {TABLE} WHERE {key}::text = ANY ({})",
            texts(keys)
        )
    };
    let (of_source, of_target) = (query(Rows::OfSource(pair.owners)), query(Rows::OfTarget));
    let (source, target) = tokio::join!(pair.source.read(&of_source), pair.target.simple(&of_target));
    let values = |rows: Vec<PgRow>| -> Result<BTreeMap<String, Option<String>>, Fault> {
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    };
    let (source, target) = (values(source?)?, values(target?)?);
    let differs =
        |(key, value): &(&String, &Option<String>)| target.get(*key).is_some_and(|other| other != *value);
    Ok(source.iter().filter(differs).map(|(key, _)| key.clone()).collect())
}

fn is_one_of(alias: &str, keys: &[String]) -> String {
    format!("{alias}.{}::text = ANY ({})", quoted(KEY), texts(keys))
}

fn texts(texts: &[String]) -> String {
    let list: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    format!("ARRAY[{}]::text[]", list.join(", "))
}
