//! What a transaction did to other tables than the books', and whether that was agreed to.
//!
//! Prediction and measurement meet here: foreign keys are followed beforehand, the server counts what really happened.

use sqlx::Row;

use crate::dependents::uncounted::{Counting, query_of};
use crate::dependents::{Dependents, Fate};
use crate::error::{Error, Kind, Result};
use crate::postgres::effects::measured;
use crate::postgres::query::Query;
use crate::postgres::{Effect, Effects, Fault, Tx};
use crate::progress::{Event, Progress};

/// Old rows that are gone or changed: of any table but the books' and ours, and of books more than were listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(Vec<Effect>);

impl Losses {
    /// Those among `effects`; `listed` are the books whose deletion was shown.
    ///
    /// # Errors
    /// [`Kind::Refused`] when a table was emptied or rewritten, so that no number says what it lost.
    pub fn of(effects: &Effects, listed: u64) -> Result<Self> {
        if let [first, others @ ..] = &effects.rewritten[..] {
            let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            return Err(Error::new(Kind::Refused, "could not change the books without a loss of unknown size")
                .because(format!("a trigger or rule empties, drops or rewrites the table `{first}`{more} (TRUNCATE, DROP or ALTER)"))
                .hint("disable that trigger for the time of the sync, or let it DELETE the rows"));
        }
        let books = Effect { deleted: effects.books.deleted.saturating_sub(listed), ..Effect::default() };
        let books = Effect { table: effects.books.table.clone(), ..books };
        let losses = effects.others.iter().chain([&books]).filter(|effect| effect.is_loss()).cloned();
        let mut losses: Vec<Effect> = losses.collect();
        losses.sort_by(|one, other| one.table.cmp(&other.table));
        Ok(Self(losses))
    }

    /// As the guard of the foreign keys counts, so that both can be compared and shown.
    pub fn as_dependents(&self) -> Vec<Dependents> {
        let of = |effect: &Effect| {
            let fates = [(Fate::Removed, effect.deleted), (Fate::Detached, effect.updated)];
            fates.map(|(fate, rows)| Dependents { table: effect.table.clone(), fate, rows })
        };
        self.0.iter().flat_map(of).filter(|found| found.rows > 0).collect()
    }

