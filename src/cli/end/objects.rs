//! What the commands that change no book say at their end.

use dewey_sync_migration::Object;
use serde::Serialize;

use crate::cli::output::plural;
use crate::config::Side;
use crate::printable::value;

/// An object of the application in the target.
#[derive(Debug, Serialize)]
pub(crate) struct ObjectLine {
    kind: String,
    name: &'static str,
    state: String,
    changed: bool,
}

impl ObjectLine {
    pub(crate) fn all(objects: &[Object]) -> Vec<Self> {
        let line = |Object { kind, name, state, changed }: &Object| Self {
            kind: kind.to_string(),
            name,
            state: state.to_string(),
            changed: *changed,
        };
        objects.iter().map(line).collect()
    }
}

/// One per line.
pub(crate) fn lines_of(objects: &[ObjectLine]) -> Vec<String> {
    let line = |ObjectLine { kind, name, state, .. }: &ObjectLine| format!("{state:8}  {kind}  {name}");
    objects.iter().map(line).collect()
}

/// The ledger that `migrate down` removed.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedLedger {
    state: &'static str,
    runs: u64,
}

impl RemovedLedger {
    /// With this many runs.
    pub(crate) fn with(runs: u64) -> Self {
        Self { state: "removed", runs }
    }

    pub(super) fn text(&self) -> String {
        format!("removed   ledger  {}", plural(self.runs, "run", "runs"))
    }
}

/// A user that was added to the target.
#[derive(Debug, Serialize)]
pub(crate) struct AddedUser {
    pub(crate) id: i32,
    pub(crate) email: String,
    pub(crate) clerk_id: String,
    /// Whether the clerk id is made up.
    #[serde(rename = "clerk_id_generated")]
    pub(crate) generated: bool,
}

impl AddedUser {
    pub(crate) fn text(&self) -> String {
        let Self { id, email, clerk_id, generated } = self;
        let made_up = if *generated { ", a made-up one: nobody can log in with it" } else { "" };
        format!("added user {id}, {}, clerk id {}{made_up}", value(email), value(clerk_id))
    }
}

/// A server that `demo --keep` left running.
#[derive(Debug, Serialize)]
pub(crate) struct KeptServer {
    pub(crate) side: Side,
    pub(crate) url: String,
    pub(crate) pid: u32,
}
