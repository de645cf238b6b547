//! The process environment, taken once and passed on, so that tests need none of their own.

use std::collections::BTreeMap;
use std::fmt;

use super::problem::Problem;
use super::url::Parts;

/// A copy of environment variables. Its `Debug` shows their names only.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process, the only place that reads them.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The value of `name`; an empty one, or one of spaces, counts as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// Refuses the variables that `sqlx` reads by itself and that no setter of its options takes back.
    ///
    /// The others (`PGHOST`, `PGSSLMODE`, …) are overwritten in [`super::Endpoint::connect_options`].
    pub(super) fn adds_nothing_to(&self, parts: &Parts) -> Result<(), Problem> {
        let stray = |name: &&str| self.0.contains_key(*name);
        if stray(&"PGOPTIONS") {
            return Err(Problem::StrayOptions);
        }
        if parts.password.is_none() && stray(&"PGPASSWORD") {
            return Err(Problem::Stray { name: "PGPASSWORD", part: "password" });
        }
        match ["PGSSLCERT", "PGSSLKEY"].into_iter().find(stray) {
            Some(name) if parts.tls.client.is_none() => {
                Err(Problem::Stray { name, part: "`sslcert` and `sslkey`" })
            }
            _ => Ok(()),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::target;
    use super::*;
    use crate::config::Locations;

    fn check(url: &str, name: &str, causes: &[&str]) {
        let environment = [("DEWEY_TARGET_DATABASE_URL", url), (name, "x")].into_iter().collect();
        let answer = target(&Locations::default(), &environment);
        assert_eq!(answer.err().map_or(vec![], |error| error.causes()), causes, "{name}");
    }

    #[test]
    fn variables_that_sqlx_would_mix_in_are_refused_where_the_url_leaves_room() {
        let (bare, full) = ("postgres://u@h/db", "postgres://u:p@h/db");
        check(bare, "PGPASSWORD", &["`PGPASSWORD` in the environment would be taken for what it leaves out"]);
        check(full, "PGPASSWORD", &[]);
        check(full, "PGOPTIONS", &["`PGOPTIONS` in the environment would be sent along with it"]);
        check(full, "PGSSLKEY", &["`PGSSLKEY` in the environment would be taken for what it leaves out"]);
        check(bare, "PGHOST", &[]);
    }

    #[test]
    fn debug_shows_names_only() {
        let environment: Environment = [("NAME", "hunter2")].into_iter().collect();
        assert_eq!(format!("{environment:?}"), r#"{"NAME"}"#);
    }
}
