//! What happened, why, what development holds now, what to do next, and the exit code.
//!
//! Invariant: no `Error` holds a secret or a row value. Database answers enter through
//! [`crate::postgres::Fault`], which keeps only what PostgreSQL says about the schema.

use std::error::Error as StdError;

/// The result of everything that can end a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What exit code 0 means, beside [`Kind::meaning`].
pub const SUCCESS: &str = "success: verified, or nothing to do";

/// The kinds of ending, one exit code each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bug of ours.
    Internal,
    /// The call, the configuration, the credentials, or a database, table or user that is not there.
    Usage,
    /// A guard refused before anything was written.
    Refused,
    /// The target is not equal to the source.
    Differs,
    /// A batch or a statement failed for good.
    NotCompleted,
    /// A server was not reached, also after the retries.
    Unreachable,
    /// Another run is active on the target.
    Busy,
    /// The question was answered with no, or could not be asked.
    Declined,
    /// SIGINT (Ctrl-C).
    Interrupted,
    /// SIGTERM or SIGHUP.
    Terminated,
}

impl Kind {
    /// Every kind, in the order of the tables in `--help` and the README.
    pub const ALL: [Self; 10] = [
        Self::Internal,
        Self::Usage,
        Self::Refused,
        Self::Differs,
        Self::NotCompleted,
        Self::Unreachable,
        Self::Busy,
        Self::Declined,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Differs => 4,
            Self::NotCompleted => 5,
            Self::Unreachable => 6,
            Self::Busy => 7,
            Self::Declined => 8,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// What the exit code means, as `--help` and the README's table say it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Internal => "internal error",
            Self::Usage => {
                "usage, configuration, credentials, or a database, table or user that does not exist"
            }
            Self::Refused => "a guard refused",
            Self::Differs => "the target differs from the source",
            Self::NotCompleted => "not completed: a batch or statement failed for good",
            Self::Unreachable => "a server was unreachable, also after retries",
            Self::Busy => "another run is active, or took over",
            Self::Declined => "declined, or no terminal to ask on",
            Self::Interrupted => "interrupted by SIGINT (Ctrl-C)",
            Self::Terminated => "interrupted by SIGTERM or SIGHUP",
        }
    }

    /// The outcome in JSON; kinds that a program handles alike share one.
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Internal | Self::Usage => "failed",
            Self::Refused => "refused",
            Self::Differs => "differs",
            Self::NotCompleted => "not_completed",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::Interrupted | Self::Terminated => "interrupted",
        }
    }
}

/// An ending that is not success: what failed, each cause once, the state of development, a hint.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// What we were doing: lowercase, no full stop.
    pub doing: String,
    /// Why it failed.
    #[source]
    pub cause: Option<Box<dyn StdError + Send + Sync>>,
    /// What development holds now, once the target was reached.
    pub state: Option<String>,
    /// The command to run or the line to add.
    pub hint: Option<String>,
    /// Lines to copy that belong to the hint. Every other text here is one line, whatever is in it.
    pub lines: Vec<String>,
}

impl Error {
    /// An error without a cause yet; `doing` says what could not be done.
    pub fn new(kind: Kind, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), cause: None, state: None, hint: None, lines: Vec::new() }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says what development holds now; an earlier, more exact answer stays.
    #[must_use]
    pub fn state(mut self, state: impl Into<String>) -> Self {
        self.state.get_or_insert_with(|| state.into());
        self
    }

    /// Says what to do next; an earlier, more exact answer stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Puts lines to copy below the hint.
    #[must_use]
    pub fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// The hint and its lines as one text.
    pub fn hint_and_lines(&self) -> Option<String> {
        let hint = self.hint.as_ref()?;
        Some(self.lines.iter().fold(hint.clone(), |text, line| text + "\n  " + line))
    }

    /// What failed and why, in one line.
    pub fn chain(&self) -> String {
        std::iter::once(self.doing.clone()).chain(self.causes()).collect::<Vec<_>>().join(": ")
    }

    /// The texts of the causes, outermost first, without those that repeat the one before.
    pub fn causes(&self) -> Vec<String> {
        let mut said = self.doing.clone();
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                causes.push(text.clone());
            }
            said = text;
            next = cause.source();
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_its_parent_already_says_is_not_repeated() {
        let inner = Error::new(Kind::Internal, "reset by peer");
        let outer = Error::new(Kind::Internal, "io error: reset by peer").because(inner);
        let error = Error::new(Kind::Unreachable, "could not read").because(outer);
        assert_eq!(error.causes(), ["io error: reset by peer"]);
    }

    #[test]
    fn the_first_hint_stays() {
        let error = Error::new(Kind::Usage, "x").hint("exact").hint("general");
        assert_eq!(error.hint.as_deref(), Some("exact"));
    }
}
