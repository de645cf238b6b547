//! A temporary PostgreSQL server: made in about a second, stopped with the process that made it.
//!
//! Invariant: the server and its directory do not outlive this process unless [`Server::keep`] says so.
//! `supervise.sh` sees to that from outside, because neither `Drop` nor a signal handler runs on SIGKILL.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::options::Making;
pub use super::options::ServerOptions;
use crate::error::{Error, Kind, Result};

/// The port is free when it is chosen and may be taken when PostgreSQL binds it.
const PORT_ATTEMPTS: u32 = 5;

/// How many of the log's last lines explain why a server did not start.
const LOG_TAIL_LINES: usize = 12;

/// A running server, listening on 127.0.0.1 and on a socket in its directory. Dropping it ends it and removes
/// its directory.
#[derive(Debug)]
pub struct Server {
    /// Empty once the server is kept.
    supervisor: Option<Supervisor>,
    directory: PathBuf,
    password: String,
    port: u16,
    pid: u32,
}

/// A server that was left running. `kill -INT <pid>` ends it and removes the directory.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The process id of the postmaster.
    pub pid: u32,
    /// Data, log and socket; gone once the server has ended.
    pub directory: PathBuf,
}

impl ServerOptions {
    /// Makes it a physical copy of `original`, with its settings and passwords, that goes its own way from then on.
    #[must_use]
    pub fn copy_of(mut self, original: &Server) -> Self {
        // Its socket trusts whoever may enter its directory.
        let socket =
            [format!("--host={}", original.directory().display()), format!("--port={}", original.port())];
        let options = ["--username=postgres", "--checkpoint=fast", "--no-sync"].map(str::to_owned);
        let options = socket.into_iter().chain(options).collect();
        self.making = Making::Basebackup(options, original.password().to_owned());
        self
    }

    /// Makes it a hot standby of `primary`, as [`copy_of`](Self::copy_of) with the log that follows.
    #[must_use]
    pub fn standby_of(mut self, primary: &Server) -> Self {
        self = self.copy_of(primary);
        if let Making::Basebackup(options, _) = &mut self.making {
            options.push("--write-recovery-conf".to_owned());
        }
        self
    }
}

impl Server {
    /// Makes and starts a server; blocks until it accepts connections.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] with the log's last lines when it does not come up.
    pub fn start(options: &ServerOptions) -> Result<Self> {
        let password = options.password();
        let (directory, supervisor) = supervise(options, &password).map_err(|cause| {
            Error::new(Kind::Internal, "could not set up a PostgreSQL server").because(cause)
        })?;
        // From here on the drop of `server` cleans up.
        let mut server = Self { supervisor: Some(supervisor), directory, password, port: 0, pid: 0 };
        server.listen()?;
        Ok(server)
    }

    /// The URL of one of its databases for the superuser, over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser `postgres`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What the server logs.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Holds data, log and socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the postmaster with SIGKILL, as a crash would, and returns when it is dead. Its sessions notice by
    /// themselves.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.ask("kill KILL").map(drop)
    }

    /// Ends it in PostgreSQL's immediate way, without a checkpoint, and returns when it and its sessions are gone.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn stop_at_once(&mut self) -> Result<()> {
        self.ask("kill QUIT").map(drop)
    }

    /// Starts it on its port and data again; blocks until it accepts connections.
    ///
    /// # Errors
    /// [`Kind::Unreachable`] with the log's last lines when it does not come up, as while sessions of a killed
    /// server have not noticed yet.
    pub fn start_again(&mut self) -> Result<()> {
        if self.start_at(self.port)? {
            return Ok(());
        }
        Err(Error::new(Kind::Unreachable, "PostgreSQL did not start again").because(self.log_tail()))
    }

    /// Leaves the server running when this process ends.
    ///
    /// # Errors
    /// When the supervisor is gone, and the server with it.
    pub fn keep(mut self) -> Result<Kept> {
        if let Some(mut supervisor) = self.supervisor.take() {
            writeln!(supervisor.requests, "keep").map_err(lost)?;
        }
        Ok(Kept { pid: self.pid, directory: self.directory.clone() })
    }

    fn listen(&mut self) -> Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            self.port = free_port().map_err(lost)?;
            if self.start_at(self.port)? {
                return Ok(());
            }
            if !self.log_tail().contains("Address already in use") {
                break;
            }
        }
        Err(Error::new(Kind::Unreachable, "PostgreSQL did not start").because(self.log_tail()))
    }

    /// Whether it came up.
    fn start_at(&mut self, port: u16) -> Result<bool> {
        let answer = self.ask(&format!("start {port}"))?;
        let pid = answer.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        self.pid = pid.unwrap_or(self.pid);
        Ok(pid.is_some())
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        let Some(supervisor) = &mut self.supervisor else { return Err(lost("it was let go")) };
        writeln!(supervisor.requests, "{request}").map_err(lost)?;
        let mut answer = String::new();
        match supervisor.answers.read_line(&mut answer) {
            Ok(0) => Err(lost(self.log_tail())),
            Ok(_) => Ok(answer.trim_end().to_owned()),
            Err(cause) => Err(lost(cause)),
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Supervisor { requests, mut process, .. }) = self.supervisor.take() {
            // The end of the requests ends the server. An immediate shutdown takes PostgreSQL 5 s at most.
            drop(requests);
            // Nothing can be done, nor needs to be, about a supervisor that was already collected.
            let _ = process.wait();
        }
    }
}

