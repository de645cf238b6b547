//! The pair of servers that all tests of one process share, as unlike each other as two servers can be.
//!
//! A static is never dropped; the servers go because the pipes to their supervisors close with the process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use dewey_sync::demo::binaries;
use dewey_sync::demo::books::{self, SCHEMA};
use dewey_sync::demo::server::{Server, ServerOptions};
use dewey_sync::error::Result;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

use super::inspect::psql;

/// May read the source's books and nothing else.
pub(crate) const READER: &str = "reader";
/// Owns the target's databases; an ordinary role, as on a hosted service.
pub(crate) const DEVELOPER: &str = "developer";
/// The only user of a new target.
pub(crate) const DEVELOPER_EMAIL: &str = "ada@example.org";

pub(crate) static SERVERS: LazyLock<Servers> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let source = scope.spawn(|| start_source(ServerOptions::new(&*PG_BIN)));
        let target = start_target(ServerOptions::new(&*PG_BIN)).unwrap();
        let templates = Mutex::default();
        Servers { source: source.join().unwrap().unwrap(), target, templates }
    })
});

pub(crate) struct Servers {
    pub(crate) source: Server,
    pub(crate) target: Server,
    /// The numbers of books for which there is a database to copy: copying is faster than generating.
    templates: Mutex<BTreeSet<u32>>,
}

impl Servers {
    /// Makes a source database with `books` generated books.
    pub(crate) async fn create_source(&self, name: &str, books: u32) {
        let template = format!("books_{books}");
        let mut templates = self.templates.lock().await;
        if !templates.contains(&books) {
            execute(&self.source.url("postgres"), &format!("CREATE DATABASE {template}")).await;
            let mut connection = connect(&self.source.url(&template)).await;
            sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
            books::fill(&mut connection, books).await.unwrap();
            let grant = format!(r#"GRANT SELECT ON "Book" TO {READER}"#);
            sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut connection).await.unwrap();
            sqlx::raw_sql(r#"VACUUM ANALYZE "Book""#).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            templates.insert(books);
        }
        drop(templates);
        execute(&self.source.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    }

    /// Makes a target database with one user and no books.
    pub(crate) async fn create_target(&self, name: &str) {
        let mut connection = connect(&self.create_empty(name).await).await;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
        books::add_developer(&mut connection, DEVELOPER_EMAIL).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Makes a target database with nothing in it; its URL for the ordinary role that owns it.
    pub(crate) async fn create_empty_target(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        self.create_empty(&format!("empty_{}", NUMBER.fetch_add(1, Ordering::Relaxed))).await
    }

    async fn create_empty(&self, name: &str) -> String {
        execute(&self.target.url("postgres"), &format!("CREATE DATABASE {name} OWNER {DEVELOPER}")).await;
        as_role(&self.target.url(name), DEVELOPER)
    }
}

/// The directory of the PostgreSQL programs.
pub(crate) static PG_BIN: LazyLock<PathBuf> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "the tests' own switch, as in `PG_BIN=… cargo test`")]
    let given = std::env::var_os("PG_BIN").map(PathBuf::from);
    binaries::find(given).unwrap()
});

/// The URL for another role, whose password is its name.
pub(crate) fn as_role(url: &str, role: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(role)).unwrap();
    url.into()
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

pub(crate) async fn execute(url: &str, sql: &str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub(crate) fn start_source(options: ServerOptions) -> Result<Server> {
    let options = options
        .setting("log_statement", "all")
        .setting("log_line_prefix", "%p|%d|%u|%a|")
        .setting("max_prepared_transactions", "8");
    Ok(with_role(Server::start(&options)?, READER))
}

/// Another collation, other dates, another time zone, other floats than the source has.
pub(crate) fn start_target(options: ServerOptions) -> Result<Server> {
    let options = options
        .setting("timezone", "Australia/Lord_Howe")
        .setting("datestyle", "German")
        .setting("intervalstyle", "sql_standard")
        .setting("extra_float_digits", "-3")
        .setting("bytea_output", "escape")
        .setting("max_prepared_transactions", "8");
    // In Turkish i and I are no pair, and words sort otherwise. PostgreSQL 14 or one without ICU cannot.
    let turkish = options.clone().initdb("--locale-provider=icu").initdb("--icu-locale=tr");
    let server = Server::start(&turkish).or_else(|_| Server::start(&options))?;
    Ok(with_role(server, DEVELOPER))
}

fn with_role(server: Server, role: &str) -> Server {
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'");
    psql(&server.url("postgres"), &sql);
    server
}