    /// What was predicted, with the numbers that were measured where they are higher.
    pub fn added_to(&self, predicted: &[Dependents]) -> Vec<Dependents> {
        let mut all = predicted.to_vec();
        for found in self.as_dependents() {
            match all.iter_mut().find(|known| known.table == found.table && known.fate == found.fate) {
                Some(known) => known.rows = known.rows.max(found.rows),
                None => all.push(found),
            }
        }
        all
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By table.
    pub fn effects(&self) -> &[Effect] {
        &self.0
    }

    /// For whoever shows it. `kept` are rows that an undo puts back.
    pub fn measured(&self, effects: &Effects, kept: &[Dependents]) -> Measured {
        let rows = |table: &str, fate| {
            let same = kept.iter().filter(|kept| kept.table == table && kept.fate == fate);
            same.map(|kept| kept.rows).sum::<u64>()
        };
        let beyond = |effect: &Effect| Effect {
            table: effect.table.clone(),
            deleted: effect.deleted.saturating_sub(rows(&effect.table, Fate::Removed)),
            updated: effect.updated.saturating_sub(rows(&effect.table, Fate::Detached)),
            inserted: effect.inserted,
        };
        let not_undone = effects.others.iter().map(beyond).filter(|left| left.is_loss() || left.inserted > 0);
        Measured { losses: self.0.clone(), not_undone: not_undone.collect() }
    }
}

/// What an open transaction did until now to every table, the statements `first` included, and the same as the server said
/// it. Deferred constraints act before; `counting` adds what a server that counts nothing does not know.
pub(super) async fn read_after(
    tx: &Tx<'_>,
    first: &str,
    counting: Option<&Counting>,
) -> Result<(Effects, String), Fault> {
    let ((), reading) = tx.ask((Query::silent(first), reading(tx, counting))).await?;
    Ok(reading)
}

/// What the transaction did until then, and the same as the server said it.
pub(super) fn reading<'q>(tx: &Tx<'_>, counting: Option<&'q Counting>) -> Query<'q, (Effects, String)> {
    let (check, measured, counts) = (tx.book_check(), measured(), query_of(counting));
    let sql = format!("SET CONSTRAINTS ALL IMMEDIATE; {check}; SELECT {measured}, {counts}");
    Query::last_row(sql, move |row| {
        let reading: String = row.try_get(0)?;
        let mut effects = Effects::from_json(&reading).map_err(|error| Fault::unreadable(&error))?;
        if let Some(counting) = counting {
            counting.complete(&mut effects, row, 1)?;
        }
        Ok((effects, reading))
    })
}

/// The error of a transaction that was not committed, because it did more than it may, or because of any other fault.
pub fn refused(fault: Fault, doing: &str) -> Error {
    let Some(effects) = &fault.effects else { return fault.error(doing) };
    let losses = match Losses::of(effects, 0) {
        Ok(losses) => losses,
        Err(error) => return error,
    };
    refuse(&losses.0)
}

/// The refusal of these losses.
pub fn refuse(losses: &[Effect]) -> Error {
    Error::new(Kind::Refused, "refusing to change rows of other tables without `--allow-cascade`")
        .because(format!("writing the books also changed {}", describe(losses)))
        .hint("add `--allow-cascade` to agree to that, or disable the triggers that do it for the time of the sync")
}

/// What was measured in a transaction that is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Old rows that are gone or changed.
    pub losses: Vec<Effect>,
    /// What `undo` does not put back or take away: the work of triggers.
    pub not_undone: Vec<Effect>,
}

impl Measured {
    /// Reports it, if there is something to say.
    pub fn tell(&self, progress: &dyn Progress) {
        if !self.losses.is_empty() || !self.not_undone.is_empty() {
            let Self { losses, not_undone } = self.clone();
            progress.event(&Event::Measured { losses, not_undone });
        }
    }
}

/// `2 rows deleted and 3 changed in public.note`, for several tables.
pub fn describe(effects: &[Effect]) -> String {
    let of = |effect: &Effect| {
        let counts =
            [(effect.deleted, "deleted"), (effect.updated, "changed"), (effect.inserted, "inserted")];
        let counts = counts.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!("{rows} {what}"));
        format!("`{}`: {}", effect.table, counts.collect::<Vec<_>>().join(", "))
    };
    effects.iter().map(of).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(table: &str, deleted: u64, updated: u64) -> Effect {
        Effect { table: table.into(), deleted, updated, inserted: 0 }
    }

    #[test]
    fn books_beyond_those_that_were_listed_are_losses() {
        let effects =
            Effects { books: effect("book", 9, 4), others: vec![effect("note", 0, 2)], ..Effects::default() };
        let losses = Losses::of(&effects, 6).unwrap();
        assert_eq!(losses.0, [effect("book", 3, 0), effect("note", 0, 2)]);
        assert_eq!(Losses::of(&effects, 9).unwrap().0, [effect("note", 0, 2)]);
    }

    #[test]
    fn a_table_that_was_emptied_is_refused_whatever_was_agreed() {
        let effects = Effects { rewritten: vec!["note".into()], ..Effects::default() };
        assert_eq!(Losses::of(&effects, 0).unwrap_err().kind, Kind::Refused);
    }

    #[test]
    fn what_foreign_keys_did_is_kept_and_the_rest_is_not_undone() {
        let others = vec![effect("entry", 3, 0), effect("note", 2, 1)];
        let effects = Effects { others, ..Effects::default() };
        let kept = [Dependents { table: "entry".into(), fate: Fate::Removed, rows: 3 }];
        let losses = Losses::of(&effects, 0).unwrap();
        assert_eq!(losses.measured(&effects, &kept).not_undone, [effect("note", 2, 1)]);
    }
}
