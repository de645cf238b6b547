//! The two servers, and for each worker a database of the same name on both that its cases make anew.

use std::sync::Arc;

use dewey_sync::demo::server::Server;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use crate::support::servers::{DEVELOPER, READER, execute, in_memory, start_source, start_target};

/// What both servers take.
const NEEDED_MIB: u64 = 3000;

/// Catalogs grow with every schema that is dropped; a database as old as this is made anew.
const CASES_OF_A_DATABASE: u32 = 250;

/// The versions from which on SET NULL takes a list of columns.
const COLUMN_LISTS: i32 = 15;

/// Production's server and development's.
pub(crate) struct Lab {
    source: Server,
    target: Server,
    /// Whether the target knows `SET NULL (column)`.
    pub(crate) has_column_lists: bool,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        let (source, target) = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let source = scope.spawn(|| start_source(in_memory(NEEDED_MIB)));
                let target = start_target(in_memory(NEEDED_MIB)).unwrap();
                (source.join().unwrap().unwrap(), target)
            })
        });
        let mut connection = connect(&target.url("postgres")).await;
        let version = sqlx::raw_sql("SELECT current_setting('server_version_num')::int / 10000");
        let version: i32 = version.fetch_one(&mut connection).await.unwrap().get(0);
        connection.close().await.unwrap();
        Self { source, target, has_column_lists: version >= COLUMN_LISTS }
    }

    /// Databases for one worker.
    pub(crate) async fn bench(self: &Arc<Self>, worker: usize) -> Bench {
        let database = format!("schemas_{worker}");
        let (source, target) = self.make(&database).await;
        Bench { lab: Arc::clone(self), database, source, target, cases: 0 }
    }

    async fn make(&self, database: &str) -> (PgConnection, PgConnection) {
        for (server, owner) in [(&self.source, "postgres"), (&self.target, DEVELOPER)] {
            let admin = server.url("postgres");
            execute(&admin, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await;
            execute(&admin, &format!("CREATE DATABASE {database} OWNER {owner}")).await;
        }
        let source = connect(&through_socket(&self.source, "postgres", database)).await;
        let target = connect(&through_socket(&self.target, DEVELOPER, database)).await;
        (source, target)
    }
}

/// What one worker plays its cases on.
pub(crate) struct Bench {
    lab: Arc<Lab>,
    pub(crate) database: String,
    /// As the superuser.
    pub(crate) source: PgConnection,
    /// As the role that owns everything there, which is the tool's.
    pub(crate) target: PgConnection,
    cases: u32,
}

impl Bench {
    /// The tool's URLs of the source and the target.
    pub(crate) fn urls(&self) -> [String; 2] {
        [
            through_socket(&self.lab.source, READER, &self.database),
            through_socket(&self.lab.target, DEVELOPER, &self.database),
        ]
    }

    /// What tells the target from the source, whose database has the same name.
    pub(crate) fn target_name(&self) -> String {
        let target = &self.lab.target;
        format!("{}@{}:{}", self.database, target.directory().display(), target.port())
    }

    /// Makes both databases hold what the scripts make.
    pub(crate) async fn set_up(&mut self, source: &str, target: &str) -> Result<(), String> {
        self.cases += 1;
        if self.cases > CASES_OF_A_DATABASE {
            self.renew().await;
        }
        let (at_source, at_target) =
            tokio::join!(run(&mut self.source, source), run(&mut self.target, target));
        at_source.map_err(|error| format!("the source: {error}"))?;
        at_target.map(drop).map_err(|error| format!("the target: {error}"))
    }

    /// New databases with new connections, whatever became of the old ones.
    pub(crate) async fn renew(&mut self) {
        (self.source, self.target) = self.lab.make(&self.database).await;
        self.cases = 1;
    }
}

/// Runs statements as one transaction; every row of every one of them.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await
}

/// Where no password costs time.
fn through_socket(server: &Server, role: &str, database: &str) -> String {
    let mut url = url::Url::parse("postgres://localhost").unwrap();
    url.set_username(role).unwrap();
    url.set_path(database);
    url.query_pairs_mut()
        .append_pair("host", &server.directory().display().to_string())
        .append_pair("port", &server.port().to_string());
    url.into()
}

/// With settings in which a value has one text, which loses nothing.
async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    let settings = [
        ("DateStyle", "ISO"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("IntervalStyle", "postgres"),
    ];
    options.options(settings).disable_statement_logging().connect().await.unwrap()
}
