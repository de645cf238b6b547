//! The ways to succeed.

/// How a command succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Verified,
    Unchanged,
    DryRun,
    Undone,
    Healthy,
    Listed,
    Added,
    Migrated,
    Status,
    Removed,
    NothingToRemove,
    Demonstrated,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unchanged => "unchanged",
            Self::DryRun => "dry_run",
            Self::Undone => "undone",
            Self::Healthy => "healthy",
            Self::Listed => "listed",
            Self::Added => "added",
            Self::Migrated => "migrated",
            Self::Status => "status",
            Self::Removed => "removed",
            Self::NothingToRemove => "nothing_to_remove",
            Self::Demonstrated => "demonstrated",
        }
    }
}
