//! A server with a hot standby that follows it, shared by all tests of one process that need one.

use std::sync::LazyLock;

use dewey_sync::demo::books::{self, SCHEMA};
use dewey_sync::demo::server::Server;
use sqlx::Connection;

use super::deadline::Deadline;
use super::inspect::dump;
use super::sandbox::Sandbox;
use super::servers::{READER, connect, create_role, execute, options};

pub(crate) static REPLICATED: LazyLock<Replicated> = LazyLock::new(|| {
    let alone = options()
        // Only what a test does on the primary conflicts with what it reads on the standby, and that at once.
        .setting("autovacuum", "off")
        .setting("max_standby_streaming_delay", "0");
    let primary = Server::start(&alone).unwrap();
    create_role(&primary, READER);
    let standby = Server::start(&alone.standby_of(&primary)).unwrap();
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
        let deadline = Deadline::new();
        while dump(&self.standby.url("postgres"), &replayed) != b"t\n" {
            deadline.pause("the standby does not catch up");
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
