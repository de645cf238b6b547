//! Files and environment become validated endpoints: where a side is, as whom, and who said so.
//!
//! Invariants: a side never takes what was meant for the other one, nothing but the URL says where to
//! connect, and a secret leaves this module only inside the options of a connection.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use endpoint::Endpoint;
pub use environment::Environment;
pub use mapping::{Mapping, mapping, owner_lines};
pub use origin::Origin;

use crate::error::{Error, Kind, Result};
use env_file::EnvFile;
use origin::Place;
use problem::{Problem, SHAPE};

mod color;
mod endpoint;
mod env_file;
mod environment;
pub mod mapping;
mod options;
mod origin;
mod parameters;
mod problem;
#[cfg(test)]
mod secrets;
mod url;

/// The application's own key; in the environment it is the target's, as in CI.
const APPLICATION_KEY: &str = "DEWEY_DB_DATABASE_URL";

/// Where the application keeps the direct URL when [`APPLICATION_KEY`] goes through Prisma's HTTP proxy.
const DIRECT_KEYS: [&str; 3] = ["DEWEY_DB_DIRECT_URL", "DIRECT_URL", "DIRECT_DATABASE_URL"];

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
    const fn key(self) -> &'static str {
        match self {
            Self::Source => "DEWEY_SOURCE_DATABASE_URL",
            Self::Target => "DEWEY_TARGET_DATABASE_URL",
        }
    }

    const fn file_name(self) -> &'static str {
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

/// Where the env files are.
#[derive(Debug, Clone, Default)]
pub struct Locations {
    /// The directory of `.env.production` and `.env`; empty is the current one.
    pub dir: PathBuf,
    /// Read instead of `.env.production`; relative to the current directory, not to `dir`.
    pub source_env: Option<PathBuf>,
    /// Read instead of `.env`; relative to the current directory, not to `dir`.
    pub target_env: Option<PathBuf>,
}

impl Locations {
    fn env_file(&self, side: Side) -> PathBuf {
        let given = match side {
            Side::Source => &self.source_env,
            Side::Target => &self.target_env,
        };
        given.clone().unwrap_or_else(|| self.beside_env_files(side.file_name()))
    }

    fn beside_env_files(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path)
    }
}

/// The source: `DEWEY_SOURCE_DATABASE_URL` of the environment, else `.env.production`.
///
/// # Errors
/// [`Kind::Usage`] with the line to add: no URL, or one that cannot be used as it stands.
pub fn source(locations: &Locations, environment: &Environment) -> Result<Endpoint> {
    endpoint(Side::Source, locations, environment)
}

/// The target: `DEWEY_TARGET_DATABASE_URL`, then `DEWEY_DB_DATABASE_URL` of the environment, else `.env`.
///
/// # Errors
/// [`Kind::Usage`] with the line to add: no URL, or one that cannot be used as it stands.
pub fn target(locations: &Locations, environment: &Environment) -> Result<Endpoint> {
    endpoint(Side::Target, locations, environment)
}

/// Whether anything says where `side` is, be it usable or not.
pub fn is_configured(side: Side, locations: &Locations, environment: &Environment) -> bool {
    let named = environment.get(side.key()).is_some();
    named
        || (side == Side::Target && environment.get(APPLICATION_KEY).is_some())
        || locations.env_file(side).exists()
}

fn endpoint(side: Side, locations: &Locations, environment: &Environment) -> Result<Endpoint> {
    if let Some(url) = environment.get(side.key()) {
        return validated(side, Origin { key: side.key(), place: Place::Environment }, url, environment);
    }
    if side == Side::Target
        && let Some((key, url)) = applications_url(|key| Ok(environment.get(key)))?
    {
        return validated(side, Origin { key, place: Place::Environment }, url, environment);
    }
    let path = locations.env_file(side);
    let file = EnvFile::read(&path).map_err(|cause| {
        let error = Error::new(Kind::Usage, format!("could not read `{}`", path.display()));
        let error = match cause.kind() {
            std::io::ErrorKind::NotFound => error.because("there is no such file"),
            _ => error.because(cause),
        };
        error.hint(line_to_add(side, &path))
    })?;
    let missing = |cause: String| {
        let doing = format!("could not read the {side}'s URL from `{}`", path.display());
        Error::new(Kind::Usage, doing).because(cause)
    };
    match applications_url(|key| {
        file.get(key).map_err(|problem| missing(problem.to_string()).hint(problem.hint()))
    })? {
        Some((key, url)) => validated(side, Origin { key, place: Place::File(path) }, url, environment),
        None => {
            Err(missing(format!("it has no `{APPLICATION_KEY}`, or an empty one"))
                .hint(line_to_add(side, &path)))
        }
    }
}

