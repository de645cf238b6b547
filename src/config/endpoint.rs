//! One side's database: what may be shown of it, and the options that connect to it.

use std::fmt::{self, Display};
use std::time::Duration;

use ::url::form_urlencoded::Serializer;
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::parameters::{Parameters, Tls};
use super::url::{self, DEFAULT_PORT, Parts};
use super::{Origin, Side, host};
use crate::printable::{Printable, value};

/// Supabase's port of the pooler that gives out a server connection a transaction.
const SUPABASE_POOLER_PORT: u16 = 6543;

/// A validated URL. `Debug` and `Display` show no secret.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Whose it is.
    pub side: Side,
    /// A name, an address without brackets, or the absolute path of a socket's directory.
    pub host: String,
    /// The TCP port, or the number in the socket's name.
    pub port: u16,
    /// The role that connects.
    pub user: String,
    /// The database's name.
    pub database: String,
    /// The schema of the application's tables, `public` unless the URL says otherwise.
    pub schema: String,
    /// Where the URL came from.
    pub origin: Origin,
    password: Option<SecretString>,
    parameters: Parameters,
    tls: Tls,
}

impl Endpoint {
    pub(super) fn new(side: Side, origin: Origin, parts: Parts) -> Self {
        let Parts { user, password, host, port, database, mut parameters, tls } = parts;
        let schema = parameters.schema.take().unwrap_or_else(|| "public".to_owned());
        Self { side, host, port, user, database, schema, origin, password, parameters, tls }
    }

    /// Everything that opens a connection, with statement logging off; never print it, it holds the password.
    ///
    /// Start-up options are those of the URL only (hosted services route by them); the caller adds others.
    /// A URL without password takes one from `~/.pgpass`.
    pub fn connect_options(&self, application_name: &str) -> PgConnectOptions {
        let mut options = self
            .start_options()
            .ssl_mode(self.tls.mode)
            .application_name(application_name)
            .disable_statement_logging();
        options = match &self.tls.root {
            Some(path) => options.ssl_root_cert(path),
            // No certificate at all takes the place of `PGSSLROOTCERT`.
            None => options.ssl_root_cert_from_pem(Vec::new()),
        };
        if let Some((certificate, key)) = &self.tls.client {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        match self.parameters.statement_cache_size {
            Some(size) => options.statement_cache_capacity(size),
            None => options,
        }
    }

    /// Whether the server is on this machine, or seems so: a tunnel does, too.
    pub fn is_local(&self) -> bool {
        host::is_local(&self.host)
    }

    /// Whether the URL shows that a pooler answers, which keeps no session and takes no start-up option.
    pub fn pooled(&self) -> bool {
        self.parameters.pgbouncer
            || self.parameters.pool
            || self.host.contains("-pooler.")
            || url::is_prismas_pooler(&self.host)
            || self.port == SUPABASE_POOLER_PORT
    }

    /// `HOST:PORT`, an address with colons in brackets.
    pub fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether a certificate tells the server who connects.
    pub fn has_client_certificate(&self) -> bool {
        self.tls.client.is_some()
    }

    /// The names of the URL's parameters that were not understood.
    pub fn ignored_parameters(&self) -> &[String] {
        &self.parameters.ignored
    }

    /// What should be said of the connection before it is opened.
    pub fn notice(&self) -> Option<String> {
        let Self { side, tls, .. } = self;
        let text = format!(
            "the {side}'s URL says `sslmode=no-verify`, which is `require`: the connection is encrypted, the \
             server's certificate is not checked"
        );
        tls.unverified.then_some(text)
    }

    /// How long to wait for a connection, if the URL says so.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.parameters.connect_timeout
    }

