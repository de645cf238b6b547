//! What a transaction did to tables.

use serde::{Deserialize, Serialize};

/// What a transaction did to one table and its partitions. Actions are counted: a row that is updated twice counts twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// As a quoted identifier with its schema.
    pub table: String,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows inserted.
    pub inserted: u64,
}

impl Effect {
    /// Whether old rows are gone or changed.
    pub fn is_loss(&self) -> bool {
        self.deleted > 0 || self.updated > 0
    }
}

/// What a transaction did to every table of the database but ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// To the book table.
    pub books: Effect,
    /// To the others that it touched, by name.
    pub others: Vec<Effect>,
    /// Tables that it truncated, dropped or rewrote: what they lost is not known.
    pub rewritten: Vec<String>,
}

impl Effects {
    /// What was done after `earlier`, a reading of the same transaction.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let left = |now: &Effect, then: Option<&Effect>| Effect {
            table: now.table.clone(),
            deleted: now.deleted.saturating_sub(then.map_or(0, |then| then.deleted)),
            updated: now.updated.saturating_sub(then.map_or(0, |then| then.updated)),
            inserted: now.inserted.saturating_sub(then.map_or(0, |then| then.inserted)),
        };
        let then = |now: &Effect| earlier.others.iter().find(|then| then.table == now.table);
        Self {
            books: left(&self.books, Some(&earlier.books)),
            others: self.others.iter().map(|now| left(now, then(now))).collect(),
            rewritten: self.rewritten.clone(),
        }
    }

    /// Reads the JSON text of [`measured`](super::effects::measured).
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let Reading { tables, rewritten } = serde_json::from_str(text)?;
        let mut effects = Self { rewritten, ..Self::default() };
        for Row { is_book, table, deleted, updated, inserted } in tables {
            // Something set the statistics back.
            if [deleted, updated, inserted].into_iter().any(i64::is_negative) {
                effects.rewritten.push(table.clone());
            }
            let [deleted, updated, inserted] =
                [deleted, updated, inserted].map(|rows| u64::try_from(rows).unwrap_or_default());
            let effect = Effect { table, deleted, updated, inserted };
            if is_book { effects.books = effect } else { effects.others.push(effect) }
        }
        effects.rewritten.dedup();
        Ok(effects)
    }
}

/// The answer to [`measured`](super::effects::measured).
#[derive(Deserialize)]
pub(crate) struct Reading {
    tables: Vec<Row>,
    rewritten: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Row {
    is_book: bool,
    table: String,
    deleted: i64,
    updated: i64,
    inserted: i64,
}

/// The SQLSTATE with which [`guard`](super::effects::guard) ends a transaction; its message is the reading.
pub(crate) const TOO_MUCH: &str = "DWSY1";
