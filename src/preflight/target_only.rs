//! The guards in front of every change of the target that is no sync.

use super::catalog::Facts;
use super::guard::stake::{Size, Stake};
use super::guard::target_identity::{Ends, Marking};
use super::guard::{hidden_rows, kind, rights, same_database, settings, swapped};
use super::opening::{asking, open, open_target};
use super::survey::{MARKED, ledger_version, owners_query, refuse_newer, users_query};
use crate::book::{OWNER, TABLE};
use crate::config::Endpoint;
use crate::error::Result;
use crate::postgres::query::Query;
use crate::postgres::{Identity, Source, SourceTx, Target};

/// Mark, books, their owners, users, and the newest migration of the ledger.
type Found = (Option<Identity>, u64, u64, Option<u64>, Option<String>);

/// A target that is no standby, not the source, and hides no rows.
#[derive(Debug, Clone)]
pub struct CheckedTarget {
    /// Its catalogs and settings.
    pub facts: Facts,
    /// How it comes to be marked.
    pub marking: Marking,
    /// What is at stake if it is not.
    pub stake: Stake,
    /// The newest migration of its ledger.
    pub ledger_version: Option<String>,
}

/// Before DDL or a row that is no book is written: the guards of the target, and those that tell it from the source
/// when one is configured. Both are reached already.
pub async fn check_target(
    source: Option<&Source>,
    target: &Target,
    name: Option<&str>,
) -> Result<CheckedTarget> {
    let at_target = target.server().endpoint();
    let (source_tx, (target_tx, facts)) = match source {
        None => {
            let (tx, facts) = open_target(target, "true").await?;
            rights::check_identity(at_target, &facts)?;
            same_database::check_alone(&facts)?;
            (None, (tx, facts))
        }
        Some(source) => {
            let ((source_tx, source_facts), opened) = open(source, target).await?;
            if source_facts.ledger {
                let at_source = source.server().endpoint();
                let marked = Query::json(format!("SELECT coalesce({MARKED}::text, 'null')"));
                let marked: Option<Identity> = source_tx.read(marked).await.map_err(asking(at_source))?;
                swapped::check(&source_facts, &opened.1, marked.as_ref())?;
            }
            (Some((source, source_tx, source_facts)), opened)
        }
    };
    settings::check(at_target, &facts)?;
    hidden_rows::check(at_target, &facts)?;
    let marked = if facts.ledger { MARKED } else { "NULL" };
    let query = format!(
        "SELECT json_build_array({marked}, {}, {}, {}, {})::text",
        books_query(at_target, &facts),
        if facts.has(OWNER) && kind::check(at_target, &facts).is_ok() { owners_query() } else { "0".into() },
        users_query(&facts),
        if facts.ledger { ledger_version() } else { "NULL".into() }
    );
    let found: Found = target_tx.last(Query::json(query)).await.map_err(asking(at_target))?;
    let (marked, books, owners, users, version) = found;
    refuse_newer(version.as_deref())?;
    let ends = Ends { target: at_target, source: source.map(|source| source.server().endpoint()) };
    let marking = ends.check(&facts, marked.as_ref(), books, name)?;
    let mut stake = Stake { target: Size { books, users }, owners, source: None };
    if let Some((source, source_tx, source_facts)) = source_tx {
        let counted = (marking == Marking::MustBeTyped).then_some(source_facts);
        stake.source = size_of_source(source, source_tx, counted).await?;
    }
    Ok(CheckedTarget { facts, marking, stake, ledger_version: version })
}

fn books_query(endpoint: &Endpoint, facts: &Facts) -> String {
    match (&facts.table, kind::check(endpoint, facts)) {
        (None, _) => "0".into(),
        (Some(_), Ok(())) => format!("(SELECT count(*) FROM {TABLE})"),
        // As many as cannot be counted.
        (Some(_), Err(_)) => "1".into(),
    }
}

/// Ends the source's transaction; how much the source holds, if that is wanted and its role may count it.
async fn size_of_source(
    source: &Source,
    source_tx: SourceTx<'_>,
    counted: Option<Facts>,
) -> Result<Option<Size>> {
    let at_source = source.server().endpoint();
    let can_count = |facts: &Facts| facts.columns.is_some() && hidden_rows::check(at_source, facts).is_ok();
    let Some(facts) = counted.filter(can_count) else {
        source_tx.finish().await.map_err(asking(at_source))?;
        return Ok(None);
    };
    let query =
        format!("SELECT json_build_array({}, {})::text", books_query(at_source, &facts), users_query(&facts));
    let counted = source_tx.last(Query::json(query)).await;
    match counted {
        // Neither a migration nor a new user needs a right on production's books.
        Err(fault) if fault.sqlstate() == Some("42501") => Ok(None),
        Err(fault) => Err(asking(at_source)(fault)),
        Ok((books, users)) => Ok(Some(Size { books, users })),
    }
}
