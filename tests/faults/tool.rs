//! A running tool: what it says, how it ends, which signals it gets.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::proxy::Proxy;
use crate::servers::kill;
use crate::world::{Failure, HANGS, Harm, Verdict, ensure};

/// A running tool.
pub(crate) struct Tool {
    child: Child,
    started: Instant,
    /// Grows with each thing said.
    said: watch::Receiver<String>,
    /// The readers of standard output and standard error.
    reading: Vec<JoinHandle<()>>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// None: a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) took: Duration,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        write!(f, "ended with {code} after {:.1} s, saying\n{}", self.took.as_secs_f64(), self.said)
    }
}

impl Tool {
    /// Reads what a child says, from now on, also into `all`.
    pub(crate) fn follow(mut child: Child, all: &Arc<Mutex<String>>) -> Self {
        let (sender, said) = watch::channel(String::new());
        let sender = Arc::new(sender);
        let mut reading = Vec::new();
        let outputs: [Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as _),
            child.stderr.take().map(|output| Box::new(output) as _),
        ];
        for mut output in outputs.into_iter().flatten() {
            let (sender, all) = (Arc::clone(&sender), Arc::clone(all));
            reading.push(tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = output.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    all.lock().unwrap().push_str(&text);
                    sender.send_modify(|said| said.push_str(&text));
                }
            }));
        }
        Self { child, started: Instant::now(), said, reading }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(name, &[self.pid()]);
    }

    /// Waits until the run has said `text`.
    pub(crate) async fn until_said(&mut self, text: &str) -> Verdict {
        let came = {
            let waiting = tokio::time::timeout(HANGS, self.said.wait_for(|said| said.contains(text)));
            matches!(waiting.await, Ok(Ok(_)))
        };
        ensure(came, Harm::Hung, || format!("`{text}` was not said: {}", *self.said.borrow()))
    }

    /// Waits until a proxy's message comes.
    pub(crate) async fn until_reached(&mut self, proxy: &Proxy) -> Verdict {
        let ended = tokio::time::timeout(HANGS, async {
            tokio::select! {
                biased;
                () = proxy.reached() => true,
                _ = self.child.wait() => false,
            }
        });
        let ended = ended.await;
        ensure(ended == Ok(true), Harm::NotFired, || {
            format!("the fault did not fire: {}", *self.said.borrow())
        })
    }

    /// SIGKILL, and returns when it is dead.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for the end.
    pub(crate) async fn end(self) -> Verdict<Ran> {
        self.end_within(HANGS).await
    }

    pub(crate) async fn end_within(mut self, limit: Duration) -> Verdict<Ran> {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        let Ok(status) = ended else {
            let said = self.said.borrow().clone();
            return Err(Failure { harm: Harm::Hung, text: format!("goes on after {limit:?}:\n{said}") });
        };
        let took = self.started.elapsed();
        for reader in self.reading.drain(..) {
            // One that was stopped read nothing more.
            let _ = reader.await;
        }
        let said = self.said.borrow().clone();
        Ok(Ran { code: status.unwrap().code(), said, took })
    }

    /// Closes the reading end of its standard output.
    pub(crate) fn close_stdout(&self) {
        self.reading[0].abort();
    }
}
