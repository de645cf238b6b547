//! Which rows PostgreSQL deletes or changes by itself when books are deleted or changed.
//!
//! Not tables but events are followed, from key to key: a row is deleted, or some columns of it change. CASCADE hands the event
//! on, SET NULL makes a change of a deletion, and a change of a referenced column is an event for ON UPDATE. So circles end,
//! the book table itself may be met again, and a reference that is set to NULL may matter to a third table.

use std::collections::BTreeSet;

use sea_orm::IdenStatic;

use super::Fate;
use super::keys::{Action, ForeignKey, Relation};
use crate::book::{Column, CopiedColumns, KEY, OWNER};

/// What is written to the book table.
#[derive(Debug, Clone, Copy)]
pub enum Writes<'a> {
    /// Every book is deleted, and books are inserted.
    Replaces,
    /// Some books are deleted, and these columns of others change, before that.
    Copies(&'a CopiedColumns),
    /// Some books are deleted, and any column of others may change but the `id`.
    Anything,
}

impl Writes<'_> {
    /// Whether this column of the book table, as the server quotes it, may change in a row that stays.
    fn changes(self, column: &str) -> bool {
        match self {
            Self::Replaces => false,
            Self::Copies(columns) => {
                let mut copied =
                    columns.iter().filter(|copied| copied.as_str() != KEY.as_str()).chain([OWNER]);
                copied.any(|copied| copied.as_str() == column.trim_matches('"'))
            }
            Self::Anything => column.trim_matches('"') != Column::Id.as_str(),
        }
    }

    /// Whether the reference of `key` has production's value before any book is deleted.
    fn repoints(self, key: &ForeignKey) -> bool {
        key.table.is_book && matches!(self, Self::Copies(_)) && key.columns.iter().all(|c| self.changes(c))
    }
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Deleted,
    /// These columns get another value.
    Changed(BTreeSet<&'a str>),
}

/// An event of rows of one table.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    pub(crate) table: &'a Relation,
    pub(crate) event: Event<'a>,
    /// Keys between it and the books.
    pub(crate) distance: usize,
}

/// A key that hands an event on.
#[derive(Debug)]
pub(crate) struct Edge<'a> {
    pub(crate) from: usize,
    pub(crate) key: &'a ForeignKey,
    pub(crate) to: usize,
}

/// Everything that writing books can reach through foreign keys.
#[derive(Debug)]
pub struct Reach<'a> {
    /// The deletion of books is the first one ([`DELETED_BOOKS`]); [`CHANGED_BOOKS`] may be the second.
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) edges: Vec<Edge<'a>>,
    /// Keys whose rows forbid an event, by the node of that event.
    pub(crate) forbidding: Vec<(usize, &'a ForeignKey)>,
    pub(crate) has_changes: bool,
    /// Books refer to books by columns that are copied.
    has_books_of_books: bool,
}

/// The node of the deletion of books.
pub(crate) const DELETED_BOOKS: usize = 0;
/// The node of books that are changed in place, where that matters to a key.
pub(crate) const CHANGED_BOOKS: usize = 1;

impl<'a> Reach<'a> {
    /// `None` when nothing refers to the book table.
    pub fn of(keys: &'a [ForeignKey], writes: Writes<'_>) -> Option<Self> {
        let book = &keys.iter().find(|key| key.references.is_book)?.references;
        let referenced = keys.iter().filter(|key| key.references.is_book);
        let changing: BTreeSet<&str> = referenced
            .flat_map(|key| key.referenced_columns.iter().map(String::as_str))
            .filter(|column| writes.changes(column))
            .collect();
        let mut nodes = vec![Node { table: book, event: Event::Deleted, distance: 0 }];
        let has_changes = !changing.is_empty();
        if has_changes {
            nodes.push(Node { table: book, event: Event::Changed(changing), distance: 0 });
        }
        let (edges, forbidding) = (Vec::new(), Vec::new());
        let mut reach = Self { nodes, edges, forbidding, has_changes, has_books_of_books: false };
        let mut next = 0;
        while next < reach.nodes.len() {
            for key in keys {
                reach.follow(next, key, writes);
            }
            next += 1;
        }
        Some(reach)
    }

