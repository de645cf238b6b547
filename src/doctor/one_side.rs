//! What can be said of one side without the other.

use std::time::{Duration, Instant};

use super::findings::{About, Diagnosis};
use crate::dependents::uncounted::NOT_COUNTED;
use crate::error::Result;
use crate::postgres::Server;
use crate::preflight;
use crate::preflight::catalog::{Facts, SideFacts};
use crate::preflight::guard::rights::{self, Needs};
use crate::preflight::guard::{hidden_rows, kind, schema, settings, triggers};

/// How long a connection took to open.
pub(crate) async fn reach(server: &Server) -> Result<Duration> {
    let began = Instant::now();
    preflight::reach(server).await?;
    Ok(began.elapsed())
}

pub(crate) fn reached(diagnosis: &mut Diagnosis, about: About, took: Result<Duration>) -> bool {
    let took = diagnosis.taken(about, "connection", took);
    if let Some(took) = took {
        diagnosis.fine(about, "connection", format!("opened in {} ms", took.as_millis()));
    }
    took.is_some()
}

pub(crate) fn source(diagnosis: &mut Diagnosis, server: &Server, facts: &Facts) {
    common(diagnosis, About::Source, server, facts);
    let role = &facts.role;
    if facts.can_write == Some(true) {
        let fix = "the README has the SQL for a role that may only SELECT";
        let found = format!("`{role}` may change books; every transaction is read-only all the same");
        diagnosis.note(About::Source, "role", found, Some(fix.into()));
    } else {
        diagnosis.fine(About::Source, "role", format!("`{role}` cannot change a book"));
    }
    let held =
        if server.lacks_startup_options() { "each transaction" } else { "the session and each transaction" };
    let kind = if facts.in_recovery { "a standby" } else { "a primary" };
    diagnosis.fine(About::Source, "read-only", format!("{held}; {kind}"));
}

pub(crate) fn target(diagnosis: &mut Diagnosis, server: &Server, facts: &Facts) {
    common(diagnosis, About::Target, server, facts);
    let found = format!("`{}` has those that a sync needs", facts.role);
    diagnosis.check(About::Target, "rights", found, rights::check(server.endpoint(), facts, Needs::Writing));
    let keys = facts.foreign_keys.as_deref().unwrap_or_default();
    diagnosis.check_silent(About::Target, "foreign keys", triggers::check(keys));
    if !facts.track_counts {
        diagnosis.note(About::Target, "statistics", NOT_COUNTED, None);
    }
    if let Some(told) = triggers::told(facts) {
        diagnosis.note(About::Target, "triggers", told, None);
    }
}

fn common(diagnosis: &mut Diagnosis, about: About, server: &Server, facts: &Facts) {
    let side = SideFacts { endpoint: server.endpoint(), facts };
    diagnosis.check_silent(about, "identity", rights::check_identity(server.endpoint(), facts));
    let found = format!("PostgreSQL {}, {}", facts.version, facts.encoding);
    diagnosis.check(about, "server", found, schema::version(side));
    match (facts.tls, server.endpoint().is_local()) {
        (Some(true), _) => diagnosis.fine(about, "encryption", "TLS"),
        (_, true) => diagnosis.fine(about, "encryption", "none, on this machine"),
        (_, false) => {
            let fix = "remove `sslmode=disable` from the URL, if the server knows TLS";
            diagnosis.note(about, "encryption", "none over a network", Some(fix.into()));
        }
    }
    if server.lacks_startup_options() {
        let found = "a pooler; settings are made in each transaction, and none at the start of a session";
        diagnosis.note(about, "pooler", found, None);
    }
    diagnosis.check(about, "settings", "as they have to be", settings::check(server.endpoint(), facts));
    diagnosis.check_silent(about, "rights", rights::check(server.endpoint(), facts, Needs::Finding));
    diagnosis.check(
        about,
        "tables",
        "the application's",
        schema::tables(side).and_then(|()| kind::check(server.endpoint(), facts)),
    );
    diagnosis.check(
        about,
        "policies",
        "none that could hide rows",
        hidden_rows::check(server.endpoint(), facts),
    );
}
