//! The tool on a terminal, for the questions.

use std::process::ExitStatus;
use std::time::Duration;

use pty_process::{Pty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use super::sandbox::Sandbox;

/// How Linux tells that the last process has closed a terminal.
const EIO: i32 = 5;

/// The tool on a terminal of 80 columns.
pub(crate) struct Terminal {
    pty: Pty,
    pub(crate) child: Child,
    seen: String,
}

impl Terminal {
    pub(crate) fn start(sandbox: &Sandbox, call: &[&str]) -> Self {
        let command = sandbox.command();
        let program = command.as_std().get_program().to_owned();
        let arguments: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
        Self::of(sandbox, pty_process::Command::new(program).args(arguments).args(call))
    }

    pub(crate) fn of(sandbox: &Sandbox, command: pty_process::Command) -> Self {
        let environment = sandbox.command();
        let environment = environment.as_std().get_envs().filter_map(|(key, value)| Some((key, value?)));
        Self::with(command.env_clear().envs(environment).env("TERM", "xterm").current_dir("/"))
    }

    /// Any command as it is.
    pub(crate) fn with(command: pty_process::Command) -> Self {
        let (pty, terminal) = pty_process::open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let child = command.kill_on_drop(true).spawn(terminal).unwrap();
        Self { pty, child, seen: String::new() }
    }

    /// Reads on until `text` is on the screen; what came since the last call.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            assert!(self.read().await, "`{text}` did not come: {}", self.seen);
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end).collect()
    }

    /// Reads on until `text` or `other` is on the screen; what came before `text`, if it was that.
    pub(crate) async fn until_either(&mut self, text: &str, other: &str) -> Option<String> {
        while !self.seen.contains(text) && !self.seen.contains(other) {
            assert!(self.read().await, "neither `{text}` nor `{other}` came: {}", self.seen);
        }
        if self.seen.contains(text) { Some(self.until(text).await) } else { None }
    }

    pub(crate) async fn answer(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.unwrap();
    }

    /// The exit code and all that was not read before.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        while self.read().await {}
        (self.child.wait().await.unwrap(), self.seen)
    }

    /// False when the other end is closed.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(Duration::from_mins(1), self.pty.read(&mut bytes)).await;
        let length = match read.unwrap_or_else(|_| panic!("nothing came: {}", self.seen)) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(EIO) => 0,
            Err(error) => panic!("{error}"),
        };
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        length > 0
    }
}

/// What a terminal shows of `text` that never moves its cursor up: its lines, without their colours and bars.
pub(crate) fn shown(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let lines = text.split('\n').map(|line| line.rsplit(['\r', '\u{1b}']).next().unwrap());
    let lines = lines.map(|line| line.strip_prefix("[2K").or(line.strip_prefix("[K")).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}
