//! A URL's text becomes its parts.
//!
//! Invariant: a part is shown elsewhere (host, database, names of parameters) only if no reading of the
//! text could make it a piece of the password. So the text is cut by hand and strictly: a lenient parser
//! reads `u:pa/ss@host/db` as the host `u` and shows `ss@host/db` as the database.

use std::num::NonZeroU16;

use ::url::Host;
use secrecy::SecretString;

use super::parameters::{self, Parameters, Tls};
use super::problem::Problem;

/// Where a server listens unless the URL says otherwise.
pub(super) const DEFAULT_PORT: u16 = 5432;
const HTTP_SCHEMES: [&str; 2] = ["prisma", "prisma+postgres"];

/// Schemes that are named in an error; of any other text not even the beginning is shown.
const OTHER_SCHEMES: [&str; 13] = [
    "cockroachdb",
    "file",
    "http",
    "https",
    "jdbc",
    "libsql",
    "mariadb",
    "mongodb",
    "mongodb+srv",
    "mysql",
    "redis",
    "sqlite",
    "sqlserver",
];

/// The host of Prisma's own databases, and what the names of its poolers and regions end in.
const PRISMAS_HOST: &str = "db.prisma.io";

/// What the URLs mean that Prisma's console gives out for that host, which name no database.
const PRISMAS_DATABASE: &str = "postgres";

/// What a URL says, decoded.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) user: String,
    pub(super) password: Option<SecretString>,
    /// A name, an address without brackets, or the absolute path of a socket's directory.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) parameters: Parameters,
    pub(super) tls: Tls,
}

/// Whether the URL is one of Prisma's, which only its own client understands.
pub(super) fn is_http(url: &str) -> bool {
    scheme(url).is_some_and(|(scheme, _)| HTTP_SCHEMES.contains(&scheme.as_str()))
}

