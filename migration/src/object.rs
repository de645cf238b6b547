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

/// The kinds of objects that the application has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An enum type.
    Enum,
    /// A table with its keys and indexes.
    Table,
}

/// Where an object of the application came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is not there; `up` will make it.
    Absent,
    /// It is there and no `up` has seen it; the next one adopts it.
    Present,
    /// Somebody else made it; `down` keeps it.
    Adopted,
    /// `up` made it; `down` drops it.
    Made,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enum => "enum",
            Self::Table => "table",
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
        })
    }
}
