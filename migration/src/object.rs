//! An object of the application and what became of it.

use std::fmt;

/// An object of the application, as one call found or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its name, unquoted and without its schema.
    pub name: &'static str,
    /// What it is after the call; what `down` left alone keeps the state it had.
    pub state: State,
    /// Whether this call made, adopted or dropped it.
    pub changed: bool,
}

/// The kinds of objects that the application has, and those that bear their names elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An enum type.
    Enum,
    /// A table with its keys and indexes, partitioned or not.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A table of another server.
    ForeignTable,
    /// A domain.
    Domain,
    /// A sequence, an index or another type.
    Other,
}

/// Where an object of the application came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is not there; `up` makes it where the application has made nothing.
    Absent,
    /// It is there and no `up` has seen it; the next one adopts it.
    Present,
    /// Somebody else made it; `down` keeps it.
    Adopted,
    /// `up` made it; `down` drops it.
    Made,
    /// `down` has just dropped it.
    Removed,
}

impl Kind {
    /// The kind that is written like this.
    pub(crate) fn named(name: &str) -> Self {
        let kinds =
            [Self::Enum, Self::Table, Self::View, Self::MaterializedView, Self::ForeignTable, Self::Domain];
        kinds.into_iter().find(|kind| kind.to_string() == name).unwrap_or(Self::Other)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enum => "enum",
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
            Self::Domain => "domain",
            Self::Other => "other",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Present => "present",
            Self::Adopted => "adopted",
            Self::Made => "made",
            Self::Removed => "removed",
        })
    }
}
