//! The states of a run, as the ledger has them.

use crate::error::Kind;
use crate::postgres::literal;

/// How a run stands, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It has begun; whether its process still lives is not known.
    Running,
    /// Both sides were found equal in the end.
    Verified,
    /// They were equal before.
    Unchanged,
    /// Another run took over.
    Superseded,
    /// By a signal.
    Interrupted,
    /// A batch or statement failed for good.
    NotCompleted,
    /// A server was out of reach.
    Unreachable,
    /// A guard refused.
    Refused,
    /// Any other error.
    Failed,
    /// Another run had the target.
    Busy,
    /// The sides were not equal in the end.
    Differs,
    /// Somebody said no.
    Declined,
}

impl RunState {
    const ALL: [Self; 12] = [
        Self::Running,
        Self::Verified,
        Self::Unchanged,
        Self::Superseded,
        Self::Interrupted,
        Self::NotCompleted,
        Self::Unreachable,
        Self::Refused,
        Self::Failed,
        Self::Busy,
        Self::Differs,
        Self::Declined,
    ];

    /// The state of a run that ended with an error of this kind.
    pub const fn of_failure(kind: Kind) -> Self {
        match kind {
            Kind::Internal | Kind::Usage => Self::Failed,
            Kind::Refused => Self::Refused,
            Kind::Differs => Self::Differs,
            Kind::NotCompleted => Self::NotCompleted,
            Kind::Unreachable => Self::Unreachable,
            Kind::Busy => Self::Busy,
            Kind::Declined => Self::Declined,
            Kind::Interrupted | Kind::Terminated => Self::Interrupted,
        }
    }

    /// Its name in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Verified => "verified",
            Self::Unchanged => "unchanged",
            Self::Superseded => "superseded",
            Self::Interrupted => "interrupted",
            Self::NotCompleted => "not_completed",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Differs => "differs",
            Self::Declined => "declined",
        }
    }

    /// That of this name; `None` for one of another version.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the run can go on: it has not done its work, and nothing is known to be wrong with its data.
    pub const fn is_resumable(self) -> bool {
        match self {
            Self::Running
            | Self::Interrupted
            | Self::NotCompleted
            | Self::Unreachable
            | Self::Refused
            | Self::Failed
            | Self::Busy => true,
            Self::Verified | Self::Unchanged | Self::Superseded | Self::Differs | Self::Declined => false,
        }
    }

    /// The names of those that can go on.
    pub fn resumable() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(|state| state.is_resumable()).map(Self::name)
    }
}

/// The condition that a run of the ledger can go on.
pub(crate) fn is_resumable() -> String {
    let names: Vec<String> = RunState::resumable().map(literal).collect();
    format!("state IN ({})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_one_name_in_the_ledger_and_in_json() {
        for kind in Kind::ALL {
            assert_eq!(RunState::of_failure(kind).name(), kind.outcome());
        }
        for state in RunState::ALL {
            assert_eq!(RunState::named(state.name()), Some(state));
        }
    }
}
