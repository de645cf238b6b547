//! The tool on a terminal, up to its question.

use std::time::Instant;

use pty_process::{Pty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::tool::Ran;
use crate::world::{Failure, HANGS, Harm, Verdict, World, ensure};

const QUESTION: &str = "[y/N] ";

pub(crate) struct Terminal {
    pty: Pty,
    child: Child,
    started: Instant,
    said: String,
}

impl Terminal {
    /// Starts a run that asks, and waits for its question.
    pub(crate) async fn ask(world: &World) -> Verdict<Self> {
        let call = world.call(1);
        let command = world.command(&call);
        let command = command.as_std();
        let environment = command.get_envs().filter_map(|(key, value)| Some((key, value?)));
        let (pty, terminal) = pty_process::open().unwrap();
        pty.resize(Size::new(24, 200)).unwrap();
        let command =
            pty_process::Command::new(command.get_program()).args(&call).env_clear().envs(environment);
        let child = command.env("TERM", "xterm").current_dir("/").kill_on_drop(true).spawn(terminal).unwrap();
        let mut terminal = Self { pty, child, started: Instant::now(), said: String::new() };
        while !terminal.said.contains(QUESTION) {
            let more = terminal.read(world).await?;
            ensure(more, Harm::Other, || format!("no question came: {}", terminal.said))?;
        }
        Ok(terminal)
    }

    pub(crate) async fn answer(&mut self, keys: &str) {
        // A tool that has ended meanwhile reads nothing.
        let _ = self.pty.write_all(keys.as_bytes()).await;
    }

    /// Waits for the end.
    pub(crate) async fn end(mut self, world: &World) -> Verdict<Ran> {
        while self.read(world).await? {}
        let status = self.child.wait().await.unwrap();
        Ok(Ran { code: status.code(), said: self.said, took: self.started.elapsed() })
    }

    /// False when the other end is closed.
    async fn read(&mut self, world: &World) -> Verdict<bool> {
        let mut bytes = [0; 4096];
        let Ok(read) = tokio::time::timeout(HANGS, self.pty.read(&mut bytes)).await else {
            return Err(Failure { harm: Harm::Hung, text: format!("nothing came: {}", self.said) });
        };
        // A terminal that its last process has closed reports an error.
        let length = read.unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..length]);
        self.said.push_str(&text);
        world.said.lock().unwrap().push_str(&text);
        Ok(length > 0)
    }
}