/// Cuts a URL into its parts, without filling a gap from anywhere.
///
/// As in Prisma, the last `@` before the path ends the password; any later one means that the password has a
/// raw `/`, `?` or `#`.
pub(super) fn parse(url: &str) -> Result<Parts, Problem> {
    let rest = postgres(url)?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if tail.contains(['@', '#']) {
        return Err(Problem::Unescaped);
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (credentials, address) = authority.rsplit_once('@').ok_or(Problem::Missing("user"))?;
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let user = named("user", decoded("user", user)?)?;
    let password = Some(decoded("password", password)?).filter(|password| !password.is_empty());

    let (parameters, certificates) = parameters::parse(query)?;
    let (host, port) = cut_port(address)?;
    let host = match &parameters.host {
        Some(host) => valid_host(host.clone())?,
        None => valid_host(decoded("host", host)?)?,
    };
    let port = match parameters.port.as_deref().unwrap_or(port) {
        "" => DEFAULT_PORT,
        port => port.parse::<NonZeroU16>().map_err(|_| Problem::Port)?.get(),
    };
    let database = path.strip_prefix('/').unwrap_or(path);
    if database.contains('/') {
        return Err(Problem::Unescaped);
    }
    let database = match decoded("database", database)? {
        none if none.is_empty() && is_prismas(&host) => PRISMAS_DATABASE.to_owned(),
        database => named("database", database)?,
    };
    let tls = certificates.resolve(&host)?;
    Ok(Parts { user, password: password.map(SecretString::from), host, port, database, parameters, tls })
}

/// One of Prisma's own databases, `db.prisma.io` or beneath it.
fn is_prismas(host: &str) -> bool {
    let before = host.trim_end_matches('.').strip_suffix(PRISMAS_HOST);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The pooler in front of Prisma's own databases, `pooled.db.prisma.io`.
pub(super) fn is_prismas_pooler(host: &str) -> bool {
    is_prismas(host) && host.split('.').any(|label| label == "pooled")
}

fn scheme(url: &str) -> Option<(String, &str)> {
    url.trim().split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
}

/// What follows `postgres://`.
fn postgres(url: &str) -> Result<&str, Problem> {
    let (scheme, rest) = scheme(url).ok_or(Problem::NoScheme)?;
    if HTTP_SCHEMES.contains(&scheme.as_str()) {
        return Err(Problem::Http);
    }
    if let Some(name) = OTHER_SCHEMES.into_iter().find(|name| *name == scheme) {
        return Err(Problem::Scheme(name));
    }
    let rest = rest.strip_prefix("//").filter(|_| matches!(scheme.as_str(), "postgres" | "postgresql"));
    rest.ok_or(Problem::NoScheme)
}

/// The host without brackets, and the port's text or nothing.
fn cut_port(address: &str) -> Result<(&str, &str), Problem> {
    match address.find(']') {
        Some(end) => match address[end + 1..].strip_prefix(':') {
            Some(port) => Ok((&address[..=end], port)),
            None if address.ends_with(']') => Ok((address, "")),
            None => Err(Problem::Host),
        },
        None => Ok(address.rsplit_once(':').unwrap_or((address, ""))),
    }
}

fn valid_host(host: String) -> Result<String, Problem> {
    let host = named("host", host)?;
    if host.starts_with('/') {
        return Ok(host);
    }
    match Host::parse(&host) {
        // PostgreSQL's own tools read a comma as a list of servers; a sync has exactly one.
        Ok(Host::Domain(name)) if !name.contains(',') => Ok(name),
        Ok(Host::Ipv4(address)) => Ok(address.to_string()),
        Ok(Host::Ipv6(address)) => Ok(address.to_string()),
        _ => Err(Problem::Host),
    }
}

fn named(part: &'static str, text: String) -> Result<String, Problem> {
    if text.is_empty() { Err(Problem::Missing(part)) } else { Ok(text) }
}

/// Percent-decodes strictly: a `%` that begins no escape is an error, as are control characters, which could
/// end a string of the protocol or steer a terminal.
fn decoded(part: &'static str, text: &str) -> Result<String, Problem> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(Problem::Unescaped)?;
        bytes.push(byte);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => Ok(text),
        _ => Err(Problem::Unprintable(part)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// `user password host:port database`, or the problem.
    fn read(url: &str) -> String {
        match parse(url) {
            Ok(parts) => {
                let Parts { user, password, host, port, database, .. } = &parts;
                let password = password.as_ref().map_or("-", |password| password.expose_secret());
                format!("{user} {password} {host} {port} {database}")
            }
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn hosted_urls_and_their_parts() {
        for (url, parts) in [
            (
                "postgresql://neondb_owner:npg_x1@ep-cool-1a2b.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
                "neondb_owner npg_x1 ep-cool-1a2b.eu-central-1.aws.neon.tech 5432 neondb",
            ),
            (
                "postgres://default:v3@ep-cool-1a2b-pooler.us-east-1.aws.neon.tech:5432/verceldb?pgbouncer=true&connect_timeout=15&sslmode=require",
                "default v3 ep-cool-1a2b-pooler.us-east-1.aws.neon.tech 5432 verceldb",
            ),
            (
                "postgres://postgres.abcd:pw@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?supa=base-pooler.x",
                "postgres.abcd pw aws-0-eu-central-1.pooler.supabase.com 6543 postgres",
            ),
            (
                "postgresql://postgres:pw@db.abcd.supabase.co:5432/postgres",
                "postgres pw db.abcd.supabase.co 5432 postgres",
            ),
            (
                "postgres://admin:pw@books.c1.eu-west-1.rds.amazonaws.com:5433/books",
                "admin pw books.c1.eu-west-1.rds.amazonaws.com 5433 books",
            ),
            (
                "postgres://0123abcd:sk_x@db.prisma.io:5432/?sslmode=require",
                "0123abcd sk_x db.prisma.io 5432 postgres",
            ),
            ("postgres://u:p@Pooled.DB.prisma.io?pool=true", "u p pooled.db.prisma.io 5432 postgres"),
            ("postgres://u:p@/?host=db.prisma.io.", "u p db.prisma.io. 5432 postgres"),
            ("postgres://u:p@db.prisma.io/mine", "u p db.prisma.io 5432 mine"),
            (" POSTGRES://u:p@LOCALHOST/db\n", "u p localhost 5432 db"),
            ("postgres://u@my_db:/db", "u - my_db 5432 db"),
            ("postgres://u:@h/db", "u - h 5432 db"),
            ("postgres://u:p@[::1]:5433/db", "u p ::1 5433 db"),
            ("postgres://u:p@[::1]/db", "u p ::1 5432 db"),
            ("postgres://u:p@localhost/db?host=/var/run/postgresql", "u p /var/run/postgresql 5432 db"),
            ("postgres://u:p@/db?host=/tmp&port=5433", "u p /tmp 5433 db"),
            ("postgres://u:p@%2Fvar%2Frun:5434/db", "u p /var/run 5434 db"),
            ("postgres://u:p@ss:w@h/db", "u p@ss:w h 5432 db"),
            ("postgres://a%40b:%2F%3f%23%25%40%C3%A4@h/d%2Fb%20c", "a@b /?#%@ä h 5432 d/b c"),
        ] {
            assert_eq!(read(url), parts, "{url}");
        }
    }

    #[test]
    fn nothing_is_filled_in_and_nothing_guessed() {
        let unescaped = Problem::Unescaped.to_string();
        for (url, problem) in [
            ("postgres://h/db", "it names no user"),
            ("postgres://:p@h/db", "it names no user"),
            ("postgres://u:p@/db", "it names no host"),
            ("postgres://u:p@:5432/db", "it names no host"),
            ("postgres://u:p@h", "it names no database"),
            ("postgres://u:p@h/?schema=public", "it names no database"),
            ("postgres://u:p@not-db.prisma.io/", "it names no database"),
            ("postgres://u:p@db.prisma.io.example.org/", "it names no database"),
            ("postgres://@db.prisma.io/", "it names no user"),
            ("postgres://u:pa/ss@h/db", &unescaped),
            ("postgres://u:12/ss@h/db", &unescaped),
            ("postgres://u:p@a/ss@h/db", &unescaped),
            ("postgres://u:pa#ss@h/db", &unescaped),
            ("postgres://u:pa?ss@h/db", &unescaped),
            ("postgres://u:pa%ss@h/db", &unescaped),
            ("postgres://u:pa%4@h/db", &unescaped),
            ("postgres://u:pa%+4@h/db", &unescaped),
            ("postgres://u:p%ä@h/db", &unescaped),
            ("postgres://u:p@h/db#1", &unescaped),
            ("postgres://u:p@h/db/x", &unescaped),
            ("postgres://u:%ff@h/db", "its password has a control character or is not UTF-8"),
            ("postgres://u:p%00@h/db", "its password has a control character or is not UTF-8"),
            ("postgres://u:p@h/d%1Bb", "its database has a control character or is not UTF-8"),
            ("postgres://u:p@a,b/db", "its host is neither one name nor one address"),
            ("postgres://u:p@::1/db", "its host is neither one name nor one address"),
            ("postgres://u:p@[::1]5432/db", "its host is neither one name nor one address"),
            ("postgres://u:p@h:x/db", "its port is not a number from 1 to 65535"),
            ("postgres://u:p@h:0/db", "its port is not a number from 1 to 65535"),
            ("postgres://u:p@h:65536/db", "its port is not a number from 1 to 65535"),
            (
                "prisma+postgres://localhost:51213/?api_key=x",
                "it is a Prisma URL, which is spoken to over HTTP",
            ),
            ("mysql://u:p@h/db", "it is a `mysql:` URL"),
            ("file:./dev.db", "it is a `file:` URL"),
            ("postgres:u:p@h/db", "it does not begin with `postgres://` or `postgresql://`"),
            ("u:p@h/db", "it does not begin with `postgres://` or `postgresql://`"),
            ("db", "it does not begin with `postgres://` or `postgresql://`"),
        ] {
            assert_eq!(read(url), problem, "{url}");
        }
    }
}
