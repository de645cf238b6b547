//! Where a URL came from; every screen says it, so that a surprise has a name.

use std::fmt::{self, Display};
use std::path::PathBuf;

/// Where a URL came from, without the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub(super) key: &'static str,
    pub(super) place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Environment,
    File(PathBuf),
}

impl Origin {
    /// As it stands in a sentence: with backticks round the literals.
    pub(crate) fn quoted(&self) -> String {
        self.text("`")
    }

    fn text(&self, quote: &str) -> String {
        match &self.place {
            Place::Environment => format!("{quote}{}{quote} in the environment", self.key),
            Place::File(path) if self.key == APPLICATION_KEY => format!("{quote}{}{quote}", path.display()),
            Place::File(path) => format!("{quote}{}{quote} in {quote}{}{quote}", self.key, path.display()),
        }
    }
}

/// `.env`, `DIRECT_URL in .env` or `DEWEY_SOURCE_DATABASE_URL in the environment`.
impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(""))
    }
}

/// The application's own key; in the environment it is the target's, as in CI.
pub(crate) const APPLICATION_KEY: &str = "DEWEY_DB_DATABASE_URL";
