//! A pooler in transaction mode, as hosted services put in front of production: it refuses start-up options and lends
//! the session to somebody else after each transaction.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dewey_sync::demo::server::Server;
use tempfile::TempDir;

use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{DEVELOPER, READER, SERVERS, execute};

/// Ends the pooler when the pipe to it is closed, as it is when this process ends, however it ends.
const SUPERVISE: &str = r#""$1" -q "$2" & read -r _; kill "$!"; wait"#;

/// pgbouncer in front of a server, gone when dropped.
struct Pooler {
    port: u16,
    supervisor: Child,
    _directory: TempDir,
}

impl Pooler {
    /// `more` are further lines of the settings.
    fn start(server: &Server, more: &str) -> Self {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
            "/usr/local/bin/pgbouncer",
        ];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("there is no pgbouncer: `sudo apt-get install pgbouncer` installs it");
        // pgbouncer refuses root as PostgreSQL does.
        let account = fs::metadata(server.directory()).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let (users, settings) = (directory.path().join("users"), directory.path().join("settings"));
        fs::write(&users, [READER, DEVELOPER].map(|role| format!("\"{role}\" \"{role}\"\n")).concat())
            .unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\npool_mode = transaction\nauth_type = scram-sha-256\n\
             auth_file = {users}\n{more}\n",
            server_port = server.port(),
            users = users.display(),
        );
        fs::write(&settings, text).unwrap();
        for path in [directory.path(), &users, &settings] {
            chown(path, Some(account.uid()), Some(account.gid())).unwrap();
        }
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", SUPERVISE, "sh", program])
            .arg(&settings)
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let supervisor = shell.uid(account.uid()).gid(account.gid()).current_dir("/").spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not listen");
        }
        Self { port, supervisor, _directory: directory }
    }

    /// The same URL, but through the pooler.
    fn through(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Syncs again and again, each time other titles, so that prepared statements and settings of one client meet those of the next.
async fn check(sandbox: &Sandbox) {
    for call in [
        &["sync", "--yes"][..],
        &["sync", "--yes", "--batch-size", "50"],
        &["sync", "--yes", "--batch-size", "50"],
        &["sync", "--yes", "--strategy", "atomic"],
        &["sync", "--yes", "--strategy", "atomic", "--batch-size", "50"],
        &["sync", "--yes", "--strategy", "batched", "--batch-size", "50"],
        &["sync", "--yes", "--strategy", "batched", "--batch-size", "50"],
        &["verify"],
        &["migrate", "up"],
        &["migrate", "up"],
    ] {
        if call.contains(&"sync") {
            execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        }
        let run = sandbox.run(call).await;
        assert_eq!(run.code, Some(0), "{call:?}: {run:?}");
        assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS), "{call:?}");
    }
}

#[tokio::test]
async fn the_source_may_be_behind_a_pooler() {
    let sandbox = Sandbox::new().await;
    let pooler = Pooler::start(&SERVERS.source, "");
    sandbox.set_urls(&pooler.through(&sandbox.source_url()), &sandbox.target_url());
    let run = sandbox.run(&["-v", "sync", "--dry-run"]).await;
    assert!(run.stderr.contains("the source refuses start-up options"), "{run:?}");
    check(&sandbox).await;
}

#[tokio::test]
async fn both_sides_may_be_behind_poolers_that_the_url_tells_of() {
    let sandbox = Sandbox::new().await;
    let poolers = [Pooler::start(&SERVERS.source, ""), Pooler::start(&SERVERS.target, "")];
    let [source, target] = [sandbox.source_url(), sandbox.target_url()];
    let [source, target] = [poolers[0].through(&source), poolers[1].through(&target)];
    sandbox.set_urls(&format!("{source}?pgbouncer=true"), &format!("{target}?pgbouncer=true"));
    check(&sandbox).await;
}

#[tokio::test]
async fn both_sides_may_be_behind_poolers_that_do_not_show() {
    let sandbox = Sandbox::new().await;
    let silent = "ignore_startup_parameters = extra_float_digits,options";
    let poolers = [Pooler::start(&SERVERS.source, silent), Pooler::start(&SERVERS.target, silent)];
    let [source, target] = [sandbox.source_url(), sandbox.target_url()];
    sandbox.set_urls(&poolers[0].through(&source), &poolers[1].through(&target));
    check(&sandbox).await;
}
