//! A throw-away PostgreSQL server for one test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Runs until it is dropped.
pub(crate) struct ScratchServer {
    dir: TempDir,
    port: u16,
    user: User,
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// A running server with the superuser `postgres`, without a password.
pub(crate) fn start() -> ScratchServer {
    let dir = tempfile::tempdir().unwrap();
    let user = server_user(dir.path());
    chown(dir.path(), Some(user.uid), Some(user.gid)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = ScratchServer { dir, port, user };
    let data = server.dir.path().join("data");
    run(server.command("initdb").arg("-D").arg(&data).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        "-N",
    ]));
    let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off");
    let log = server.dir.path().join("log");
    run(server.command("pg_ctl").args(["start", "-w", "-o", &options, "-D"]).arg(&data).arg("-l").arg(&log));
    server
}

/// The URL of a database of this server.
pub(crate) fn url(server: &ScratchServer, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", server.port)
}

impl ScratchServer {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new(BIN).join(program));
        command.uid(self.user.uid).gid(self.user.gid).current_dir(self.dir.path());
        command
    }
}

impl Drop for ScratchServer {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        let stopped = self.command("pg_ctl").args(["stop", "-m", "immediate", "-w", "-D"]).arg(data).output();
        assert!(stopped.is_ok_and(|output| output.status.success()) || std::thread::panicking());
    }
}

/// `initdb` refuses root: then the account `postgres` runs the server.
fn server_user(own: &Path) -> User {
    let own = fs::metadata(own).unwrap();
    if own.uid() != 0 {
        return User { uid: own.uid(), gid: own.gid() };
    }
    let id = |flag| {
        let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    User { uid: id("-u"), gid: id("-g") }
}

fn run(command: &mut Command) {
    // `pg_ctl` hands its output to the server, which would keep a pipe open.
    let quiet = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let status = quiet.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
