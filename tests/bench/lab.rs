//! Two servers, a database of books on each, and a look at whether they are equal.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dewey_sync::demo::server::{Server, ServerOptions};
use dewey_sync::demo::{binaries, books};
use dewey_sync_entity::book::Column;
use sea_orm::{IdenStatic, Iterable};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(crate) type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

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
        let options = ServerOptions::new(&binaries);
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
pub(crate) struct Lab {
    psql: PathBuf,
    /// URLs of the superuser.
    pub(crate) source: String,
    pub(crate) target: String,
    /// The target's user who gets the books.
    pub(crate) developer: i32,
    expected: Vec<u8>,
}

impl Lab {
    pub(crate) async fn new(servers: &PairOfServers, count: u32) -> Anyhow<Self> {
        let name = format!("books_{count}");
        let mut source = database(&servers.source, &name).await?;
        books::fill(&mut source, count).await?;
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut source).await?;
        source.close().await?;
        let mut target = database(&servers.target, &name).await?;
        let developer = books::add_developer(&mut target, "ada@example.org").await?;
        target.close().await?;
        let mut lab = Self {
            psql: servers.binaries.join("psql"),
            source: servers.source.url(&name),
            target: servers.target.url(&name),
            developer,
            expected: Vec::new(),
        };
        lab.expected = lab.content(&lab.source, &developer.to_string())?;
        Ok(lab)
    }

    /// Every column but the id and the owner, as SQL.
    pub(crate) fn columns() -> String {
        let copied = |column: &Column| !matches!(column, Column::Id | Column::OwnerId);
        let names = Column::iter().filter(copied).map(|column| format!("\"{}\"", column.as_str()));
        names.collect::<Vec<_>>().join(", ")
    }

    /// `psql` that runs one statement, without the caller's settings.
    pub(crate) fn psql(&self, url: &str, sql: &str) -> Command {
        let mut psql = Command::new(&self.psql);
        psql.env_clear().stdin(Stdio::null()).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, url]);
        psql
    }

    pub(crate) fn empty_target(&self) -> Anyhow<()> {
        self.answer(&self.target, r#"TRUNCATE "Book" CASCADE"#)?;
        self.answer(&self.target, r#"VACUUM "Book""#)?;
        Ok(())
    }

    /// Whether the target holds every book of the source, owned by the developer, byte for byte.
    pub(crate) fn compare(&self) -> Anyhow<()> {
        let found = self.content(&self.target, "\"ownerId\"")?;
        if found == self.expected { Ok(()) } else { Err("source and target differ".into()) }
    }

    fn content(&self, url: &str, owner: &str) -> Anyhow<Vec<u8>> {
        let columns = Self::columns();
        let books = format!(r#"SELECT {columns}, {owner} FROM "Book" ORDER BY isbn13 COLLATE "C""#);
        self.answer(url, &format!("COPY ({books}) TO STDOUT"))
    }

    fn answer(&self, url: &str, sql: &str) -> Anyhow<Vec<u8>> {
        let output = self.psql(url, sql).output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(String::from_utf8_lossy(&output.stderr).into())
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
