//! The databases that the cases copy: production's books, and for each work what development holds before it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use dewey_sync::demo::books::{self, SCHEMA};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::expected::{COPIED, State, relations};
use crate::servers::{BATCH_SIZE, BOOKS, MARKER, PASSWORD, Pair, Which, connect};
use crate::support::servers::{DEVELOPER, DEVELOPER_EMAIL, READER, execute, set_password};
use crate::way::{Way, Work};

const SOURCE: &str = "books";
const OLD_BOOKS: &str = "old_books";
const NO_BOOKS: &str = "no_books";
/// By the engine that synced it.
const SYNCED: [(&str, &str); 2] = [("insert", "synced_by_insert"), ("copy", "synced_by_copy")];

/// What the templates hold, and with them each copy that nothing has changed yet.
#[derive(Default)]
pub(crate) struct Held {
    /// Production's books, with the target's owner.
    pub(crate) production: State,
    /// By the template's name.
    targets: BTreeMap<&'static str, Target>,
}

/// What one of the targets' templates holds.
pub(crate) struct Target {
    pub(crate) state: State,
    /// Its tables and other relations.
    pub(crate) relations: Vec<String>,
}

impl Held {
    /// Development before the work.
    pub(crate) fn before(&self, way: Way) -> &Target {
        &self.targets[of(way)]
    }

    /// What an undo has to restore.
    pub(crate) fn old_books(&self) -> &State {
        &self.targets[OLD_BOOKS].state
    }
}

fn of(way: Way) -> &'static str {
    match way.work {
        Work::Sync => OLD_BOOKS,
        Work::FirstFill => NO_BOOKS,
        Work::Undo => SYNCED.iter().find(|(engine, _)| *engine == way.engine).unwrap().1,
    }
}

/// A number that a sequence of a copied database gives out is not in the log before 32 of them are, so that a crash takes it
/// back; this makes the next one the first of 32.
const LOGGED: &str = "SELECT setval(seqrelid, pg_sequence_last_value(seqrelid)) FROM pg_sequence
    WHERE pg_sequence_last_value(seqrelid) IS NOT NULL";

impl Pair {
    /// Makes a source that a case may change.
    pub(crate) async fn copy_source(&self, database: &str) {
        let copying = format!("CREATE DATABASE {database} TEMPLATE {SOURCE}");
        execute(&self.url(Which::Source, "postgres"), &copying).await;
    }

    /// Makes a target as it is before the work.
    pub(crate) async fn copy_target(&self, way: Way, database: &str) {
        self.copy_of_target(of(way), database).await;
    }

    async fn copy_of_target(&self, template: &str, database: &str) {
        let copying = format!("CREATE DATABASE {database} TEMPLATE {template} OWNER {DEVELOPER}");
        execute(&self.url(Which::Target, "postgres"), &copying).await;
        // The copy of a marked database is not marked; this says that it is.
        let mark = "UPDATE dewey_sync.identity SET database_name = current_database(), database_oid =
                    (SELECT oid FROM pg_database WHERE datname = current_database())";
        execute(&self.url(Which::Target, database), mark).await;
    }

    /// Makes the templates.
    pub(crate) async fn make_templates(&self) -> Held {
        for (which, role) in [(Which::Source, READER), (Which::Target, DEVELOPER)] {
            set_password(&self.server(which), role, PASSWORD);
        }
        self.make_source().await;
        self.make_old_books().await;
        self.copy_of_target(OLD_BOOKS, NO_BOOKS).await;
        let empty = r#"TRUNCATE "Book" RESTART IDENTITY CASCADE"#;
        execute(&self.url(Which::Target, NO_BOOKS), empty).await;
        for (engine, name) in SYNCED {
            self.copy_of_target(OLD_BOOKS, name).await;
            let size = BATCH_SIZE.to_string();
            let sync = ["sync", "--yes", "--allow-cascade", "--user-id", "1", "--batch-size", &size];
            self.run(name, &[&sync[..], &["--engine", engine]].concat());
            execute(&self.url(Which::Target, name), LOGGED).await;
        }
        let held = self.held().await;
        // A copy needs a template that nobody uses.
        for (which, template) in
            [(Which::Source, SOURCE), (Which::Target, OLD_BOOKS), (Which::Target, NO_BOOKS)]
                .into_iter()
                .chain(SYNCED.map(|(_, name)| (Which::Target, name)))
        {
            let close = format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false");
            execute(&self.url(which, "postgres"), &close).await;
        }
        held
    }

