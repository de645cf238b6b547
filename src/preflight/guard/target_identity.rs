//! Guard: nothing is written to a database that nobody has marked as a development database.
//!
//! The mark is the database's identity in its own ledger. A ledger with another identity came with a dump and marks nothing.
//! A physical copy has identity and mark of its original: nothing in it tells that it is elsewhere now. With the original at
//! hand [`same_database`](crate::preflight::guard::same_database) says what that means; without it, a copy of a development database is one.

use super::stake::Stake;
use crate::config::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::postgres::Identity;
use crate::preflight::catalog::Facts;

/// How a target comes to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// It is.
    Marked,
    /// It is on this machine and has no books to lose.
    Harmless,
    /// `--mark-development` named it.
    Named,
    /// Somebody has to type its name.
    MustBeTyped,
}

/// The target and, where one is configured, the source that its name has to tell it from.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// Development.
    pub target: &'a Endpoint,
    /// Production.
    pub source: Option<&'a Endpoint>,
}

impl Ends<'_> {
    /// What has to be typed: the database's name, or with its place where the source's database has the same one.
    pub fn name(&self) -> String {
        let Endpoint { database, user, .. } = self.target;
        match self.source {
            Some(source) if source.database == *database && source.user != *user && self.share_a_place() => {
                format!("{user}@{}/{database}", self.target.place())
            }
            Some(source) if source.database == *database => placed(self.target),
            _ => database.clone(),
        }
    }

    /// Whether `text` names the target and not the source as well.
    fn are_told_apart_by(&self, text: &str) -> bool {
        text == self.name() || text == placed(self.target) && !self.share_a_place()
    }

    /// Hosted services tell databases apart by the role.
    fn share_a_place(&self) -> bool {
        self.source.is_some_and(|source| placed(source) == placed(self.target))
    }

    /// The flag that marks the target, with the condition on which to use it; a shell takes it as it is.
    pub fn flag(&self) -> String {
        let name = self.name();
        let quoted = shlex::try_quote(&name).unwrap_or(name.as_str().into());
        // Otherwise the name would be taken for another flag.
        let separator = if name.starts_with('-') { '=' } else { ' ' };
        format!("`--mark-development{separator}{quoted}`, only if this is not production")
    }

    /// Decides by the identity that the target's ledger carries (`marked`), by its `books`, and by the name given with
    /// `--mark-development`.
    ///
    /// # Errors
    /// [`Kind::Refused`] when that name is not the target's alone.
    pub fn check(
        &self,
        target: &Facts,
        marked: Option<&Identity>,
        books: u64,
        name: Option<&str>,
    ) -> Result<Marking> {
        if marked == Some(&target.identity) {
            return Ok(Marking::Marked);
        }
        match name {
            Some(name) if self.are_told_apart_by(name) => Ok(Marking::Named),
            Some(name) if name == self.target.database => Err(self
                .refused()
                .because(format!(
                    "`--mark-development` names the source as well: both databases are called `{name}`"
                ))
                .hint(format!("run once with {}", self.flag()))),
            Some(_) => Err(self
                .refused()
                .because(format!("`--mark-development` names another database than `{}`", self.name()))
                .hint(format!("run once with {}", self.flag()))),
            None if self.target.is_local() && books == 0 => Ok(Marking::Harmless),
            None => Ok(Marking::MustBeTyped),
        }
    }

    /// Whether `typed` marks the target.
    ///
    /// # Errors
    /// [`Kind::Declined`].
    pub fn check_typed(&self, typed: &str) -> Result<()> {
        if self.are_told_apart_by(typed) {
            return Ok(());
        }
        Err(Error::new(Kind::Declined, "the target was not marked as a development database"))
    }

    /// The refusal when the name cannot be asked for; `command` takes the flag, if the present one does not.
    pub fn unmarked(&self, stake: &Stake, command: Option<&str>) -> Error {
        let mut causes =
            vec!["it was never marked as a development database, and `--yes` does not do that".to_owned()];
        causes.extend(stake.clauses());
        let flag = self.flag();
        let hint = match command {
            None => format!("run once with {flag}, or on a terminal without `--yes`"),
            Some(command) => format!("mark it with `{command}` and {flag}"),
        };
        self.refused().because(causes.join("; ")).hint(hint)
    }

    fn refused(&self) -> Error {
        Error::new(Kind::Refused, format!("{} is not marked as a development database", self.target))
    }
}

/// `penumbra@HOST:PORT`.
fn placed(endpoint: &Endpoint) -> String {
    format!("{}@{}", endpoint.database, endpoint.place())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::config::Locations;
    use crate::config::source;
    use crate::config::target;

    #[test]
    fn the_name_is_what_the_source_is_not_called() {
        let local = "postgres://a:p@localhost/shelf";
        for (from, to, name, flag, others) in [
            ("postgres://a:p@h/books", local, "shelf", "shelf", &["shelf@localhost:5432"][..]),
            ("postgres://a:p@h/shelf", local, "shelf@localhost:5432", "shelf@localhost:5432", &[]),
            (
                "postgres://a:p@localhost:5433/shelf",
                local,
                "shelf@localhost:5432",
                "shelf@localhost:5432",
                &[],
            ),
            (
                "postgres://a:p@h/shelf",
                "postgres://a@[::1]:6543/shelf",
                "shelf@[::1]:6543",
                "'shelf@[::1]:6543'",
                &[],
            ),
            ("postgres://a:p@h/-x", "postgres://a@/-x?host=/tmp", "-x@/tmp:5432", "=-x@/tmp:5432", &[]),
            (
                "postgres://a:p@h/b",
                "postgres://a@h/it's%20mine",
                "it's mine",
                "\"it's mine\"",
                &["it's mine@h:5432"],
            ),
            // As at Prisma's, where every database is called the same.
            ("postgres://a:p@h/shelf", "postgres://b:p@h/shelf", "b@h:5432/shelf", "b@h:5432/shelf", &[]),
        ] {
            let variables = [("DEWEY_SOURCE_DATABASE_URL", from), ("DEWEY_TARGET_DATABASE_URL", to)];
            let (nowhere, variables) = (Locations::default(), Environment::from_iter(variables));
            let [source, target] =
                [source(&nowhere, &variables), target(&nowhere, &variables)].map(Result::unwrap);
            let ends = Ends { target: &target, source: Some(&source) };
            assert_eq!(ends.name(), name, "{from} {to}");
            assert!(
                ends.flag().contains(&format!("{flag}`, only if this is not production")),
                "{}",
                ends.flag()
            );
            for text in [name].iter().chain(others) {
                assert!(ends.check_typed(text).is_ok(), "{text}");
            }
            for text in ["", "shelf@h:5432", "y", "books", source.database.as_str()] {
                assert!(ends.check_typed(text).is_err(), "{text} {from} {to}");
            }
            // Without a source there is nothing to be told from.
            assert!(Ends { target: &target, source: None }.check_typed(&target.database).is_ok());
        }
    }
}