fn lost(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Internal, "lost the supervisor of a PostgreSQL server").because(cause)
}

/// The shell that runs `supervise.sh`. It ends when `requests` is closed.
#[derive(Debug)]
struct Supervisor {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    process: Child,
}

/// Makes the directory and starts the supervisor, which owns the directory from then on.
fn supervise(options: &ServerOptions, password: &str) -> io::Result<(PathBuf, Supervisor)> {
    let directory = tempfile::Builder::new().prefix("dewey-sync-").tempdir_in(&options.parent)?;
    // A new directory belongs to the effective user, whom the standard library does not tell otherwise.
    let account = if fs::metadata(directory.path())?.uid() == 0 { Some(unprivileged()?) } else { None };
    let give = |path: &Path| account.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)));
    let script = directory.path().join("supervise.sh");
    let settings = options.configuration();
    for (name, text) in
        [("password", password), ("settings", &settings), ("supervise.sh", include_str!("supervise.sh"))]
    {
        let path = directory.path().join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        give(&path)?;
    }
    give(directory.path())?;

    let mut shell = Command::new("/bin/sh");
    shell
        .arg(script)
        .arg(&options.binaries)
        .arg(directory.path())
        .args(options.making(&directory.path().join("password")))
        .current_dir(directory.path())
        // PostgreSQL reads `PGDATA`, `PGPORT` and others; English messages let a taken port be recognised.
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is for this process, which then decides about its servers.
        .process_group(0);
    if let Some((uid, gid)) = account {
        shell.uid(uid).gid(gid);
    }
    let mut process = shell.spawn()?;
    let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
        return Err(io::Error::other("no pipes to the supervisor"));
    };
    Ok((directory.keep(), Supervisor { requests, answers: BufReader::new(answers), process }))
}

/// User and group id of the account that runs the server in place of root, whom PostgreSQL refuses.
fn unprivileged() -> io::Result<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    ["postgres", "nobody"].iter().find_map(|name| account(&accounts, name)).ok_or_else(|| {
        io::Error::other("root cannot run PostgreSQL, and no account `postgres` or `nobody` can")
    })
}

/// Looks up `name` in the text of a passwd file: `name:password:uid:gid:…`.
fn account(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields =
        accounts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::binaries;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "postgresql:x:1:2::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/bash\n";
        assert_eq!(account(accounts, "postgres"), Some((101, 104)));
        assert_eq!(account(accounts, "nobody"), None);
    }

    #[test]
    fn a_server_that_does_not_start_says_why() {
        let options = ServerOptions::new(binaries::find(None).unwrap()).setting("no_such_setting", "1");
        let error = Server::start(&options).unwrap_err();
        assert_eq!(error.kind, Kind::Unreachable);
        let cause = error.causes().concat();
        assert!(cause.contains("unrecognized configuration parameter \"no_such_setting\""), "{cause}");
    }
}
