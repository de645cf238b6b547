//! The parameters of a URL: those of libpq, of Prisma and of hosted services.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use ::url::form_urlencoded;
use secrecy::SecretString;
use sqlx::postgres::PgSslMode;

use super::host::is_local;
use super::options::{self, Options};
use super::problem::Problem;

/// Known, and without a meaning here: pools, clients of other languages, what we set ourselves.
const WITHOUT_MEANING: [&str; 11] = [
    "application_name",
    "channel_binding",
    "connection_limit",
    "gssencmode",
    "pool_timeout",
    "sslnegotiation",
    "sslsni",
    "socket_timeout",
    "supa",
    "uselibpqcompat",
    "workaround",
];

/// Known, and never accepted: whoever writes them relies on them, and some hold secrets.
const UNSUPPORTED: [&str; 6] = ["currentSchema", "dbname", "password", "search_path", "sslpassword", "user"];

/// What the parameters say, apart from TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) pgbouncer: bool,
    /// The same in the URLs of Prisma's own databases.
    pub(super) pool: bool,
    pub(super) statement_cache_size: Option<usize>,
    pub(super) connect_timeout: Option<Duration>,
    /// Start-up options: hosted services route by `endpoint=…`.
    pub(super) options: Option<SecretString>,
    /// Whether its options have every transaction read only.
    pub(super) read_only: bool,
    /// The names of parameters that nobody here knows.
    pub(super) ignored: Vec<String>,
}

/// What the parameters say about TLS, before the host is known.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    mode: Option<PgSslMode>,
    /// `no-verify`, as node-postgres calls it.
    unverified: bool,
    strict: bool,
    root: Option<PathBuf>,
    client: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// How a connection is encrypted and who is trusted.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) mode: PgSslMode,
    /// Somebody asked for it that the server's certificate is not checked.
    pub(super) unverified: bool,
    pub(super) root: Option<PathBuf>,
    /// Certificate and key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Reads the text after `?`; of several equal names the last one counts.
pub(super) fn parse(query: &str) -> Result<(Parameters, Certificates), Problem> {
    if query.split('&').any(|pair| !pair.is_empty() && !pair.contains('=')) {
        return Err(Problem::Valueless);
    }
    let mut parameters = Parameters::default();
    let mut tls = Certificates::default();
    let (mut options, mut single) = (String::new(), String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if value.contains(char::is_control) {
            return Err(Problem::Unprintable("parameter"));
        }
        if let Some(setting) = options::named_in_brackets(&name) {
            single.push_str(&options::word(setting, &value));
            continue;
        }
        let given = || Some(value.to_string()).filter(|value| !value.is_empty());
        match &*name {
            "host" => parameters.host = given(),
            "port" => parameters.port = given(),
            "schema" => parameters.schema = given(),
            "options" => options = given().unwrap_or_default(),
            "pgbouncer" => {
                parameters.pgbouncer = one_of("pgbouncer", "`true` or `false`", value.parse().ok())?;
            }
            "pool" if value.parse::<bool>().is_ok() => parameters.pool = value == "true",
            "statement_cache_size" => {
                let size = one_of("statement_cache_size", "a number", value.parse().ok())?;
                parameters.statement_cache_size = Some(size);
            }
            "connect_timeout" => {
                let seconds = one_of("connect_timeout", "a number of seconds", value.parse::<u32>().ok())?;
                let limit = Duration::from_secs(seconds.into());
                parameters.connect_timeout = Some(limit).filter(|limit| !limit.is_zero());
            }
            "sslmode" => {
                tls.unverified = value == "no-verify";
                tls.mode = Some(if tls.unverified { PgSslMode::Require } else { ssl_mode(&value)? });
            }
            "sslaccept" => tls.strict |= ssl_accept(&value)?,
            // The trust store of the system is there anyhow, and only useful if it is asked about.
            "sslrootcert" if value == "system" => tls.strict = true,
            "sslrootcert" => tls.root = given().map(PathBuf::from),
            "sslcert" => tls.client = given().map(PathBuf::from),
            "sslkey" => tls.key = given().map(PathBuf::from),
            known if WITHOUT_MEANING.contains(&known) => {}
            other => match UNSUPPORTED.into_iter().find(|name| *name == other) {
                Some(name) => return Err(Problem::Unsupported(name)),
                None => parameters.ignored.push(other.escape_debug().to_string()),
            },
        }
    }
    parameters.take_options(&(options + &single))?;
    Ok((parameters, tls))
}