    fn follow(&mut self, from: usize, key: &'a ForeignKey, writes: Writes<'_>) {
        let Node { table, event, distance } = &self.nodes[from];
        if key.references.root != table.root {
            return;
        }
        if table.is_book && writes.repoints(key) {
            self.has_books_of_books = true;
            return;
        }
        let set = |columns: &'a [String]| Event::Changed(columns.iter().map(String::as_str).collect());
        let next = match event {
            Event::Deleted => match Action::of(key.on_delete) {
                Action::Cascade => Some(Event::Deleted),
                Action::Set => Some(set(key.set_columns())),
                Action::Forbid => None,
            },
            Event::Changed(columns) => {
                if !key.referenced_columns.iter().any(|column| columns.contains(column.as_str())) {
                    return;
                }
                match Action::of(key.on_update) {
                    Action::Cascade | Action::Set => Some(set(&key.columns)),
                    Action::Forbid => None,
                }
            }
        };
        let Some(event) = next else {
            if !is_decided_at_the_end(key, &self.nodes[from].event, writes) {
                self.forbidding.push((from, key));
            }
            return;
        };
        let distance = distance + 1;
        let same = |node: &Node<'_>| node.table.root == key.table.root && node.event == event;
        // The changed books themselves are no row that a key changes.
        let known = self
            .nodes
            .iter()
            .enumerate()
            .position(|(at, node)| !(self.has_changes && at == CHANGED_BOOKS) && same(node));
        let to = known.unwrap_or_else(|| {
            self.nodes.push(Node { table: &key.table, event, distance });
            self.nodes.len() - 1
        });
        self.edges.push(Edge { from, key, to });
    }

    /// The other tables, by name: in the order in which everybody should lock them.
    pub fn tables(&self) -> Vec<&'a str> {
        let reached = self.nodes.iter().map(|node| node.table);
        let tables = reached.chain(self.forbidding.iter().map(|(_, key)| &key.table));
        let tables: BTreeSet<&str> =
            tables.filter(|table| !table.is_book).map(|table| table.root.as_str()).collect();
        tables.into_iter().collect()
    }

    /// Whether rows of `table` may have this fate.
    pub fn meets(&self, table: &str, fate: Fate) -> bool {
        self.nodes
            .iter()
            .filter(|node| !node.table.is_book && node.table.root == table)
            .any(|node| fate == if node.event == Event::Deleted { Fate::Removed } else { Fate::Detached })
    }

    /// Whether columns of other tables' rows may change.
    pub fn changes_others(&self) -> bool {
        self.nodes.iter().any(|node| !node.table.is_book && node.event != Event::Deleted)
    }

    /// Every key that hands an event on or forbids one.
    pub fn keys(&self) -> impl Iterator<Item = &'a ForeignKey> {
        let edges = self.edges.iter().map(|edge| edge.key);
        edges.chain(self.forbidding.iter().map(|(_, key)| *key))
    }

    /// The referenced columns of books that may change in place, as the server quotes them.
    pub fn changing(&self) -> impl Iterator<Item = &'a str> {
        let changed = self.nodes.get(CHANGED_BOOKS).filter(|_| self.has_changes);
        let columns = changed.and_then(|node| match &node.event {
            Event::Changed(columns) => Some(columns.iter().copied()),
            Event::Deleted => None,
        });
        columns.into_iter().flatten()
    }

    /// Whether books refer to books, so that others than those that are meant may be deleted or changed, and the order of the
    /// writes matters.
    pub fn returns_to_books(&self) -> bool {
        self.has_books_of_books || self.edges.iter().any(|edge| self.nodes[edge.to].table.is_book)
    }
}

