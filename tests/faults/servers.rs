//! Pairs of temporary servers: one that all gentle cases share, and some for the cases that stop and kill servers.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dewey_sync::demo::server::Server;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::support::servers::{DEVELOPER, READER, execute, in_memory, start_source, start_target};
use crate::templates::Held;

/// Three batches of [`BATCH_SIZE`].
pub(crate) const BOOKS: u32 = 60;
pub(crate) const BATCH_SIZE: u32 = 20;

/// In every title, on both sides; no output may show it.
pub(crate) const MARKER: &str = "zmarkerz";

/// The roles' password; no output may show it.
pub(crate) const PASSWORD: &str = "pa55-w0rd-that-n0body-says";

/// What all servers and their logs take.
const NEEDED_MIB: u64 = 6000;

/// How long a killed server may take to come up again.
const COMES_UP: Duration = Duration::from_secs(20);

/// One of the two servers of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Source,
    Target,
}

impl Which {
    pub(crate) const BOTH: [Self; 2] = [Self::Source, Self::Target];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

/// Production and development.
pub(crate) struct Pair {
    source: Mutex<Server>,
    target: Mutex<Server>,
    /// What the databases hold that the cases copy.
    pub(crate) held: Held,
}

impl Pair {
    /// Both servers, each with its role and with the databases that the cases copy.
    pub(crate) async fn start() -> Self {
        let (source, target) = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let source = scope.spawn(|| start_source(in_memory(NEEDED_MIB)));
                let target = start_target(in_memory(NEEDED_MIB)).unwrap();
                (source.join().unwrap().unwrap(), target)
            })
        });
        let mut pair = Self { source: Mutex::new(source), target: Mutex::new(target), held: Held::default() };
        pair.held = pair.make_templates().await;
        pair
    }

    /// A URL for the superuser, through the socket, where no password costs time.
    pub(crate) fn url(&self, which: Which, database: &str) -> String {
        let server = self.server(which);
        let mut url = url::Url::parse("postgres://postgres@localhost").unwrap();
        url.set_path(database);
        url.query_pairs_mut()
            .append_pair("host", &server.directory().display().to_string())
            .append_pair("port", &server.port().to_string());
        url.into()
    }

    /// A URL for the role that the tool is given.
    pub(crate) fn url_of_tool(&self, which: Which, database: &str) -> String {
        let mut url = url::Url::parse(&self.server(which).url(database)).unwrap();
        let role = if which == Which::Source { READER } else { DEVELOPER };
        url.set_username(role).unwrap();
        url.set_password(Some(PASSWORD)).unwrap();
        url.into()
    }

    pub(crate) fn port(&self, which: Which) -> u16 {
        self.server(which).port()
    }

    pub(crate) fn directory(&self, which: Which) -> std::path::PathBuf {
        self.server(which).directory().to_owned()
    }

    pub(crate) fn server(&self, which: Which) -> MutexGuard<'_, Server> {
        let server = if which == Which::Source { &self.source } else { &self.target };
        server.lock().unwrap()
    }

    pub(crate) async fn forget(&self, which: Which, database: &str) {
        execute(&self.url(which, "postgres"), &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    }

    /// Starts a stopped or killed server again, as soon as what is left of it has gone.
    pub(crate) fn start_again(&self, which: Which) {
        let deadline = Instant::now() + COMES_UP;
        tokio::task::block_in_place(|| {
            while let Err(error) = self.server(which).start_again() {
                assert!(Instant::now() < deadline, "{error}: {:?}", error.causes());
            }
        });
    }

    /// Sends a signal to every process of a server.
    pub(crate) fn signal_all(&self, which: Which, signal: &str) {
        let postmaster = self.server(which).pid();
        kill(signal, &[postmaster]);
        let children = children(postmaster);
        if !children.is_empty() {
            kill(signal, &children);
        }
    }
}

/// With settings in which both servers say the same about the same value.
pub(crate) async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    let settings = [
        ("DateStyle", "ISO"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("IntervalStyle", "postgres"),
    ];
    options.options(settings).connect().await.unwrap()
}

/// Sends a signal, by its name, to processes.
pub(crate) fn kill(signal: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    // A process that has ended meanwhile is no failure.
    let mut kill = Command::new(if Path::new("/bin/kill").exists() { "/bin/kill" } else { "kill" });
    kill.arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status().unwrap();
}

fn children(pid: u32) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &pid.to_string()]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().filter_map(|line| line.parse().ok()).collect()
}
