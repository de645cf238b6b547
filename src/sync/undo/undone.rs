//! What an undo did.

use crate::dependents::Dependents;
use crate::error::{Error, Kind};
use crate::ledger::run::Counts;
use crate::postgres::Effect;
use crate::sync::changes::BookChanges;
use crate::sync::outcome::UNCHANGED;

/// What an undo does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// The run that is undone.
    pub undone: i64,
    /// Books that the sync inserted, which go.
    pub removed: u64,
    /// Books that the sync removed, which come back.
    pub restored: u64,
    /// Books that become what they were.
    pub changed: u64,
    /// Books that the sync did not touch.
    pub unchanged: u64,
    /// Rows that come back with the books, or refer to them again, as they were counted when it was done.
    pub regained: Vec<Dependents>,
    /// Rows of other tables that the undo itself deletes or changes, as it was measured.
    pub lost: Vec<Dependents>,
    /// Rows that triggers insert into other tables while the undo writes.
    pub elsewhere: Vec<Effect>,
    /// What the sync did to other tables that is not put back: the work of triggers.
    pub not_undone: Vec<Effect>,
}

impl Undo {
    /// Books by what becomes of them.
    pub fn counts(&self) -> Counts {
        Counts {
            inserted: self.restored,
            updated: self.changed,
            deleted: self.removed,
            unchanged: self.unchanged,
            ..Counts::default()
        }
    }

    /// The same in the words of the JSON.
    pub fn changes(&self) -> BookChanges {
        let Self { restored, changed, removed, unchanged, .. } = *self;
        BookChanges { added: restored, changed, deleted: removed, unchanged }
    }
}

/// The error when no generation was kept.
pub fn nothing_to_undo() -> Error {
    Error::new(Kind::Usage, "there is nothing to undo")
        .because("only the last `staged` sync that changed a book can be undone, and only once")
        .state(UNCHANGED)
        .hint("`dewey-sync history` lists the runs")
}
