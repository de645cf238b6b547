//! How a command ended. The last line of `--output json`, the file of `--report` and the last lines on the screen are made of it.

mod books;
mod objects;
mod outcome;

use std::time::Duration;

use serde::Serialize;

use super::report::Report;
use crate::error::{Error, Kind, Result};
pub(crate) use books::{SyncEnd, UndoEnd, VerifyEnd, not_restored, nothing_to_do};
pub(crate) use objects::{AddedUser, KeptServer, ObjectLine, RemovedLedger, lines_of};
pub(crate) use outcome::Outcome;

/// How a command ended that got so far as to have something to say beside an error.
pub(crate) struct Ended {
    pub(crate) details: Details,
    pub(crate) result: Result<Outcome>,
    /// A file that takes the last line, too.
    pub(crate) report: Option<Report>,
}

impl Ended {
    pub(crate) fn new(outcome: Outcome, details: Details) -> Self {
        Self { details, result: Ok(outcome), report: None }
    }

    pub(crate) fn failed(error: Error, details: Details) -> Self {
        Self { details, result: Err(error), report: None }
    }
}

/// What a command of its own has to say.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Details {
    Sync(Box<SyncEnd>),
    Verify(VerifyEnd),
    Undo(Box<UndoEnd>),
    Doctor { problems: usize },
    Users { users: usize },
    UserAdded { user: AddedUser },
    Runs { runs: usize },
    Objects { objects: Vec<ObjectLine> },
    Removed { objects: Vec<ObjectLine>, ledger: Option<RemovedLedger> },
    Demo { servers: Vec<KeptServer> },
}

impl Details {
    /// The last lines on the screen; an error is shown after them.
    fn text(&self, result: &Result<Outcome>) -> Vec<String> {
        match (self, result) {
            (Self::Doctor { problems: 0 }, _) => vec!["Nothing blocks a sync.".into()],
            (Self::Doctor { problems: 1 }, _) => vec!["1 problem blocks a sync.".into()],
            (Self::Doctor { problems }, _) => vec![format!("{problems} problems block a sync.")],
            (Self::Objects { objects }, _) => lines_of(objects),
            (_, Ok(outcome)) => self.text_of_success(*outcome),
            (_, Err(_)) => Vec::new(),
        }
    }

    fn text_of_success(&self, outcome: Outcome) -> Vec<String> {
        match self {
            Self::Sync(sync) => sync.text(outcome),
            Self::Verify(verify) => verify.text(),
            Self::Undo(undo) => undo.text(),
            Self::Users { users: 0 } => vec![
                "no users yet: log in once in the application, or run `dewey-sync users add --email you@example.org`".into(),
            ],
            Self::UserAdded { user } => vec![user.text()],
            Self::Runs { runs: 0 } => vec!["no runs yet".into()],
            Self::Removed { objects, ledger: Some(ledger) } => {
                lines_of(objects).into_iter().chain([ledger.text()]).collect()
            }
            Self::Removed { ledger: None, .. } => {
                vec!["nothing to remove: this program created nothing here".into()]
            }
            _ => Vec::new(),
        }
    }
}

/// The last line of `--output json`.
#[derive(Debug, Serialize)]
pub(crate) struct End<'a> {
    event: &'static str,
    /// `None` for a call that could not be parsed.
    command: Option<&'a str>,
    outcome: &'static str,
    exit_code: u8,
    duration_ms: u64,
    error: Option<Failure>,
    /// Those of a command that got so far.
    #[serde(flatten)]
    details: Option<&'a Details>,
    #[serde(skip)]
    text: Vec<String>,
}

impl<'a> End<'a> {
    /// Of a command that ended after `duration`.
    pub(crate) fn new(command: &'a str, duration: Duration, done: &'a Result<Ended>) -> Self {
        let (details, result) = match done {
            Ok(Ended { details, result, .. }) => (Some(details), result.as_ref()),
            Err(error) => (None, Err(error)),
        };
        let text = done.as_ref().map_or_else(|_| Vec::new(), |ended| ended.details.text(&ended.result));
        let (outcome, exit_code) = match result {
            Ok(outcome) => (outcome.name(), 0),
            Err(error) => (error.kind.outcome(), error.kind.exit_code()),
        };
        Self {
            event: "end",
            command: Some(command),
            outcome,
            exit_code,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            error: result.err().map(Failure::of),
            details,
            text,
        }
    }

    /// Of a call that could not be parsed.
    pub(crate) fn usage(error: &Error) -> Self {
        Self {
            event: "end",
            command: None,
            outcome: Kind::Usage.outcome(),
            exit_code: Kind::Usage.exit_code(),
            duration_ms: 0,
            error: Some(Failure::of(error)),
            details: None,
            text: Vec::new(),
        }
    }

    /// The last lines on the screen.
    pub(crate) fn text(&self) -> &[String] {
        &self.text
    }
}

/// An error, as `render_error` shows it.
#[derive(Debug, Serialize)]
struct Failure {
    message: String,
    causes: Vec<String>,
    state: Option<String>,
    hint: Option<String>,
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self {
            message: error.doing.clone(),
            causes: error.causes(),
            state: error.state.clone(),
            hint: error.hint_and_lines(),
        }
    }
}
