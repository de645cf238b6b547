//! Guard: both sides have the tables, columns, labels and unique keys that a sync needs, or `dewey-sync.toml` says what
//! becomes of a difference.

mod columns;
pub(crate) mod ids;
mod lines;
mod types;

use sea_orm::IdenStatic;

use crate::book::{Column, CopiedColumns, OTHER_KEY, OWNER_TABLE, TABLE};
use crate::config::{Endpoint, Mapping, Side};
use crate::error::{Error, Kind, Result};
use crate::postgres::Server;
use crate::preflight::catalog::{Facts, SideFacts};
pub use columns::{Compared, Comparison, Verdict, compare};
pub use lines::Line;

/// The columns that travel, and what should be said about them.
///
/// # Errors
/// [`Kind::Usage`] when a table is missing, [`Kind::Refused`] when nobody decided about a difference.
pub fn check(
    source: SideFacts<'_>,
    target: SideFacts<'_>,
    mapping: &Mapping,
) -> Result<(CopiedColumns, Vec<String>)> {
    for side in [source, target] {
        tables(side)?;
        ids::check(side)?;
    }
    let Comparison { columns, copied } = compare(source.facts, target.facts, mapping);
    refuse_undecided(&columns, mapping)?;
    let mut notices = unique_keys(source.facts, target.facts);
    let left_out = columns.iter().filter_map(|compared| match compared {
        Compared { verdict: Verdict::LeftOut(why), source: Some(column), .. } => Some((column, why)),
        Compared { verdict: Verdict::LeftOut(why), target: Some(column), .. } if is_known(&column.name) => {
            Some((column, why))
        }
        _ => None,
    });
    notices.extend(left_out.map(|(column, why)| format!("`{}` is not copied: {why}", column.name)));
    Ok((copied, notices))
}

pub(crate) fn is_known(name: &str) -> bool {
    use sea_orm::Iterable;
    Column::iter().any(|column| column.as_str() == name)
}

/// # Errors
/// [`Kind::Refused`] with the lines that would decide.
pub(crate) fn refuse_undecided(columns: &[Compared], mapping: &Mapping) -> Result<()> {
    let undecided = columns.iter().filter_map(|compared| match &compared.verdict {
        Verdict::Undecided { why, lines } => Some((why.as_str(), lines.as_slice())),
        _ => None,
    });
    let (whys, lines): (Vec<&str>, Vec<&[Line]>) = undecided.unzip();
    if whys.is_empty() {
        return Ok(());
    }
    let error = Error::new(Kind::Refused, format!("could not match the columns of `{TABLE}` on both sides"))
        .because(whys.join("; "));
    Err(if lines.iter().all(|lines| !lines.is_empty()) {
        error.hint(lines::hint(&mapping.path)).lines(lines::under_headings(&lines.concat()))
    } else {
        error.hint("bring both databases to the same version of the application's schema")
    })
}

/// What only one side forbids is found when a book meets it, and nothing is lost then.
pub(crate) fn unique_keys(source: &Facts, target: &Facts) -> Vec<String> {
    let [at_source, at_target] =
        [source, target].map(|facts| facts.unique_keys.as_deref().unwrap_or_default());
    // An id is given anew.
    let concerns_copies = |key: &&Vec<String>| !key.iter().any(|column| column == Column::Id.as_str());
    let stricter = at_target.iter().filter(concerns_copies).filter(|key| !at_source.contains(key));
    let stricter = stricter.map(|key| {
        let columns = key.join("`, `");
        format!(
            "only development forbids equal values in `{columns}`: such books of production stop the sync"
        )
    });
    let other = OTHER_KEY.as_str();
    let missing = (!at_target.iter().any(|key| key[..] == [other])).then(|| {
        format!("development has no unique key on `{other}`, as the application's schema has: equal values are copied")
    });
    stricter.chain(missing).collect()
}

/// # Errors
/// [`Kind::Usage`] when there is no book table, or in the target none of users.
pub fn tables(side: SideFacts<'_>) -> Result<()> {
    if side.facts.columns.is_none() {
        return Err(missing_table(side, TABLE));
    }
    let needs_users = side.endpoint.side == Side::Target;
    if needs_users && !side.facts.users { Err(missing_table(side, OWNER_TABLE)) } else { Ok(()) }
}

/// The oldest version with all the functions that are used.
const VERSION_MIN: u32 = 13;

/// # Errors
/// [`Kind::Refused`] when the server is older.
pub fn version(side: SideFacts<'_>) -> Result<()> {
    let SideFacts { endpoint, facts } = side;
    if facts.major_version() >= VERSION_MIN { Ok(()) } else { Err(too_old(endpoint, &facts.version)) }
}

/// The same before any question is asked, which an older server may not understand.
///
/// # Errors
/// As [`version`].
pub(crate) fn version_of(server: &Server) -> Result<()> {
    match server.version() {
        Some(version) if version / 10_000 < VERSION_MIN => {
            Err(too_old(server.endpoint(), &format!("{}.{}", version / 10_000, version % 10_000)))
        }
        _ => Ok(()),
    }
}

fn too_old(endpoint: &Endpoint, version: &str) -> Error {
    Error::new(Kind::Refused, format!("could not use the {}, {endpoint}", endpoint.side))
        .because(format!("it is PostgreSQL {version}"))
        .hint(format!("versions from {VERSION_MIN} on are supported"))
}

fn missing_table(SideFacts { endpoint, facts }: SideFacts<'_>, table: &str) -> Error {
    let Endpoint { side, schema, .. } = endpoint;
    let error = Error::new(Kind::Usage, format!("could not use the {side}, {endpoint}"))
        .because(format!("there is no table `{table}` in its schema `{schema}`"));
    match side {
        Side::Source => {
            error.hint("check that the URL names production's database, and its `schema` parameter")
        }
        Side::Target if facts.columns.is_some() || facts.users => error
            .state("nothing was written")
            .hint("bring the schema up to date with the application's migrations (`prisma migrate deploy`)"),
        Side::Target => error.state("nothing was written").hint(
            "create the tables with the application (`prisma migrate deploy`) or with `dewey-sync migrate up`",
        ),
    }
}
