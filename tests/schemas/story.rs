//! How a case ended: well, and in which way, or with a mismatch.

use crate::said::Ran;

/// What became of the sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Synced {
    /// Both sides were equal.
    NothingToDo,
    /// With `--yes`, and nothing was lost.
    Free,
    /// With `--allow-cascade`, and no more was lost than was named.
    Agreed,
    /// Refused with either, and nothing was changed.
    Refused,
    /// Plain statements cannot do it either, and nothing was changed.
    Impossible,
}

/// What became of the undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Undone {
    /// There was nothing to undo.
    Not,
    /// Every row is as it was.
    Exact,
    /// But for what was named.
    Named,
    /// Refused, and nothing was changed.
    Refused,
}

/// A case that was played without a mismatch.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) synced: Synced,
    pub(crate) undone: Undone,
    /// Why a sync or an undo was refused, with the names of tables masked.
    pub(crate) reasons: Vec<String>,
    /// Worth a look, though allowed.
    pub(crate) remarks: Vec<&'static str>,
    /// Whether somebody did something between sync and undo.
    pub(crate) meddled: bool,
}

/// What a case showed that must not be.
#[derive(Debug, Clone)]
pub(crate) struct Mismatch {
    /// Of which kind.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    /// What was run until then.
    pub(crate) ran: Vec<Ran>,
}

/// Of a script that is no schema: the case says nothing.
pub(crate) const NO_CASE: &str = "the case itself";

pub(crate) type Verdict<T = ()> = Result<T, Mismatch>;

/// Fails unless `holds`.
pub(crate) fn ensure(holds: bool, kind: &'static str, text: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { fail(kind, text()) }
}

pub(crate) fn fail<T>(kind: &'static str, text: impl Into<String>) -> Verdict<T> {
    Err(Mismatch { kind, text: text.into(), ran: Vec::new() })
}