impl Parameters {
    /// Their search path is another word for the schema.
    fn take_options(&mut self, text: &str) -> Result<(), Problem> {
        let Options { rest, schema, read_only } = options::parse(text)?;
        self.read_only = read_only;
        self.options = rest.map(SecretString::from);
        match (&self.schema, schema) {
            (Some(schema), Some(other)) if *schema != other => return Err(Problem::TwoSchemas),
            (None, found) => self.schema = found,
            _ => {}
        }
        Ok(())
    }
}

impl Certificates {
    /// Decides for a host: without `sslmode=disable`, only a local one may be spoken to in plain text.
    pub(super) fn resolve(self, host: &str) -> Result<Tls, Problem> {
        let Self { mode, unverified, strict, mut root, mut client, key } = self;
        if key.is_none() {
            // Prisma's `sslcert` is the authority's, and is looked at only with `sslaccept=strict`.
            let authority = client.take().filter(|_| strict);
            root = root.or(authority);
        }
        let unverified = unverified && !strict && !host.starts_with('/');
        if unverified {
            root = None;
        }
        let mode = match mode {
            // TLS is not for sockets; `sqlx` would ask for it there, too.
            _ if host.starts_with('/') => PgSslMode::Disable,
            Some(PgSslMode::Disable) => PgSslMode::Disable,
            _ if strict => PgSslMode::VerifyFull,
            // As in libpq; `sqlx` would not look at the authority.
            Some(PgSslMode::Require) | None if root.is_some() => PgSslMode::VerifyCa,
            // What may do without encryption does so on this machine only. `sqlx` has no `allow`.
            None | Some(PgSslMode::Allow | PgSslMode::Prefer) if is_local(host) => PgSslMode::Prefer,
            None | Some(PgSslMode::Allow | PgSslMode::Prefer) => PgSslMode::Require,
            Some(mode) => mode,
        };
        for (name, path) in [("sslrootcert", &root), ("sslcert", &client), ("sslkey", &key)] {
            if let Some(path) = path {
                File::open(path).map_err(|source| Problem::File { name, source })?;
            }
        }
        let client = match (client, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, Some(_)) => return Err(Problem::Needs { name: "sslkey", needs: "sslcert" }),
            (_, None) => None,
        };
        Ok(Tls { mode, unverified, root, client })
    }
}

fn ssl_mode(value: &str) -> Result<PgSslMode, Problem> {
    let allowed = "`disable`, `allow`, `prefer`, `require`, `no-verify`, `verify-ca` or `verify-full`";
    one_of("sslmode", allowed, value.parse().ok())
}

fn ssl_accept(value: &str) -> Result<bool, Problem> {
    let strict = match value {
        "strict" => Some(true),
        "accept_invalid_certs" => Some(false),
        _ => None,
    };
    one_of("sslaccept", "`strict` or `accept_invalid_certs`", strict)
}

