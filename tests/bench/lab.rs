//! Two servers, a database of books on each, and a look at whether they are equal.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use dewey_sync::demo::server::{Server, ServerOptions};
use dewey_sync::demo::{binaries, books};
use dewey_sync_entity::book::Column;
use sea_orm::{IdenStatic, Iterable};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::Anyhow;
use crate::proxy::Proxy;
use crate::proxy::line::Line;
use crate::resources::server_cpu;

/// The demo's generator computes each book's texts, which takes 0.2 ms a book; more than these are copies of them.
const WRITTEN_BOOKS: u32 = 10_000;

/// Production and development, alike.
pub(crate) struct PairOfServers {
    binaries: PathBuf,
    source: Server,
    target: Server,
}

impl PairOfServers {
    pub(crate) fn start() -> Anyhow<Self> {
        #[expect(clippy::disallowed_methods, reason = "the measurement's own switch")]
        let binaries = binaries::find(std::env::var_os("PG_BIN").map(PathBuf::from))?;
        // PostgreSQL's default; and no vacuum in the middle of whose run it is not.
        let options = ServerOptions::new(&binaries).setting("shared_buffers", "128MB");
        let options = options.setting("autovacuum", "off");
        let (source, target) = (Server::start(&options)?, Server::start(&options)?);
        Ok(Self { binaries, source, target })
    }

    /// `postgres (PostgreSQL) 15.18`, in short.
    pub(crate) fn version(&self) -> Anyhow<String> {
        let output = Command::new(self.binaries.join("postgres")).arg("--version").output()?;
        let version = String::from_utf8(output.stdout)?;
        Ok(format!("PostgreSQL {}", version.split_whitespace().nth(2).unwrap_or_default()))
    }
}

/// One size: a full source, a target to fill, and what it shall then hold.
pub(crate) struct Lab<'a> {
    servers: &'a PairOfServers,
    pub(crate) books: u32,
    pub(crate) urls: Urls,
    /// The target's user who gets the books.
    pub(crate) developer: i32,
    expected: String,
}

/// Of the superuser.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) source: String,
    pub(crate) target: String,
}

impl<'a> Lab<'a> {
    pub(crate) async fn new(servers: &'a PairOfServers, books: u32) -> Anyhow<Self> {
        let name = format!("books_{books}");
        let mut source = database(&servers.source, &name).await?;
        fill(&mut source, books).await?;
        source.close().await?;
        let mut target = database(&servers.target, &name).await?;
        let developer = books::add_developer(&mut target, "ada@example.org").await?;
        target.close().await?;
        let urls = Urls { source: servers.source.url(&name), target: servers.target.url(&name) };
        let mut lab = Self { servers, books, urls, developer, expected: String::new() };
        lab.expected = lab.digest(&lab.urls.source, &developer.to_string())?;
        lab.make_ledger()?;
        lab.answer(&lab.urls.target, "VACUUM ANALYZE")?;
        Ok(lab)
    }

    /// Every column but the id and the owner, as SQL.
    pub(crate) fn columns() -> String {
        let copied = |column: &Column| !matches!(column, Column::Id | Column::OwnerId);
        let names = Column::iter().filter(copied).map(|column| format!("\"{}\"", column.as_str()));
        names.collect::<Vec<_>>().join(", ")
    }

