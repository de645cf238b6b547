//! A database on each of two servers with books to sync, and roles of their own that nobody else connects as.

use std::path::Path;

use dewey_sync::demo::books::{self, SCHEMA, add_developer};
use dewey_sync::demo::server::Server;
use sqlx::{Connection, Row};
use tempfile::TempDir;

use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::{Run, run_in};
use crate::support::servers::{DEVELOPER_EMAIL, SHORTER, as_role, connect, create_role, execute};

const BOOKS_COUNT: u32 = 60;

pub(crate) struct Pair<'a> {
    pub(crate) source: &'a Server,
    pub(crate) target: &'a Server,
    /// The name of both databases and of the role on either side.
    pub(crate) name: String,
    directory: TempDir,
}

impl<'a> Pair<'a> {
    pub(crate) async fn new(source: &'a Server, target: &'a Server, name: &str) -> Self {
        let name = format!("settings_{name}");
        for (server, books) in [(source, BOOKS_COUNT), (target, 0)] {
            create_role(server, &name);
            execute(&server.url("postgres"), &format!("CREATE DATABASE {name} OWNER {name}")).await;
            let owner = as_role(&server.url(&name), &name);
            execute(&owner, SCHEMA).await;
            let mut connection = connect(&owner).await;
            if books > 0 {
                books::fill(&mut connection, books).await.unwrap();
                sqlx::raw_sql(SHORTER).execute(&mut connection).await.unwrap();
            } else {
                add_developer(&mut connection, DEVELOPER_EMAIL).await.unwrap();
            }
            connection.close().await.unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let pair = Self { source, target, name, directory };
        pair.set_urls(&pair.url(source), &pair.url(target));
        pair
    }

    /// For the role that owns the database.
    pub(crate) fn url(&self, server: &Server) -> String {
        as_role(&server.url(&self.name), &self.name)
    }

    pub(crate) fn set_urls(&self, source: &str, target: &str) {
        for (file, url) in [(".env.production", source), (".env", target)] {
            std::fs::write(self.directory.path().join(file), format!("DEWEY_DB_DATABASE_URL={url}\n"))
                .unwrap();
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs the tool to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        run_in(self.directory(), arguments).await
    }

    /// Whether the target's books are the source's.
    pub(crate) fn is_equal(&self) -> bool {
        let [source, target] = [self.source, self.target].map(|server| dump(&server.url(&self.name), BOOKS));
        source == target
    }
}

/// What the server knows of each setting of these contexts: name, category, type, whether it is on, its least and its
/// greatest value, another word that it may be.
pub(crate) async fn known(server: &Server) -> Vec<Known> {
    let mut connection = connect(&server.url("postgres")).await;
    let rows = sqlx::raw_sql(
        "SELECT name, category, vartype, setting, coalesce(min_val, ''), coalesce(max_val, ''),
           coalesce((SELECT word FROM unnest(enumvals) word WHERE word <> setting LIMIT 1), '')
         FROM pg_settings WHERE context IN ('user', 'superuser') AND name NOT LIKE '%.%' ORDER BY name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let known = |row: &sqlx::postgres::PgRow| {
        let text = |at: usize| row.get::<String, _>(at);
        let (setting, least, greatest) = (text(3), text(4), text(5));
        let other = match text(2).as_str() {
            "bool" => if setting == "on" { "off" } else { "on" }.to_owned(),
            "integer" | "real" if setting == least => greatest,
            "integer" | "real" => least,
            _ => text(6),
        };
        Known { name: text(0), category: text(1), other }
    };
    rows.iter().map(known).collect()
}

/// A setting of a server.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) category: String,
    /// A value that it does not have; empty where the server names none.
    pub(crate) other: String,
}
