//! A first connection was not to be had: why, and which part of the URL or the server to change.

use crate::config::{Endpoint, Side};
use crate::error::{Error, Kind};
use crate::postgres::{Fault, Origin, Server, identifier};

/// The error of a first connection to `endpoint`.
pub(crate) fn connect_error(fault: Fault, endpoint: &Endpoint) -> Error {
    // Whatever else a server says to a connection, the URL asked for it.
    let kind = match fault.kind_at_start() {
        Kind::NotCompleted => Kind::Usage,
        kind => kind,
    };
    let hint = hint(&fault, endpoint);
    Error::new(kind, format!("could not connect to the {}, {endpoint}", endpoint.side))
        .because(fault)
        .hint(hint)
}

/// The error when the pooler in front of `server` does not lend out what a run needs.
pub(crate) fn pool_too_small(fault: Fault, server: &Server) -> Error {
    let endpoint = server.endpoint();
    // What a pooler does not lend out now it will not lend out later.
    let is_refused = fault.is_protocol_violation() && !fault.is_of_absent_server();
    let kind = if is_refused { Kind::Usage } else { fault.kind_at_start() };
    Error::new(kind, format!("could not work through the pooler of the {}, {endpoint}", endpoint.side))
        .because(fault)
        .hint(format!(
            "a run needs {} connections at once, each for a whole transaction: enlarge the pooler's pool, or name the \
             server itself in {}",
            server.connections_min(),
            endpoint.origin.quoted()
        ))
}

fn hint(fault: &Fault, endpoint: &Endpoint) -> String {
    let origin = endpoint.origin.quoted();
    match (&fault.origin, fault.sqlstate()) {
        (Origin::Tls, _) => tls(&fault.to_string(), endpoint),
        (_, Some("28P01" | "28000")) => credentials(&fault.to_string(), endpoint),
        (_, Some("3D000")) if endpoint.side == Side::Target => {
            format!("check the database's name in {origin}, or create it")
        }
        (_, Some("3D000")) => format!("check the database's name in {origin}"),
        (_, Some("58P01")) => format!(
            "the server cannot load a library that `session_preload_libraries` or `local_preload_libraries` names for the role \
             or the database: run `ALTER ROLE {user} RESET session_preload_libraries`, or the same for `ALTER DATABASE`",
            user = identifier(&endpoint.user)
        ),
        (Origin::Client, _) => format!("check the URL in {origin}"),
        (_, Some(_)) if !fault.is_of_absent_server() => format!("check the URL in {origin}"),
        _ => match supabase_project(&endpoint.host) {
            Some(project) => format!(
                "Supabase's direct hosts have IPv6 addresses only; where there is no IPv6, name its session pooler in \
                 {origin}: host `aws-0-REGION.pooler.supabase.com`, port 5432, user `{}.{project}`",
                endpoint.user
            ),
            None => format!("check host and port in {origin}, and that the server runs and is reachable"),
        },
    }
}

/// The words are those of the driver and its TLS library.
fn tls(said: &str, endpoint: &Endpoint) -> String {
    let origin = endpoint.origin.quoted();
    if said.contains("does not support TLS") {
        let rule = if endpoint.is_local() {
            ""
        } else {
            "a host elsewhere is not spoken to in plain text unasked; "
        };
        return format!(
            "{rule}turn TLS on there, or add `sslmode=disable` in {origin} to do without encryption"
        );
    }
    if said.contains("not valid for name") {
        return format!(
            "connect by a name that the certificate holds, or use `sslmode=verify-ca` in {origin}, which asks for no name"
        );
    }
    if said.contains("unknown authority") {
        return format!(
            "let `sslrootcert=FILE` in {origin} name the certificate of the authority that issued it"
        );
    }
    if said.contains("received fatal alert") {
        return format!(
            "the server does not accept the client's certificate: check `sslcert` and `sslkey` in {origin}"
        );
    }
    format!("check `sslmode` and the files that `sslrootcert`, `sslcert` and `sslkey` name in {origin}")
}

/// The words are PostgreSQL's, where its messages are English.
fn credentials(said: &str, endpoint: &Endpoint) -> String {
    let origin = endpoint.origin.quoted();
    if endpoint.has_client_certificate() {
        return format!(
            "check user and password in {origin}; the certificate of `sslcert` has to be this user's"
        );
    }
    if said.contains("client certificate") {
        return format!("add `sslcert=FILE&sslkey=FILE` in {origin}");
    }
    if said.contains("no encryption") || said.contains("SSL off") {
        return format!("the server may want encryption: try `sslmode=require` in {origin}");
    }
    if said.contains("pg_hba.conf") {
        return format!("check user and database in {origin}, and the server's `pg_hba.conf`");
    }
    format!("check user and password in {origin}")
}

/// The project of `db.PROJECT.supabase.co`.
fn supabase_project(host: &str) -> Option<&str> {
    let project = host.strip_prefix("db.")?.strip_suffix(".supabase.co")?;
    Some(project).filter(|project| !project.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::Environment;
    use crate::config::Locations;

    fn check(url: &str, fault: Fault) -> String {
        let environment: Environment = [("DEWEY_SOURCE_DATABASE_URL", url)].into_iter().collect();
        let endpoint = config::source(&Locations::default(), &environment).unwrap();
        let error = connect_error(fault, &endpoint);
        format!(
            "{error}\ncaused by: {}\nhint: {}",
            error.causes().join("; "),
            error.hint.as_deref().unwrap_or_default()
        )
    }

    fn unknown_host() -> Fault {
        Fault::of(Origin::Io, "unknown host: Name or service not known")
    }

    #[test]
    fn supabases_direct_hosts_have_a_pooler_for_who_has_no_ipv6() {
        let url = "postgres://postgres:hunter2@db.abcdefghijklmnopqrst.supabase.co:5432/postgres";
        insta::assert_snapshot!(check(url, unknown_host()), @"
        could not connect to the source, postgres at db.abcdefghijklmnopqrst.supabase.co
        caused by: unknown host: Name or service not known
        hint: Supabase's direct hosts have IPv6 addresses only; where there is no IPv6, name its session pooler in `DEWEY_SOURCE_DATABASE_URL` in the environment: host `aws-0-REGION.pooler.supabase.com`, port 5432, user `postgres.abcdefghijklmnopqrst`
        ");
        let refused = check(url, Fault::of(Origin::Deadline, "no answer within 10s"));
        assert!(refused.contains("session pooler"), "{refused}");
        for host in ["db.example.org", "aws-0-eu-west-1.pooler.supabase.com", "db.a.b.supabase.co"] {
            let said = check(&format!("postgres://u:p@{host}/db"), unknown_host());
            assert!(said.contains("hint: check host and port in"), "{said}");
        }
    }
}