    /// One of PostgreSQL's, without the caller's settings.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.servers.binaries.join(name));
        program.env_clear().stdin(Stdio::null());
        program
    }

    /// `psql` that runs one statement.
    pub(crate) fn psql(&self, url: &str, sql: &str) -> Command {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, url]);
        psql
    }

    /// Both sides at the ends of two lines.
    pub(crate) async fn proxies(&self, source: Line, target: Line) -> [Proxy; 2] {
        let servers = self.servers;
        [
            Proxy::at_the_end_of(source, servers.source.port()).await,
            Proxy::at_the_end_of(target, servers.target.port()).await,
        ]
    }

    pub(crate) fn empty_target(&self) -> Anyhow<()> {
        self.answer(&self.urls.target, r#"TRUNCATE "Book" CASCADE"#)?;
        self.answer(&self.urls.target, "VACUUM")?;
        Ok(())
    }

    /// So that no run pays for another one's writes.
    pub(crate) fn checkpoint(&self) -> Anyhow<()> {
        self.answer(&self.urls.source, "CHECKPOINT")?;
        self.answer(&self.urls.target, "CHECKPOINT")?;
        Ok(())
    }

    /// What the source and the target have computed since they were started.
    pub(crate) fn servers_cpu(&self) -> Option<[Duration; 2]> {
        Some([server_cpu(self.servers.source.pid())?, server_cpu(self.servers.target.pid())?])
    }

    /// Whether the target holds every book of the source, owned by the developer, byte for byte.
    pub(crate) fn compare(&self) -> Anyhow<()> {
        let found = self.digest(&self.urls.target, "\"ownerId\"")?;
        if found == self.expected { Ok(()) } else { Err("source and target differ".into()) }
    }

    /// Removes both databases.
    pub(crate) async fn drop(self) -> Anyhow<()> {
        for server in [&self.servers.source, &self.servers.target] {
            let mut any = PgConnection::connect(&server.url("postgres")).await?;
            let drop = format!("DROP DATABASE books_{} WITH (FORCE)", self.books);
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut any).await?;
            any.close().await?;
        }
        Ok(())
    }

    /// The number of the books, and a sum of their hashes: both servers are of one version.
    fn digest(&self, url: &str, owner: &str) -> Anyhow<String> {
        let columns = Self::columns();
        let books =
            format!(r#"SELECT hashtextextended(ROW({columns}, {owner})::text, 0) AS hash FROM "Book""#);
        self.answer(url, &format!("SELECT count(*), sum(hash::numeric) FROM ({books}) hashed"))
    }

    fn make_ledger(&self) -> Anyhow<()> {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
        tool.args(["--quiet", "--dir", "/", "migrate", "up", "--mark-development"]);
        tool.arg(format!("books_{}", self.books)).env_clear().stdin(Stdio::null());
        tool.env("DEWEY_TARGET_DATABASE_URL", &self.urls.target);
        succeed(tool).map(drop)
    }

    fn answer(&self, url: &str, sql: &str) -> Anyhow<String> {
        succeed(self.psql(url, sql))
    }
}

/// A new database with the application's tables.
async fn database(server: &Server, name: &str) -> Anyhow<PgConnection> {
    let mut any = PgConnection::connect(&server.url("postgres")).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut any).await?;
    any.close().await?;
    let mut database = PgConnection::connect(&server.url(name)).await?;
    sqlx::raw_sql(books::SCHEMA).execute(&mut database).await?;
    Ok(database)
}

/// Books of 1.7 KB on average: the one of 1 MB would be most of what few books hold.
async fn fill(source: &mut PgConnection, count: u32) -> Anyhow<()> {
    books::fill(source, count.min(WRITTEN_BOOKS)).await?;
    let shorten = r#"UPDATE "Book" SET synopsis = left(synopsis, 1100) WHERE length(synopsis) > 10000"#;
    sqlx::raw_sql(shorten).execute(&mut *source).await?;
    if count > WRITTEN_BOOKS {
        let multiply = include_str!("multiply.sql").replace("$books", &count.to_string());
        sqlx::raw_sql(AssertSqlSafe(multiply)).execute(&mut *source).await?;
    }
    sqlx::raw_sql("VACUUM (FREEZE, ANALYZE)").execute(&mut *source).await?;
    Ok(())
}

/// What a program writes.
fn succeed(mut program: Command) -> Anyhow<String> {
    let output = program.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(String::from_utf8_lossy(&output.stderr).into())
}
