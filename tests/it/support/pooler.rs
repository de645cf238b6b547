//! pgbouncer in front of a server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dewey_sync::demo::server::Server;
use tempfile::TempDir;

use super::deadline::Deadline;
use super::servers::{DEVELOPER, READER};

/// Ends the pooler when the pipe to it is closed, as it is when this process ends, however it ends.
const SUPERVISE: &str = r#""$1" -q "$2" & read -r _; kill "$!"; wait"#;

/// Gone when dropped.
pub(crate) struct Pooler {
    port: u16,
    supervisor: Child,
    _directory: TempDir,
}

impl Pooler {
    /// `mode` is when a client's server connection goes to the next client: at the end of its `transaction`, its `session` or
    /// its `statement`; `settings` are further lines of its file.
    pub(crate) fn start(server: &Server, mode: &str, settings: &str) -> Self {
        Self::before(server, server.port(), mode, settings)
    }

    /// The same, where `port` leads to the server.
    pub(crate) fn before(server: &Server, server_port: u16, mode: &str, settings: &str) -> Self {
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
        let (users, file) = (directory.path().join("users"), directory.path().join("settings"));
        fs::write(&users, [READER, DEVELOPER].map(|role| format!("\"{role}\" \"{role}\"\n")).concat())
            .unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\npool_mode = {mode}\nauth_type = scram-sha-256\n\
             auth_file = {users}\n{settings}\n",
            users = users.display(),
        );
        fs::write(&file, text).unwrap();
        for path in [directory.path(), &users, &file] {
            chown(path, Some(account.uid()), Some(account.gid())).unwrap();
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SUPERVISE, "sh", program]).arg(&file).stdin(Stdio::piped()).stderr(Stdio::null());
        let supervisor = shell.uid(account.uid()).gid(account.gid()).current_dir("/").spawn().unwrap();
        let deadline = Deadline::new();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            deadline.pause("pgbouncer does not listen");
        }
        Self { port, supervisor, _directory: directory }
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The same URL, but through the pooler.
    pub(crate) fn through(&self, url: &str) -> String {
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
