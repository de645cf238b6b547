//! How books are written.

use serde::Serialize;

/// How books are written, by the name on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// SeaORM's `insert_many`.
    #[default]
    Insert,
    /// PostgreSQL's binary COPY, from server to server without decoding a column.
    Copy,
}

impl Engine {
    /// The name on the command line, in the ledger and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Copy => "copy",
        }
    }

    /// Rows of a batch, unless it is said: more make an `insert` no faster and a `copy` up to a quarter.
    pub const fn batch_size(self) -> u32 {
        match self {
            Self::Insert => 1000,
            Self::Copy => 3000,
        }
    }

    /// The engine of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Insert, Self::Copy].into_iter().find(|engine| engine.name() == name)
    }
}
