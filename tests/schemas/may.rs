//! What the keys, triggers and rules of a case may do, on which it depends what is right.

use crate::acts::{Event, Trigger, Work};
use crate::model::{BOOK, Case, Key, Reaction, Shape};

impl Case {
    /// Whether anything but keys acts.
    pub(crate) fn has_triggers(&self) -> bool {
        !self.triggers.is_empty() || !self.rules.is_empty()
    }

    /// Whether a trigger or a rule inserts rows where no key does.
    pub(crate) fn inserts_elsewhere(&self) -> bool {
        let inserts = |work: Work| matches!(work, Work::Insert(_) | Work::Upsert(_) | Work::Replace(_));
        self.triggers.iter().any(|trigger| inserts(trigger.work))
            || self.rules.iter().any(|rule| rule.also.is_some_and(inserts))
    }

    /// Whether rows of other tables may forbid that a book is deleted or changed.
    pub(crate) fn may_forbid(&self) -> bool {
        self.keys.iter().any(|key| key.on_delete.forbids() || key.on_update.forbids())
    }

    /// Whether two keys share a column: what one does to it decides what the other one finds.
    pub(crate) fn has_shared_columns(&self) -> bool {
        let pairs = self.keys.iter().enumerate().flat_map(|(at, key)| {
            self.keys[at + 1..]
                .iter()
                .filter(move |other| other.from.table == key.from.table)
                .map(move |other| (key, other))
        });
        let mut pairs = pairs;
        pairs.any(|(key, other)| key.columns.iter().any(|column| other.columns.contains(column)))
    }

    /// Whether a key of `"Book"` is over a copied column, which production decides about.
    pub(crate) fn has_a_copied_reference(&self) -> bool {
        self.keys.iter().any(|key| key.columns == ["edition"])
    }

    /// Whether a column of `"Book"` that only the target has follows what it references.
    pub(crate) fn has_a_following_reference(&self) -> bool {
        let follows = |key: &Key| {
            key.from.table == BOOK && key.on_update == Reaction::Cascade && key.columns != ["edition"]
        };
        self.keys.iter().any(follows)
    }

    /// Whether a trigger forbids what depends on the number that a book gets, which is another one at every attempt.
    pub(crate) fn forbids_by_number(&self) -> bool {
        let forbids =
            |trigger: &Trigger| trigger.work == Work::Forbid && trigger.events.contains(&Event::Insert);
        self.triggers.iter().any(forbids)
    }

    /// Whether a trigger meets one more change of a book that goes, which gives its isbn10 up where books refer to others.
    pub(crate) fn fires_when_given_up(&self) -> bool {
        let on_update = |trigger: &Trigger| trigger.on == BOOK && trigger.events.contains(&Event::Update);
        self.keys.iter().any(|key| key.from.table == BOOK) && self.triggers.iter().any(on_update)
    }

    /// Whether a key puts a row that loses its reference into another partition, where other keys are.
    pub(crate) fn moves_rows(&self) -> bool {
        let moved = |key: &Key| self.tables[key.from.table].shape == Shape::ByReference;
        self.keys.iter().any(|key| key.from.part.is_some() && moved(key))
    }

    /// Whether a book that is deleted may have to give its isbn10 away before: what referred to it then refers to another book, or
    /// to none, and its deletion takes less along.
    pub(crate) fn gives_up_references(&self) -> bool {
        let leaves = |key: &Key| {
            let by_isbn10 = key.references.iter().any(|column| column == "isbn10");
            key.to.table == BOOK && by_isbn10 && key.on_update != Reaction::Cascade
        };
        self.keys.iter().any(|key| key.from.table == BOOK) && self.keys.iter().any(leaves)
    }

    /// Whether a row may be given a reference by default, to a book that is deleted after that.
    pub(crate) fn refers_by_default(&self) -> bool {
        let by_default = |key: &Key| {
            let has_default = |name: &String| {
                let columns = &self.tables[key.from.table].columns;
                columns.iter().any(|column| column.name == *name && column.default.is_some())
            };
            let reactions = [key.on_delete, key.on_update];
            key.to.table == BOOK
                && reactions.contains(&Reaction::SetDefault)
                && key.columns.iter().any(has_default)
        };
        self.keys.iter().any(|key| key.from.table == BOOK) && self.keys.iter().any(by_default)
    }

    /// Whether a trigger or a rule changes columns of books that no sync copies.
    pub(crate) fn touches_books(&self) -> bool {
        self.triggers.iter().any(|trigger| trigger.work == Work::TouchBooks)
    }
}