/// A key that is checked when everything is written, by what the books hold then: the server knows best.
fn is_decided_at_the_end(key: &ForeignKey, event: &Event<'_>, writes: Writes<'_>) -> bool {
    let is_no_action = |letter| letter == 'a';
    // A book that is deleted may have to give a value up before.
    let waits = is_no_action(key.on_update) && (*event != Event::Deleted || is_no_action(key.on_delete));
    key.deferred
        && waits
        && key.references.is_book
        && key.referenced_columns.iter().all(|column| writes.changes(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Column;

    pub(crate) fn relation(name: &str) -> Relation {
        let name = name.to_owned();
        let is_book = name == "book";
        Relation { root: name.clone(), rows: format!("ONLY {name}"), name, is_book }
    }

    /// `table.column -> references.column`, ON DELETE, ON UPDATE.
    pub(crate) fn key(text: &str, on_delete: char, on_update: char) -> ForeignKey {
        let (from, to) = text.split_once(" -> ").unwrap();
        let [(table, column), (parent, referenced)] = [from, to].map(|end| end.split_once('.').unwrap());
        ForeignKey {
            name: text.into(),
            table: relation(table),
            columns: vec![column.into()],
            references: relation(parent),
            referenced_columns: vec![referenced.into()],
            on_delete,
            on_update,
            set_on_delete: None,
            deferred: false,
            acts: true,
        }
    }

    /// Nodes as `table event`.
    fn reached(keys: &[ForeignKey], writes: Writes<'_>) -> Vec<String> {
        let reach = Reach::of(keys, writes).unwrap();
        let shown = |node: &Node<'_>| match &node.event {
            Event::Deleted => format!("{} deleted", node.table.name),
            Event::Changed(columns) => {
                format!(
                    "{} changed {}",
                    node.table.name,
                    columns.iter().copied().collect::<Vec<_>>().join(" ")
                )
            }
        };
        reach.nodes.iter().map(shown).collect()
    }

    fn copied() -> CopiedColumns {
        let mut columns = CopiedColumns::default();
        columns.add(Column::Isbn10, None);
        columns.add(Column::Isbn13, None);
        columns
    }

    #[test]
    fn cascades_are_followed_and_circles_end() {
        let keys = [
            key("entry.book -> book.id", 'c', 'a'),
            key("note.entry -> entry.id", 'c', 'a'),
            key("entry.note -> note.id", 'c', 'a'),
        ];
        assert_eq!(reached(&keys, Writes::Replaces), ["book deleted", "entry deleted", "note deleted"]);
        assert_eq!(Reach::of(&keys, Writes::Replaces).unwrap().tables(), ["entry", "note"]);
    }

    #[test]
    fn a_reference_that_is_set_to_null_matters_to_who_refers_to_it() {
        let keys = [
            key("entry.book -> book.id", 'n', 'a'),
            key("note.entry -> entry.id", 'c', 'c'),
            key("mark.book -> entry.book", 'c', 'n'),
        ];
        let expected = ["book deleted", "entry changed book", "mark changed book"];
        assert_eq!(reached(&keys, Writes::Replaces), expected);
    }

    #[test]
    fn a_changed_key_column_is_an_event_and_the_natural_key_never_changes() {
        let keys = [
            key("review.isbn -> book.isbn10", 'a', 'n'),
            key("shelf.isbn -> book.isbn13", 'a', 'n'),
            key("entry.book -> book.id", 'a', 'c'),
        ];
        let columns = copied();
        let expected = ["book deleted", "book changed isbn10", "review changed isbn"];
        assert_eq!(reached(&keys, Writes::Copies(&columns)), expected);
    }

    #[test]
    fn books_that_refer_to_books_are_reached_unless_production_says_to_which() {
        let keys = [key("book.parent -> book.id", 'c', 'a'), key("entry.book -> book.id", 'c', 'a')];
        let columns = copied();
        let reach = Reach::of(&keys, Writes::Copies(&columns)).unwrap();
        assert!(reach.returns_to_books());
        assert_eq!(reach.tables(), ["entry"]);
        let keys = [key("book.isbn10 -> book.isbn13", 'c', 'a')];
        let reach = Reach::of(&keys, Writes::Copies(&columns)).unwrap();
        assert!(reach.returns_to_books() && reach.edges.is_empty());
    }
}