    async fn held(&self) -> Held {
        let mut held = Held::default();
        let mut source = connect(&self.url(Which::Source, SOURCE)).await;
        held.production = State::of_source(&mut source).await;
        source.close().await.unwrap();
        for name in [OLD_BOOKS, NO_BOOKS].into_iter().chain(SYNCED.map(|(_, name)| name)) {
            let mut target = connect(&self.url(Which::Target, name)).await;
            let state = State::of_target(&mut target).await;
            held.targets.insert(name, Target { state, relations: relations(&mut target).await });
            target.close().await.unwrap();
        }
        held
    }

    async fn make_source(&self) {
        execute(&self.url(Which::Source, "postgres"), &format!("CREATE DATABASE {SOURCE}")).await;
        let mut source = connect(&self.url(Which::Source, SOURCE)).await;
        sqlx::raw_sql(SCHEMA).execute(&mut source).await.unwrap();
        books::fill(&mut source, BOOKS).await.unwrap();
        let marked = format!(
            r#"UPDATE "Book" SET title = '{MARKER} ' || title, synopsis = left(synopsis, 20000);
               GRANT SELECT ON "Book" TO {READER}"#
        );
        sqlx::raw_sql(AssertSqlSafe(marked)).execute(&mut source).await.unwrap();
        sqlx::raw_sql(r#"VACUUM (FULL, ANALYZE) "Book""#).execute(&mut source).await.unwrap();
        source.close().await.unwrap();
    }

    /// An older state of the source's books, with what hangs on them and the tool's ledger.
    async fn make_old_books(&self) {
        let admin = self.url(Which::Target, "postgres");
        execute(&admin, &format!("CREATE DATABASE {OLD_BOOKS} OWNER {DEVELOPER}")).await;
        let mut target = connect(&self.url_of_tool(Which::Target, OLD_BOOKS)).await;
        sqlx::raw_sql(SCHEMA).execute(&mut target).await.unwrap();
        for email in [DEVELOPER_EMAIL, "grace@example.org"] {
            books::add_developer(&mut target, email).await.unwrap();
        }
        sqlx::raw_sql(r#"ALTER SEQUENCE "Book_id_seq" RESTART 2001"#).execute(&mut target).await.unwrap();
        let mut source = connect(&self.url(Which::Source, SOURCE)).await;
        copy_books(&mut source, &mut target).await;
        source.close().await.unwrap();
        sqlx::raw_sql(include_str!("old_books.sql")).execute(&mut target).await.unwrap();
        target.close().await.unwrap();
        self.run(OLD_BOOKS, &["migrate", "up", "--mark-development", OLD_BOOKS]);
    }

    /// Runs the tool on a target's template.
    fn run(&self, target: &str, call: &[&str]) {
        let ran = Command::new(env!("CARGO_BIN_EXE_dewey-sync"))
            .args(call)
            .env_clear()
            .env("DEWEY_SOURCE_DATABASE_URL", self.url_of_tool(Which::Source, SOURCE))
            .env("DEWEY_TARGET_DATABASE_URL", self.url_of_tool(Which::Target, target))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}

async fn copy_books(source: &mut PgConnection, target: &mut PgConnection) {
    let rows = format!(r#"COPY (SELECT {COPIED}, 1 FROM "Book" ORDER BY isbn13 COLLATE "C") TO STDOUT"#);
    let bytes: Vec<_> = source.copy_out_raw(&rows).await.unwrap().try_collect().await.unwrap();
    let copying = format!(r#"COPY "Book" ({COPIED}, "ownerId") FROM STDIN"#);
    let mut copy = target.copy_in_raw(&copying).await.unwrap();
    for bytes in bytes {
        copy.send(bytes).await.unwrap();
    }
    copy.finish().await.unwrap();
}