/// The application's URL, or the direct one of the same place if that is HTTP.
///
/// The keys named after a side have no direct companions: they are this tool's own, so they can simply hold
/// the direct URL, and `DIRECT_URL` in the environment might belong to something else.
fn applications_url<'a>(
    get: impl Fn(&'static str) -> Result<Option<&'a str>>,
) -> Result<Option<(&'static str, &'a str)>> {
    let Some(first) = get(APPLICATION_KEY)? else { return Ok(None) };
    if url::is_http(first) {
        for key in DIRECT_KEYS {
            if let Some(direct) = get(key)?.filter(|direct| !url::is_http(direct)) {
                return Ok(Some((key, direct)));
            }
        }
    }
    Ok(Some((APPLICATION_KEY, first)))
}

fn validated(side: Side, origin: Origin, url: &str, environment: &Environment) -> Result<Endpoint> {
    let parsed = url::parse(url).and_then(|parts| {
        environment.adds_nothing_to(&parts)?;
        if side == Side::Target && parts.parameters.read_only {
            return Err(Problem::Overridden("default_transaction_read_only"));
        }
        Ok(parts)
    });
    match parsed {
        Ok(parts) => Ok(Endpoint::new(side, origin, parts)),
        Err(problem) => {
            let doing = format!("could not use the {side}'s URL from {}", origin.quoted());
            let hint = match problem {
                Problem::Http => http_hint(&origin),
                _ => problem.hint(),
            };
            Err(Error::new(Kind::Usage, doing).because(problem).hint(hint))
        }
    }
}

fn http_hint(origin: &Origin) -> String {
    match &origin.place {
        Place::Environment if origin.key == APPLICATION_KEY => {
            format!("set `{}` to `{SHAPE}` as well", DIRECT_KEYS[0])
        }
        Place::Environment => format!("set `{}` to `{SHAPE}`", origin.key),
        Place::File(path) => format!("add `{}={SHAPE}` to `{}`", DIRECT_KEYS[0], path.display()),
    }
}

