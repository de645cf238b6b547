//! Guard: the session has no setting that would make reading or writing books something else.
//!
//! Every transaction sets for itself what its role may set; see [`settings`](crate::postgres::settings). What is left are
//! settings that a superuser gave to the server, the database or the role, such as `session_replication_role = replica`, with
//! which a deletion cascades nowhere. To a transaction they are an error; this guard says it beforehand, and what mends it.

use crate::config::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::preflight::catalog::{Facts, Unsettled};

/// # Errors
/// [`Kind::Refused`] with each setting, where it comes from and what mends it.
pub fn check(endpoint: &Endpoint, facts: &Facts) -> Result<()> {
    let unsettled = facts.settings.as_deref().unwrap_or_default();
    if unsettled.is_empty() {
        return Ok(());
    }
    let (found, mended): (Vec<String>, Vec<String>) =
        unsettled.iter().map(|setting| setting.explained(endpoint)).unzip();
    Err(Error::new(Kind::Refused, format!("could not use a session of the {}, {endpoint}", endpoint.side))
        .because(found.join("; "))
        .hint(mended.join("; ")))
}

impl Unsettled {
    /// What was found, and what mends it.
    fn explained(&self, endpoint: &Endpoint) -> (String, String) {
        let Self { name, value, wanted, source, role, database } = self;
        let origin = endpoint.origin.quoted();
        let run = |statement: String| format!("run `{statement}` as a superuser");
        let (whose, mended) = match source.as_str() {
            "database" => (
                format!("of the database {database}"),
                run(format!("ALTER DATABASE {database} RESET {name}")),
            ),
            "user" => (format!("of the role {role}"), run(format!("ALTER ROLE {role} RESET {name}"))),
            "database user" => (
                format!("of the role {role} in the database {database}"),
                run(format!("ALTER ROLE {role} IN DATABASE {database} RESET {name}")),
            ),
            "global" => ("of all roles".into(), run(format!("ALTER ROLE ALL RESET {name}"))),
            "client" => (format!("of the URL in {origin}"), format!("remove `{name}` from its `options`")),
            "session" => (
                "of a pooler's session, where another client left it".into(),
                format!("have the pooler reset its sessions, or name the server itself in {origin}"),
            ),
            _ => (
                "of the server's configuration".into(),
                run(format!("ALTER DATABASE {database} SET {name} = {wanted}")),
            ),
        };
        (format!("`{name}` is `{value}`, a setting {whose}, and has to be `{wanted}`"), mended)
    }
}
