//! Guard: both sides have the tables, columns and labels that a sync needs.

use sea_orm::{IdenStatic, Iterable};

use crate::book::{Column, CopiedColumns, OWNER_TABLE, Role, TABLE, VISIBILITY, role};
use crate::config::{Endpoint, Side};
use crate::error::{Error, Kind, Result};
use crate::sync::facts::Facts;

/// One side with what it told about itself.
#[derive(Debug, Clone, Copy)]
pub struct SideFacts<'a> {
    /// Where it is.
    pub endpoint: &'a Endpoint,
    /// What it told.
    pub facts: &'a Facts,
}

/// The columns that travel.
///
/// # Errors
/// [`Kind::Usage`] when a table is missing, [`Kind::Refused`] when a column or a label is.
pub fn check(source: SideFacts<'_>, target: SideFacts<'_>) -> Result<CopiedColumns> {
    for side in [source, target] {
        version(side)?;
        table(side)?;
        columns(side)?;
    }
    if !target.facts.users {
        return Err(missing_table(target.endpoint, OWNER_TABLE));
    }
    labels(source.facts, target)?;
    Ok(CopiedColumns::new(|column| source.facts.has(column) && target.facts.has(column)))
}

/// # Errors
/// [`Kind::Usage`] when there is no book table.
pub fn table(side: SideFacts<'_>) -> Result<()> {
    if side.facts.columns.is_none() { Err(missing_table(side.endpoint, TABLE)) } else { Ok(()) }
}

/// The oldest version with all the functions that are used.
const VERSION_MIN: u32 = 13;

fn version(side: SideFacts<'_>) -> Result<()> {
    let SideFacts { endpoint, facts } = side;
    if facts.major_version() >= VERSION_MIN {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("could not use the {}, {endpoint}", endpoint.side))
        .because(format!("it is PostgreSQL {}", facts.version))
        .hint(format!("versions from {VERSION_MIN} on are supported")))
}

fn missing_table(endpoint: &Endpoint, table: &str) -> Error {
    let Endpoint { side, schema, .. } = endpoint;
    let error = Error::new(Kind::Usage, format!("could not use the {side}, {endpoint}"))
        .because(format!("there is no table `{table}` in its schema `{schema}`"));
    match side {
        Side::Source => {
            error.hint("check that the URL names production's database, and its `schema` parameter")
        }
        Side::Target => error.state("nothing was written").hint(
            "create the tables with the application (`prisma migrate deploy`) or with `dewey-sync migrate up`",
        ),
    }
}

fn columns(side: SideFacts<'_>) -> Result<()> {
    let required = |column: &Column| matches!(role(*column), Role::Copied | Role::Owner);
    let missing: Vec<String> = Column::iter()
        .filter(required)
        .filter(|column| !side.facts.has(*column))
        .map(|column| format!("`{}`", column.as_str()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let SideFacts { endpoint, .. } = side;
    Err(Error::new(Kind::Refused, format!("could not use the {}, {endpoint}", endpoint.side))
        .because(format!("its table `{TABLE}` has no column {}", missing.join(", ")))
        .hint("bring both databases to the same version of the application's schema"))
}

fn labels(source: &Facts, target: SideFacts<'_>) -> Result<()> {
    let refused = |cause: String| {
        Error::new(Kind::Refused, format!("could not use the target, {}", target.endpoint))
            .because(cause)
            .hint("run the application's migrations on both databases")
    };
    let (Some(used), Some(known)) = (&source.labels, &target.facts.labels) else {
        return Err(refused(format!("the type of `{}` is an enum on one side only", VISIBILITY.as_str())));
    };
    let unknown: Vec<String> =
        used.iter().filter(|label| !known.contains(label)).map(|label| format!("`{label}`")).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(refused(format!("its enum of `{}` lacks {}", VISIBILITY.as_str(), unknown.join(", "))))
}