    /// Names every field in a URL of our own: only that way `sqlx` looks into `~/.pgpass` for the right server
    /// and takes start-up options as they are. What it read from `PGHOST` and so on is overwritten.
    fn start_options(&self) -> PgConnectOptions {
        // The host before the `?` is the one that `~/.pgpass` is asked about for a socket.
        let mut url =
            Serializer::for_suffix("postgres://localhost/?".to_owned(), "postgres://localhost/?".len());
        url.append_pair("host", &self.host)
            .append_pair("port", &self.port.to_string())
            .append_pair("user", &self.user)
            .append_pair("dbname", &self.database);
        if let Some(password) = &self.password {
            url.append_pair("password", password.expose_secret());
        }
        if let Some(options) = &self.parameters.options {
            url.append_pair("options", options.expose_secret());
        }
        url.finish().parse().expect("sqlx reads each of these names")
    }
}

/// `penumbra at ep-cool-1a2b.neon.tech`; the port is shown where it tells servers apart.
impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, .. } = self;
        let (database, host) = (value(&self.database), Printable(&self.host).to_string());
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{database} at {open}{host}{close}")?;
        if *port != DEFAULT_PORT || self.is_local() { write!(f, ":{port}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::super::Environment;
    use super::super::target;
    use super::*;
    use crate::config::Locations;

    fn endpoint(url: &str) -> Endpoint {
        let environment: Environment = [("DEWEY_TARGET_DATABASE_URL", url)].into_iter().collect();
        target(&Locations::default(), &environment).unwrap()
    }

    #[test]
    fn the_port_is_shown_where_it_tells_servers_apart() {
        for (url, shown, local) in [
            ("postgres://u:p@ep-cool-1a2b.neon.tech/penumbra", "penumbra at ep-cool-1a2b.neon.tech", false),
            ("postgres://u:p@h:6543/penumbra", "penumbra at h:6543", false),
            ("postgres://u:p@localhost/penumbra", "penumbra at localhost:5432", true),
            ("postgres://u:p@127.0.0.2/penumbra", "penumbra at 127.0.0.2:5432", true),
            ("postgres://u:p@[::1]/penumbra", "penumbra at [::1]:5432", true),
            ("postgres://u:p@[2001:db8::1]/penumbra", "penumbra at [2001:db8::1]", false),
            ("postgres://u:p@/penumbra?host=/tmp", "penumbra at /tmp:5432", true),
        ] {
            let endpoint = endpoint(url);
            assert_eq!((endpoint.to_string().as_str(), endpoint.is_local()), (shown, local));
        }
    }

    #[test]
    fn poolers_are_recognised() {
        for (url, pooled) in [
            ("postgres://u:p@ep-a-pooler.eu.neon.tech/db", true),
            ("postgres://u:p@ep-a.eu.neon.tech/db", false),
            ("postgres://u:p@aws-0.pooler.supabase.com:6543/db", true),
            ("postgres://u:p@aws-0.pooler.supabase.com:5432/db", false),
            ("postgres://u:p@h/db?pgbouncer=true", true),
            ("postgres://u:p@h/db?pgbouncer=false", false),
            ("postgres://u:p@h/db?pool=true", true),
            ("postgres://u:p@h/db?pool=false&pgbouncer=true", true),
            ("postgres://u:p@h/db?pool=false", false),
            ("postgres://u:p@pooled.db.prisma.io/", true),
            ("postgres://u:p@db.prisma.io/", false),
            ("postgres://u:p@pooled.example.org/db", false),
        ] {
            assert_eq!(endpoint(url).pooled(), pooled, "{url}");
        }
    }

    #[test]
    fn a_certificate_that_the_url_leaves_unchecked_is_noticed_where_there_is_one() {
        let root = tempfile::NamedTempFile::new().unwrap();
        let root = format!("sslmode=no-verify&sslrootcert={}", root.path().display());
        for (at, query, notice, mode) in [
            ("h", "sslmode=no-verify", true, "Require"),
            ("localhost", "sslmode=no-verify", true, "Require"),
            // As in node-postgres, which knows the mode: no authority is asked.
            ("h", &root, true, "Require"),
            ("h", "sslmode=require&sslmode=no-verify", true, "Require"),
            ("h", "sslmode=no-verify&sslmode=require", false, "Require"),
            ("h", "sslmode=no-verify&sslaccept=strict", false, "VerifyFull"),
            ("", "sslmode=no-verify&host=/tmp", false, "Disable"),
            ("h", "sslmode=require", false, "Require"),
        ] {
            let endpoint = endpoint(&format!("postgres://u:p@{at}/db?{query}"));
            assert_eq!(endpoint.notice().is_some(), notice, "{query}");
            let options = format!("{:?}", endpoint.connect_options("us"));
            assert!(options.contains(&format!("ssl_mode: {mode},")), "{query}: {options}");
        }
    }

    #[test]
    fn the_schema_is_public_unless_given() {
        assert_eq!(endpoint("postgres://u:p@h/db?schema=books").schema, "books");
        assert_eq!(endpoint("postgres://u:p@h/db?schema=").schema, "public");
    }

    #[test]
    fn connect_options_say_what_the_url_says_and_no_more() {
        let options = |url| format!("{:?}", endpoint(url).connect_options("us"));
        let shown = options(
            "postgres://a%40b:p%26%2B%20ä@h:5433/d%26b?options=endpoint%3Dep-1%20-c%20a%3Db&statement_cache_size=0",
        );
        insta::assert_snapshot!(shown, @r#"PgConnectOptions { host: "h", port: 5433, socket: None, username: "a@b", password: Some("p&+ ä"), database: Some("d&b"), ssl_mode: Require, ssl_root_cert: Some(Inline([])), ssl_client_cert: None, ssl_client_key: None, statement_cache_capacity: 0, application_name: Some("us"), log_settings: LogSettings { statements_level: Off, slow_statements_level: Off, slow_statements_duration: 0ns }, extra_float_digits: Some("2"), options: Some("endpoint=ep-1 -c a=b") }"#);
        insta::assert_snapshot!(options("postgres://u:p@/db?host=/tmp"), @r#"PgConnectOptions { host: "localhost", port: 5432, socket: Some("/tmp"), username: "u", password: Some("p"), database: Some("db"), ssl_mode: Disable, ssl_root_cert: Some(Inline([])), ssl_client_cert: None, ssl_client_key: None, statement_cache_capacity: 100, application_name: Some("us"), log_settings: LogSettings { statements_level: Off, slow_statements_level: Off, slow_statements_duration: 0ns }, extra_float_digits: Some("2"), options: None }"#);
    }

    #[test]
    fn connect_options_are_the_same_in_a_hostile_environment() {
        let names =
            ["PGHOST", "PGHOSTADDR", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLROOTCERT", "PGAPPNAME"];
        let mut variables = names.map(|name| (name, "hostile")).to_vec();
        variables.extend([("PGPORT", "1"), ("PGSSLMODE", "disable")]);
        run_again("connect_options_say_what_the_url_says_and_no_more", &variables);
    }

    #[test]
    fn a_missing_password_comes_from_pgpass_by_host_and_port() {
        #[expect(
            clippy::disallowed_methods,
            reason = "sqlx takes the file's path from there, so a child has it set"
        )]
        if std::env::var_os(CHILD).is_none() {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(&file, "localhost:5434:db:u:of-socket\n::1:5433:db:u:x\n\\:\\:1:5433:db:u:of-ipv6\n")
                .unwrap();
            let path = file.path().to_str().unwrap();
            return run_again(
                "a_missing_password_comes_from_pgpass_by_host_and_port",
                &[("PGPASSFILE", path)],
            );
        }
        for (url, password) in
            [("postgres://u@[::1]:5433/db", "of-ipv6"), ("postgres://u@/db?host=/tmp&port=5434", "of-socket")]
        {
            let options = format!("{:?}", endpoint(url).connect_options("us"));
            assert!(options.contains(&format!("password: Some({password:?})")), "{options}");
        }
    }

    const CHILD: &str = "DEWEY_TEST_CHILD";

    /// Runs a test of this module in a process of its own, with more variables.
    fn run_again(test: &str, variables: &[(&str, &str)]) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("config::endpoint::tests::{test}")])
            .envs(variables.iter().copied())
            .envs([(CHILD, "1"), ("INSTA_UPDATE", "no")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
