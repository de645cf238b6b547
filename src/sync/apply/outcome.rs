//! How an apply ended.

use crate::error::{Error, Kind};
use crate::postgres::Fault;
use crate::sync::changes::Changes;
use crate::sync::losses::Measured;

/// How an apply ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The books are the new state.
    Applied(Applied),
    /// More would be lost than was agreed to; nothing was changed.
    More {
        /// What would be changed by now.
        changes: Changes,
        /// For whoever is asked again.
        why: &'static str,
    },
    /// The stage does not hold any more what was verified, or the source did not end the transaction that was verified with
    /// as it should, with this fault; nothing was changed.
    Lost(Option<Fault>),
    /// An earlier attempt, of this process or another, was committed though its answer was lost.
    Before,
}

/// What was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Books by what became of them.
    pub changes: Changes,
    /// From the first lock until the new books were verified, in milliseconds.
    pub apply_ms: u64,
    /// What happened to other tables.
    pub measured: Measured,
}

pub(crate) fn applying(fault: Fault) -> Error {
    // A foreign key that only acts, or is only checked, when everything is written.
    if fault.sqlstate().is_some_and(|state| matches!(state, "23503" | "23001")) {
        return Error::new(Kind::Refused, "a foreign key forbids the new books").because(fault).hint(
            "change the rows that refer to the old ones, or the key's ON DELETE and ON UPDATE actions",
        );
    }
    // In the stage no two books have the same value of a key that production has as well.
    if fault.sqlstate() == Some("23505") && fault.function.is_none() {
        return Error::new(Kind::Refused, "a unique key forbids the new books").because(fault).hint(
            "if only development has that key, drop it; if production has it too, look for triggers on the target's `\"Book\"`",
        );
    }
    fault.error("could not apply the staged books")
}
