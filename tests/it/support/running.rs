//! A run of the tool that goes on while the test looks.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use super::deadline::Deadline;
use super::inspect::dump;
use super::sandbox::Sandbox;

/// A run of the tool with `--output json`, followed line by line.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) stderr: Lines<BufReader<ChildStderr>>,
    /// Seen until now.
    pub(crate) batches: u64,
}

impl Running {
    pub(crate) fn start(sandbox: &Sandbox, call: &[&str]) -> Self {
        let mut command = sandbox.command();
        let command = command.args(["--output", "json"]).args(call);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr, batches: 0 }
    }

    pub(crate) async fn event(&mut self) -> Option<Value> {
        let line = self.stdout.next_line().await.unwrap()?;
        let event: Value = serde_json::from_str(&line).unwrap();
        self.batches += u64::from(is_batch(&event));
        Some(event)
    }

    /// Reads on until `wanted` is true of an event.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) {
        while !wanted(&self.event().await.expect("the run ended early")) {}
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// The exit code, the last line of stdout, and what stderr said.
    pub(crate) async fn end(&mut self) -> (Option<i32>, Value, String) {
        let mut last = Value::Null;
        while let Some(event) = self.event().await {
            last = event;
        }
        let mut said = Vec::new();
        while let Some(line) = self.stderr.next_line().await.unwrap() {
            said.push(line);
        }
        (self.child.wait().await.unwrap().code(), last, said.join("\n"))
    }
}

/// Whether a batch is where its strategy writes it first.
pub(crate) fn is_batch(event: &Value) -> bool {
    event["event"] == "batch" || event["event"] == "staged"
}

/// What `query` finds in the database of `url`, as soon as that is as it should be.
pub(crate) fn until(url: &str, query: &str, is_so: impl Fn(&str) -> bool) -> String {
    let deadline = Deadline::new();
    loop {
        let found = String::from_utf8(dump(url, query)).unwrap();
        if is_so(found.trim_end()) {
            return found.trim_end().to_owned();
        }
        deadline.pause(format_args!("{query}: {found}"));
    }
}

/// Until a session of the tool waits for the lock on `table` in the target. Other locks are waited for now and then, and soon
/// had.
pub(crate) fn until_it_waits_for_table(sandbox: &Sandbox, table: &str) {
    until_it_waits(sandbox, &format!("relation = '{table}'::regclass"));
}

/// The same for an advisory lock.
pub(crate) fn until_it_waits_for_lock(sandbox: &Sandbox, lock: u32) {
    until_it_waits(sandbox, &format!("locktype = 'advisory' AND objid = {lock}"));
}

fn until_it_waits(sandbox: &Sandbox, which: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database JOIN pg_stat_activity USING (pid)
         WHERE d.datname = current_database() AND application_name LIKE 'dewey-sync%' AND NOT granted AND {which}"
    );
    until(&sandbox.target_admin_url(), &waiting, |count| count != "0");
}
