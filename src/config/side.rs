//! Which of the two databases.

use std::fmt::{self, Display};

use serde::Serialize;

/// One of the two databases of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Production; only read.
    Source,
    /// Development; written.
    Target,
}

impl Side {
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Source => "DEWEY_SOURCE_DATABASE_URL",
            Self::Target => "DEWEY_TARGET_DATABASE_URL",
        }
    }

    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Source => ".env.production",
            Self::Target => ".env",
        }
    }
}

impl Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}
