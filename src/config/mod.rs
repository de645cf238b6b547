//! Files and environment become validated endpoints: where a side is, as whom, and who said so.
//!
//! Invariants: a side never takes what was meant for the other one, nothing but the URL says where to
//! connect, and a secret leaves this module only inside the options of a connection.

mod color;
pub mod decided;
mod endpoint;
mod env_file;
mod environment;
pub mod host;
pub mod locations;
pub mod mapping;
mod options;
mod origin;
mod parameters;
mod problem;
#[cfg(test)]
mod secrets;
pub mod side;
mod url;

use std::path::Path;

use crate::error::{Error, Kind, Result};
pub use endpoint::Endpoint;
use env_file::EnvFile;
pub use environment::Environment;
pub use locations::Locations;
pub use mapping::{Mapping, mapping, owner_lines};
pub use origin::Origin;
use origin::{APPLICATION_KEY, Place};
use problem::{Problem, SHAPE};
pub use side::Side;

/// Where the application keeps the direct URL when [`APPLICATION_KEY`] goes through Prisma's HTTP proxy.
const DIRECT_KEYS: [&str; 3] = ["DEWEY_DB_DIRECT_URL", "DIRECT_URL", "DIRECT_DATABASE_URL"];

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
mod tests;
