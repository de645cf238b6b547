//! A server with a hot standby that follows it, shared by all tests of one process that need one.

use std::sync::LazyLock;
use std::time::Instant;

use dewey_sync::demo::books::{self, SCHEMA};
use dewey_sync::demo::server::{Server, ServerOptions};
use sqlx::Connection;

use super::inspect::{dump, psql};
use super::running::PATIENCE;
use super::sandbox::Sandbox;
use super::servers::{PG_BIN, READER, connect, execute};

pub(crate) static REPLICATED: LazyLock<Replicated> = LazyLock::new(|| {
    let options = ServerOptions::new(&*PG_BIN)
        // Only what a test does on the primary conflicts with what it reads on the standby, and that at once.
        .setting("autovacuum", "off")
        .setting("max_standby_streaming_delay", "0");
    let primary = Server::start(&options).unwrap();
    psql(&primary.url("postgres"), &format!("CREATE ROLE {READER} LOGIN PASSWORD '{READER}'"));
    let standby = Server::start(&options.standby_of(&primary)).unwrap();
    Replicated { primary, standby }
});

pub(crate) struct Replicated {
    pub(crate) primary: Server,
    pub(crate) standby: Server,
}

impl Replicated {
    /// Makes a database with `books` generated books and their owners, on both.
    pub(crate) async fn create(&self, name: &str, books: u32) {
        execute(&self.primary.url("postgres"), &format!("CREATE DATABASE {name}")).await;
        let mut connection = connect(&self.primary.url(name)).await;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
        books::fill(&mut connection, books).await.unwrap();
        connection.close().await.unwrap();
        execute(&self.primary.url(name), &format!(r#"GRANT SELECT ON "Book" TO {READER}"#)).await;
        self.catch_up();
    }

    /// Returns when the standby shows what the primary has committed by now.
    pub(crate) fn catch_up(&self) {
        let written = dump(&self.primary.url("postgres"), "SELECT pg_current_wal_lsn()");
        let written = String::from_utf8(written).unwrap();
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", written.trim_end());
        let deadline = Instant::now() + PATIENCE;
        while dump(&self.standby.url("postgres"), &replayed) != b"t\n" {
            assert!(Instant::now() < deadline, "the standby does not catch up");
        }
    }

    /// What the tool said in `sandbox`, with names in place of the ports.
    pub(crate) fn redacted(&self, sandbox: &Sandbox, said: &str) -> String {
        let names = [(&self.primary, ":PRIMARY"), (&self.standby, ":STANDBY")];
        let said = names
            .iter()
            .fold(said.to_owned(), |said, (server, name)| said.replace(&format!(":{}", server.port()), name));
        sandbox.redacted(&said)
    }
}
