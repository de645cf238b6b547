//! A run of the tool and what its JSON says.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::lab::Bench;
use crate::snapshot::Snapshot;

/// After this long a run hangs: nobody else uses its databases.
const HANGS: Duration = Duration::from_mins(1);

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) call: String,
    /// None: it hung and was killed, or a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// Runs the tool to its end.
pub(crate) async fn run_tool(bench: &Bench, call: &[&str]) -> Ran {
    let [source, target] = bench.urls();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
    command
        .env_clear()
        .envs([("NO_COLOR", "1"), ("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent")])
        .env("DEWEY_SOURCE_DATABASE_URL", source)
        .env("DEWEY_TARGET_DATABASE_URL", target)
        .args(call)
        .args(["--output", "json"])
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let started = Instant::now();
    let output = tokio::time::timeout(HANGS, command.output()).await;
    let took = started.elapsed();
    let call = call.join(" ");
    let Ok(output) = output else {
        return Ran { call, code: None, stdout: String::new(), stderr: format!("hung for {took:?}"), took };
    };
    let output = output.unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ran { call, code: output.status.code(), stdout, stderr, took }
}

impl Ran {
    /// The last event of a name; null if there is none.
    pub(crate) fn event(&self, name: &str) -> Value {
        let events = self.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.rev().find(|event| event["event"] == name).unwrap_or_default()
    }

    /// The error's message and causes, in one line; empty if it says none.
    pub(crate) fn reason(&self) -> String {
        let error = &self.event("end")["error"];
        let causes = error["causes"].as_array().into_iter().flatten();
        let texts = [&error["message"]].into_iter().chain(causes).filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(": ")
    }

    /// Whether there is a cause, which is more than a message.
    pub(crate) fn has_a_cause(&self) -> bool {
        let error = &self.event("end")["error"];
        let causes = error["causes"].as_array().is_some_and(|causes| !causes.is_empty());
        causes && error["message"].as_str().is_some_and(|message| !message.is_empty())
    }

    /// What a dry run announces, by family.
    pub(crate) fn announced(&self, snapshot: &Snapshot) -> Result<BTreeMap<String, Announced>, String> {
        read(&self.event("preview")["dependents"], snapshot)
    }

    /// A list of the last line that is like that of a dry run.
    pub(crate) fn dependents(
        &self,
        list: &str,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<String, Announced>, String> {
        read(&self.event("end")[list], snapshot)
    }

    /// A list of the last line by family, such as `losses`: rows deleted, rows updated. `None` without such a list.
    pub(crate) fn losses(&self, list: &str, snapshot: &Snapshot) -> Result<Option<Losses>, String> {
        let end = self.event("end");
        let Some(found) = end[list].as_array() else { return Ok(None) };
        let mut losses = Losses::new();
        for loss in found {
            let family = family(loss, snapshot)?;
            let number = |name: &str| loss[name].as_u64().ok_or_else(|| format!("no `{name}`: {loss}"));
            let (deleted, updated) = losses.entry(family).or_default();
            *deleted += number("deleted")?;
            *updated += number("updated")?;
        }
        Ok(Some(losses))
    }
}

/// Rows deleted, rows updated, by family.
pub(crate) type Losses = BTreeMap<String, (u64, u64)>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) removed: u64,
    pub(crate) detached: u64,
    pub(crate) blocking: u64,
}

fn read(list: &Value, snapshot: &Snapshot) -> Result<BTreeMap<String, Announced>, String> {
    let mut announced: BTreeMap<String, Announced> = BTreeMap::new();
    for found in list.as_array().into_iter().flatten() {
        let family = family(found, snapshot)?;
        let rows = found["rows"].as_u64().ok_or_else(|| format!("no number of rows: {found}"))?;
        let sum = announced.entry(family).or_default();
        match found["fate"].as_str() {
            Some("removed") => sum.removed += rows,
            Some("detached") => sum.detached += rows,
            Some("blocking") => sum.blocking += rows,
            _ => return Err(format!("another fate: {found}")),
        }
    }
    Ok(announced)
}

fn family(named: &Value, snapshot: &Snapshot) -> Result<String, String> {
    let name = named["table"].as_str().unwrap_or_default();
    let family = snapshot.family_of_name(name);
    family.map(str::to_owned).ok_or_else(|| format!("names a table that is not there: {named}"))
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        write!(f, "`{}` exits with {code} after {:.1} s", self.call, self.took.as_secs_f64())?;
        for event in ["preview", "end"] {
            let event = self.event(event);
            if !event.is_null() {
                write!(f, "\n  {event}")?;
            }
        }
        if !self.stderr.is_empty() {
            write!(f, "\n  {}", self.stderr.trim_end().replace('\n', "\n  "))?;
        }
        Ok(())
    }
}