fn line_to_add(side: Side, path: &Path) -> String {
    format!("add `{APPLICATION_KEY}={SHAPE}` to `{}`, or set `{}`", path.display(), side.key())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "postgres://u:p@file.example.org/file";

    /// A directory with both env files, each with the given text.
    fn files(source: &str, target: &str) -> (tempfile::TempDir, Locations) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".env.production"), source).unwrap();
        fs::write(dir.path().join(".env"), target).unwrap();
        let locations = Locations { dir: dir.path().to_path_buf(), ..Locations::default() };
        (dir, locations)
    }

    /// The error as it is shown, with the directory of the test as `DIR`.
    fn shown(error: &Error, dir: &Path) -> String {
        let text = format!(
            "error: {error}\ncaused by: {}\nhint: {}",
            error.causes().join("; "),
            error.hint.as_deref().unwrap_or_default()
        );
        assert_eq!(error.kind, Kind::Usage);
        text.replace(&dir.display().to_string(), "DIR")
    }

    #[test]
    fn the_key_named_after_a_side_wins_then_the_applications_for_the_target_only() {
        let line = format!("DEWEY_DB_DATABASE_URL={FILE}\n");
        let (_dir, locations) = files(&line, &line);
        let own = "postgres://u:p@own.example.org/own";
        let applications = "postgres://u:p@app.example.org/app";
        for (keys, source_host, target_host) in [
            (&[][..], "file.example.org", "file.example.org"),
            (&[("DEWEY_SOURCE_DATABASE_URL", own)], "own.example.org", "file.example.org"),
            (&[("DEWEY_TARGET_DATABASE_URL", own)], "file.example.org", "own.example.org"),
            (&[("DEWEY_DB_DATABASE_URL", applications)], "file.example.org", "app.example.org"),
            (
                &[("DEWEY_TARGET_DATABASE_URL", own), ("DEWEY_DB_DATABASE_URL", applications)],
                "file.example.org",
                "own.example.org",
            ),
            (&[("DEWEY_TARGET_DATABASE_URL", " ")], "file.example.org", "file.example.org"),
        ] {
            let environment = keys.iter().copied().collect();
            assert_eq!(source(&locations, &environment).unwrap().host, source_host, "{keys:?}");
            assert_eq!(target(&locations, &environment).unwrap().host, target_host, "{keys:?}");
        }
    }

    #[test]
    fn a_given_file_replaces_only_its_own_default() {
        let (dir, mut locations) = files(&format!("DEWEY_DB_DATABASE_URL={FILE}"), "");
        let other = dir.path().join("other");
        fs::write(&other, "DEWEY_DB_DATABASE_URL=postgres://u:p@other.example.org/db").unwrap();
        locations.target_env = Some(other.clone());
        let environment = Environment::default();
        assert_eq!(source(&locations, &environment).unwrap().host, "file.example.org");
        let target = target(&locations, &environment).unwrap();
        assert_eq!(
            (target.host.as_str(), target.origin.to_string()),
            ("other.example.org", other.display().to_string())
        );
    }

    #[test]
    fn files_of_the_current_directory_are_shown_by_their_name() {
        for dir in ["", "."] {
            let locations = Locations { dir: dir.into(), ..Locations::default() };
            assert_eq!(locations.env_file(Side::Source), Path::new(".env.production"));
        }
    }

    #[test]
    fn a_prisma_url_gives_way_to_the_direct_one_beside_it() {
        let prisma = "DEWEY_DB_DATABASE_URL=prisma://accelerate.prisma-data.net/?api_key=k\n";
        for (more, key) in [
            ("DIRECT_URL=postgres://u:p@h/db", "DIRECT_URL"),
            (
                "DIRECT_URL=postgres://u:p@x/db\nDEWEY_DB_DIRECT_URL=postgres://u:p@h/db",
                "DEWEY_DB_DIRECT_URL",
            ),
            ("DEWEY_DB_DIRECT_URL=prisma+postgres://x/\nDIRECT_URL=postgres://u:p@h/db", "DIRECT_URL"),
            ("DIRECT_DATABASE_URL=postgres://u:p@h/db", "DIRECT_DATABASE_URL"),
            ("DIRECT_DATABASE_URL=postgres://u:p@x/db\nDIRECT_URL=postgres://u:p@h/db", "DIRECT_URL"),
            (
                "DEWEY_DB_DIRECT_URL=\nDIRECT_URL=''\nDIRECT_DATABASE_URL=postgres://u:p@h/db",
                "DIRECT_DATABASE_URL",
            ),
        ] {
            let (dir, locations) = files(&format!("{prisma}{more}"), "");
            // The environment's direct URL is no companion of the file's.
            let environment =
                [("DEWEY_DB_DIRECT_URL", "postgres://u:p@environment/db")].into_iter().collect();
            let source = source(&locations, &environment).unwrap();
            let origin = source.origin.to_string().replace(&dir.path().display().to_string(), "DIR");
            assert_eq!((source.host.as_str(), origin), ("h", format!("{key} in DIR/.env.production")));
        }
        let environment = [
            ("DEWEY_DB_DATABASE_URL", "prisma+postgres://localhost:51213/?api_key=k"),
            ("DIRECT_URL", "postgres://u:p@h/db"),
        ];
        let target = target(&Locations::default(), &environment.into_iter().collect()).unwrap();
        assert_eq!(target.origin.to_string(), "DIRECT_URL in the environment");
    }

    #[test]
    fn a_prisma_url_alone_says_what_to_add() {
        let (dir, locations) = files("DEWEY_DB_DATABASE_URL=prisma://x.net/?api_key=k", "");
        let error = source(&locations, &Environment::default()).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not use the source's URL from `DIR/.env.production`
    caused by: it is a Prisma URL, which is spoken to over HTTP
    hint: add `DEWEY_DB_DIRECT_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env.production`
    ");
        let keys = [("DEWEY_SOURCE_DATABASE_URL", "prisma://x.net/"), ("DIRECT_URL", FILE)];
        let error = source(&locations, &keys.into_iter().collect()).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not use the source's URL from `DEWEY_SOURCE_DATABASE_URL` in the environment
    caused by: it is a Prisma URL, which is spoken to over HTTP
    hint: set `DEWEY_SOURCE_DATABASE_URL` to `postgres://USER:PASSWORD@HOST:5432/DATABASE`
    ");
        let keys = [("DEWEY_DB_DATABASE_URL", "prisma://x.net/")];
        let error = target(&locations, &keys.into_iter().collect()).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not use the target's URL from `DEWEY_DB_DATABASE_URL` in the environment
    caused by: it is a Prisma URL, which is spoken to over HTTP
    hint: set `DEWEY_DB_DIRECT_URL` to `postgres://USER:PASSWORD@HOST:5432/DATABASE` as well
    ");
    }

    #[test]
    fn a_missing_file_or_key_says_what_to_add_for_its_side() {
        let (dir, locations) = files("OTHER=1\nDEWEY_DB_DATABASE_URL=''\n", "");
        fs::remove_file(dir.path().join(".env")).unwrap();
        let environment = Environment::default();
        let error = source(&locations, &environment).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not read the source's URL from `DIR/.env.production`
    caused by: it has no `DEWEY_DB_DATABASE_URL`, or an empty one
    hint: add `DEWEY_DB_DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env.production`, or set `DEWEY_SOURCE_DATABASE_URL`
    ");
        let error = target(&locations, &environment).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not read `DIR/.env`
    caused by: there is no such file
    hint: add `DEWEY_DB_DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env`, or set `DEWEY_TARGET_DATABASE_URL`
    ");
    }

    #[test]
    fn a_value_that_would_not_arrive_as_written_is_refused() {
        let (dir, locations) = files("DEWEY_DB_DATABASE_URL=postgres://u:pa$word@h/db", "A=1\nB='x\nC=2\n");
        let environment = Environment::default();
        let error = source(&locations, &environment).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not read the source's URL from `DIR/.env.production`
    caused by: `$`, quotes or backslashes in `DEWEY_DB_DATABASE_URL` would change its value
    hint: put the value in single quotes, or write `$` as `%24`; it is not expanded
    ");
        let error = target(&locations, &environment).unwrap_err();
        insta::assert_snapshot!(shown(&error, dir.path()), @r"
    error: could not read the target's URL from `DIR/.env`
    caused by: line 2 cannot be read, and lines after it may be lost
    hint: put the value of that line in single quotes
    ");
    }
}
