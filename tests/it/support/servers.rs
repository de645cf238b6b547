//! The pair of servers that all tests of one process share, as unlike each other as two servers can be.
//!
//! A static is never dropped; the servers go because the pipes to their supervisors close with the process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};

use dewey_sync::demo::binaries;
use dewey_sync::demo::books::{self, SCHEMA};
use dewey_sync::demo::server::{Server, ServerOptions};
use dewey_sync::error::Result;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::{Mutex, OnceCell};

use super::inspect::psql;

/// May read the source's books and nothing else.
pub(crate) const READER: &str = "reader";
/// Owns the target's databases; an ordinary role, as on a hosted service.
pub(crate) const DEVELOPER: &str = "developer";
/// The database on the target's server that new targets are copies of.
const WITH_USER: &str = "with_user";
/// The only user of a new target.
pub(crate) const DEVELOPER_EMAIL: &str = "ada@example.org";

pub(crate) static SERVERS: LazyLock<Servers> = LazyLock::new(|| {
    std::thread::scope(|scope| {
        let source = scope.spawn(|| start_source(options()));
        let target = start_target(options()).unwrap();
        let source = source.join().unwrap().unwrap();
        let forgotten = drop_forgotten([&source, &target].map(|server| server.url("postgres")));
        Servers { source, target, books: Mutex::default(), with_user: OnceCell::new(), forgotten }
    })
});

/// Takes all but a piece of the long text from generated books.
pub(crate) const SHORTER: &str = r#"UPDATE "Book" SET synopsis = left(synopsis, 20000)"#;

pub(crate) struct Servers {
    pub(crate) source: Server,
    pub(crate) target: Server,
    /// The databases with books that there are to copy: copying is faster than generating.
    books: Mutex<BTreeSet<String>>,
    /// Set when there is a database with a user to copy.
    with_user: OnceCell<()>,
    /// The databases to drop.
    forgotten: Sender<String>,
}

impl Servers {
    /// Makes a source database with `books` generated books. The one with a text of a megabyte has that only where `whole` says so:
    /// it is most of what a sync of a few hundred books costs.
    pub(crate) async fn create_source(&self, name: &str, books: u32, whole: bool) {
        let template = format!("books_{books}{}", if whole { "_whole" } else { "" });
        let mut templates = self.books.lock().await;
        if !templates.contains(&template) {
            execute(&self.source.url("postgres"), &format!("CREATE DATABASE {template}")).await;
            let mut connection = connect(&self.source.url(&template)).await;
            sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
            books::fill(&mut connection, books).await.unwrap();
            if !whole {
                sqlx::raw_sql(SHORTER).execute(&mut connection).await.unwrap();
            }
            let grant = format!(r#"GRANT SELECT ON "Book" TO {READER}"#);
            sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut connection).await.unwrap();
            sqlx::raw_sql(r#"VACUUM (FULL, ANALYZE) "Book""#).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            templates.insert(template.clone());
        }
        drop(templates);
        execute(&self.source.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    }

    /// Makes a target database with one user and no books.
    pub(crate) async fn create_target(&self, name: &str) {
        let make = async || {
            let mut connection = connect(&self.create_empty(WITH_USER).await).await;
            sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
            books::add_developer(&mut connection, DEVELOPER_EMAIL).await.unwrap();
            connection.close().await.unwrap();
        };
        self.with_user.get_or_init(make).await;
        let create = format!("CREATE DATABASE {name} TEMPLATE {WITH_USER} OWNER {DEVELOPER}");
        execute(&self.target.url("postgres"), &create).await;
    }

    /// Makes a target database with nothing in it; its URL for the ordinary role that owns it.
    pub(crate) async fn create_empty_target(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        self.create_empty(&format!("empty_{}", NUMBER.fetch_add(1, Ordering::Relaxed))).await
    }

    /// Drops the databases of a test that has ended, which does not wait for it. What cannot be dropped stays until the servers
    /// go.
    pub(crate) fn forget(&self, database: &str) {
        self.forgotten.send(database.to_owned()).ok();
    }

    async fn create_empty(&self, name: &str) -> String {
        execute(&self.target.url("postgres"), &format!("CREATE DATABASE {name} OWNER {DEVELOPER}")).await;
        as_role(&self.target.url(name), DEVELOPER)
    }
}

/// Starts what drops databases on both servers.
fn drop_forgotten(servers: [String; 2]) -> Sender<String> {
    let (forgotten, databases) = mpsc::channel::<String>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let drop_all = async move {
        let [source, target] = servers;
        let (mut source, mut target) = (connect(&source).await, connect(&target).await);
        for database in databases {
            let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
            for server in [&mut source, &mut target] {
                sqlx::raw_sql(AssertSqlSafe(drop.as_str())).execute(server).await.ok();
            }
        }
    };
    std::thread::spawn(move || runtime.block_on(drop_all));
    forgotten
}

/// A file system in memory, and how much has to be free there for the servers of all tests.
const IN_MEMORY: &str = "/dev/shm";
const NEEDED_MIB: u64 = 3000;

/// A server of the tests.
pub(crate) fn options() -> ServerOptions {
    in_memory(NEEDED_MIB)
}

/// In memory, where making and dropping databases costs least, if so much is free there.
pub(crate) fn in_memory(needed_mib: u64) -> ServerOptions {
    // Of what lies between two checkpoints much is in memory twice.
    let options = ServerOptions::new(&*PG_BIN).setting("max_wal_size", "256MB");
    if free_mib() < needed_mib { options } else { options.parent(Path::new(IN_MEMORY)) }
}

/// 0 where there is no such file system.
fn free_mib() -> u64 {
    let Ok(df) = Command::new("df").args(["-Pk", IN_MEMORY]).output() else { return 0 };
    let lines = String::from_utf8_lossy(&df.stdout);
    let free = lines.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    free.map_or(0, |kib| kib / 1024)
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
    set_password(&server, "postgres", server.password());
    create_role(&server, role);
    server
}

/// Makes a role whose password is its name.
pub(crate) fn create_role(server: &Server, role: &str) {
    psql(&server.url("postgres"), &format!("CREATE ROLE {role} LOGIN"));
    set_password(server, role, role);
}

/// Gives a role a password that costs little to check.
pub(crate) fn set_password(server: &Server, role: &str, password: &str) {
    let functions = include_str!("quick_passwords.sql");
    let set = format!("EXECUTE format('ALTER ROLE {role} PASSWORD %L', pg_temp.verifier('{password}'))");
    psql(&server.url("postgres"), &format!("{functions}; DO $$ BEGIN {set}; END $$"));
}