fn one_of<T>(name: &'static str, allowed: &'static str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or(Problem::Value { name, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(host: &str, query: &str) -> String {
        let tls = parse(query).and_then(|(_, certificates)| certificates.resolve(host));
        tls.map_or_else(|problem| problem.to_string(), |tls| format!("{:?}", tls.mode))
    }

    #[test]
    fn tls_is_left_out_only_for_local_hosts_or_on_request() {
        let root = tempfile::NamedTempFile::new().unwrap();
        let root = format!("sslrootcert={}", root.path().display());
        for (host, query, expected) in [
            ("localhost", "", "Prefer"),
            ("127.0.0.9", "", "Prefer"),
            ("::ffff:127.0.0.1", "", "Prefer"),
            ("localhost.example.org", "", "Require"),
            ("10.0.0.1", "", "Require"),
            ("h", "sslmode=disable", "Disable"),
            ("h", "sslmode=allow", "Require"),
            ("h", "sslmode=prefer", "Require"),
            ("localhost", "sslmode=allow", "Prefer"),
            ("localhost", "sslmode=disable", "Disable"),
            ("localhost", "sslmode=require", "Require"),
            ("localhost", "sslmode=verify-full", "VerifyFull"),
            ("h", "sslmode=require&sslaccept=strict", "VerifyFull"),
            ("h", "sslmode=require&sslaccept=accept_invalid_certs", "Require"),
            ("h", "sslrootcert=system", "VerifyFull"),
            ("h", &root, "VerifyCa"),
            ("h", &format!("sslmode=require&{root}"), "VerifyCa"),
            ("/tmp", "sslmode=require", "Disable"),
        ] {
            assert_eq!(mode(host, query), expected, "{host} {query}");
        }
    }

    #[test]
    fn prismas_sslcert_is_an_authority_and_libpqs_comes_with_a_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let resolve = |query: String| parse(&query).unwrap().1.resolve("h").unwrap();
        let prisma = resolve(format!("sslaccept=strict&sslcert={path}"));
        assert!(prisma.root.is_some() && prisma.client.is_none());
        let unread = resolve("sslcert=../prisma/ca.pem".to_owned());
        assert!(unread.root.is_none() && unread.client.is_none());
        let libpq = resolve(format!("sslcert={path}&sslkey={path}"));
        assert!(libpq.root.is_none() && libpq.client.is_some());
    }

    #[test]
    fn a_bad_value_names_its_parameter_and_what_is_allowed() {
        for (query, problem) in [
            (
                "sslmode=hunter2",
                "its parameter `sslmode` must be `disable`, `allow`, `prefer`, `require`, `no-verify`, `verify-ca` or `verify-full`",
            ),
            ("sslaccept=x", "its parameter `sslaccept` must be `strict` or `accept_invalid_certs`"),
            ("pgbouncer=1", "its parameter `pgbouncer` must be `true` or `false`"),
            ("connect_timeout=5s", "its parameter `connect_timeout` must be a number of seconds"),
            ("statement_cache_size=-1", "its parameter `statement_cache_size` must be a number"),
            ("sslrootcert=/none/such", "its parameter `sslrootcert` names a file that cannot be read"),
            ("sslkey=/dev/null", "its parameter `sslkey` needs `sslcert`"),
            (
                "schema=a&options=-c%20search_path%3Db",
                "its `schema` and the `search_path` of its `options` name different schemas",
            ),
            ("password=hunter2", "its parameter `password` is not supported"),
            ("search_path=hunter2", "its parameter `search_path` is not supported"),
            ("sslpassword=hunter2", "its parameter `sslpassword` is not supported"),
            ("pgbouncer", "it has a parameter without a value"),
            ("schema=a%00", "its parameter has a control character or is not UTF-8"),
        ] {
            assert_eq!(mode("h", query), problem, "{query}");
        }
    }

    #[test]
    fn known_parameters_without_meaning_are_silent_and_unknown_ones_named() {
        let query = "application_name=a&channel_binding=require&connection_limit=1&gssencmode=disable&pool_timeout=0\
                     &sslnegotiation=direct&socket_timeout=1&supa=x&uselibpqcompat=true&workaround=y&&sslidentity=id.p12&%1b[=v&pool=7";
        assert_eq!(parse(query).unwrap().0.ignored, ["sslidentity", r"\u{1b}[", "pool"]);
    }

    #[test]
    fn no_time_limit_is_said_with_zero() {
        let limit = |query| parse(query).unwrap().0.connect_timeout;
        assert_eq!(limit("connect_timeout=0"), None);
        assert_eq!(limit("connect_timeout=15"), Some(Duration::from_secs(15)));
    }
}
