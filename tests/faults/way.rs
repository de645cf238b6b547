//! What a case runs: a command, on books in some state, with a strategy and an engine by the names of the command line.

use std::fmt;

/// What is done to which books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// A sync over older books.
    Sync,
    /// A sync into an empty table, which `staged` begins to fill before everything is staged.
    FirstFill,
    /// The undo of a sync over older books.
    Undo,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Sync, Self::FirstFill, Self::Undo];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::FirstFill => "first fill",
            Self::Undo => "undo",
        }
    }
}

/// How a run goes about it; for an undo, how the sync did that it undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) work: Work,
    pub(crate) strategy: &'static str,
    pub(crate) engine: &'static str,
}

impl Way {
    /// `batched` and `atomic` do to an empty table what they do to one that they have emptied, and cannot be undone.
    pub(crate) const ALL: [Self; 10] = [
        Self::of(Work::Sync, "staged", "insert"),
        Self::of(Work::Sync, "staged", "copy"),
        Self::of(Work::Sync, "batched", "insert"),
        Self::of(Work::Sync, "batched", "copy"),
        Self::of(Work::Sync, "atomic", "insert"),
        Self::of(Work::Sync, "atomic", "copy"),
        Self::of(Work::FirstFill, "staged", "insert"),
        Self::of(Work::FirstFill, "staged", "copy"),
        Self::of(Work::Undo, "staged", "insert"),
        Self::of(Work::Undo, "staged", "copy"),
    ];

    const fn of(work: Work, strategy: &'static str, engine: &'static str) -> Self {
        Self { work, strategy, engine }
    }

    /// Whether it is an undo, which knows the target only.
    pub(crate) fn undoes(self) -> bool {
        self.work == Work::Undo
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.work.name(), self.strategy, self.engine)
    }
}
