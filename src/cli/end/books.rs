//! What the commands that compare or write books say at their end.

use std::time::Duration;

use serde::Serialize;

use super::outcome::Outcome;
use crate::cli::output::{grouped, plural};
use crate::dependents::Dependents;
use crate::ledger::run::Counts;
use crate::postgres::{Effect, Fingerprint};
use crate::sync::changes::BookChanges;
use crate::sync::losses;
use crate::sync::outcome::{MODE, Verified};
use crate::sync::request::Strategy;
use crate::sync::tally::{Batches, Summary};
use crate::sync::undo::undone::Undo;
use crate::transfer::engine::Engine;

/// Of `sync` and `setup`.
#[derive(Debug, Serialize)]
pub(crate) struct SyncEnd {
    run_id: Option<i64>,
    /// Of the run; before there is one, of the call.
    strategy: Strategy,
    mode: &'static str,
    engine: Engine,
    counts: Counts,
    /// Where they are known: neither `atomic` nor `batched` compares the old books with the new ones.
    changes: Option<BookChanges>,
    batches: Batches,
    losses: Vec<Effect>,
    not_undone: Vec<Effect>,
    retries: u64,
    apply_ms: Option<u64>,
    fingerprint: Option<Proof>,
    #[serde(skip)]
    verified: Option<Verified>,
    #[serde(skip)]
    copying: Duration,
}

impl SyncEnd {
    pub(crate) fn new(run_id: Option<i64>, strategy: Strategy, engine: Engine, summary: Summary) -> Self {
        let Summary { counts, changes, batches, losses, not_undone, retries, apply_ms, copying, .. } =
            summary;
        Self {
            run_id,
            strategy,
            mode: MODE,
            engine,
            counts,
            changes,
            batches,
            losses,
            not_undone,
            retries,
            apply_ms,
            fingerprint: None,
            verified: None,
            copying,
        }
    }

    pub(crate) fn strategy(&self) -> Strategy {
        self.strategy
    }

    pub(crate) fn verified(self, verified: Verified) -> Self {
        Self { fingerprint: Some(verified.fingerprint().into()), verified: Some(verified), ..self }
    }

    /// What a dry run found that would change.
    pub(crate) fn would_change(self, changes: BookChanges) -> Self {
        Self { changes: Some(changes), ..self }
    }

    pub(super) fn text(&self, outcome: Outcome) -> Vec<String> {
        match (outcome, &self.verified) {
            (Outcome::Unchanged, Some(verified)) => nothing_to_do(verified),
            (_, Some(verified)) => self.synced_text(verified),
            (_, None) => vec!["Nothing was written.".into()],
        }
    }

    fn synced_text(&self, verified: &Verified) -> Vec<String> {
        let Self { counts, apply_ms, losses, not_undone, .. } = self;
        let speed = self.speed();
        let mut lines = match apply_ms {
            Some(apply_ms) => vec![
                format!("staged    {} books  {speed}", grouped(counts.exported)),
                format!(
                    "applied   {} added, {} changed, {} deleted, {} unchanged  in {} ms",
                    grouped(counts.inserted),
                    grouped(counts.updated),
                    grouped(counts.deleted),
                    grouped(counts.unchanged),
                    grouped(*apply_ms)
                ),
            ],
            None => vec![
                format!("deleted   {} old books", grouped(counts.deleted)),
                format!("copied    {}/{}  {speed}", grouped(counts.inserted), grouped(counts.exported)),
            ],
        };
        if !losses.is_empty() {
            lines.push(format!("elsewhere {}", losses::describe(losses)));
        }
        if !not_undone.is_empty() {
            lines.push(format!("note      `undo` does not restore {}", losses::describe(not_undone)));
        }
        lines.push(verified_line(verified));
        lines
    }

    fn speed(&self) -> String {
        let Self { counts, batches, retries, copying, .. } = self;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "shown without digits"
        )]
        let per_second = (counts.exported as f64 / copying.as_secs_f64()) as u64;
        let retried =
            if *retries == 0 { String::new() } else { format!("  {}", plural(*retries, "retry", "retries")) };
        format!(
            "{} books/s  {}{retried}",
            grouped(per_second),
            plural(batches.done as u64, "batch", "batches")
        )
    }
}

/// Of `verify`.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyEnd {
    /// Of both sides, where they are equal.
    pub(crate) fingerprint: Option<Proof>,
    /// What a sync would change.
    pub(crate) changes: BookChanges,
}

impl VerifyEnd {
    pub(super) fn text(&self) -> Vec<String> {
        let equal = |proof: &Proof| {
            format!(
                "verified  {} books, every copied column and the owner",
                grouped(proof.rows.unsigned_abs())
            )
        };
        self.fingerprint.iter().map(equal).collect()
    }
}

/// Of `undo`.
#[derive(Debug, Serialize)]
pub(crate) struct UndoEnd {
    run_id: Option<i64>,
    undone_run_id: Option<i64>,
    counts: Option<Counts>,
    changes: Option<BookChanges>,
    regained: Option<Vec<Dependents>>,
    lost: Option<Vec<Dependents>>,
    elsewhere: Option<Vec<Effect>>,
    not_undone: Option<Vec<Effect>>,
    retries: u64,
}

impl UndoEnd {
    /// Of the run `run_id`, which did `undo` if it succeeded.
    pub(crate) fn new(run_id: Option<i64>, undo: Option<&Undo>, retries: u64) -> Self {
        Self {
            run_id,
            undone_run_id: undo.map(|undo| undo.undone),
            counts: undo.map(Undo::counts),
            changes: undo.map(Undo::changes),
            regained: undo.map(|undo| undo.regained.clone()),
            lost: undo.map(|undo| undo.lost.clone()),
            elsewhere: undo.map(|undo| undo.elsewhere.clone()),
            not_undone: undo.map(|undo| undo.not_undone.clone()),
            retries,
        }
    }

    pub(super) fn text(&self) -> Vec<String> {
        let (Some(run), Some(books)) = (self.undone_run_id, self.changes) else { return Vec::new() };
        let [restored, changed, deleted] = [books.added, books.changed, books.deleted].map(grouped);
        let mut lines = vec![format!(
            "undone    run {run}: {restored} restored, {changed} changed back, {deleted} deleted"
        )];
        let some = |effects: &Option<Vec<Effect>>| {
            effects.as_deref().filter(|effects| !effects.is_empty()).map(losses::describe)
        };
        lines.extend(some(&self.elsewhere).map(|effects| format!("elsewhere {effects}")));
        lines.extend(some(&self.not_undone).map(|effects| not_restored(&effects)));
        lines
    }
}

/// What stays as the triggers of the sync left it.
pub(crate) fn not_restored(effects: &str) -> String {
    format!("Not restored, because triggers did it: {effects}.")
}

/// A fingerprint that both sides have.
#[derive(Debug, Serialize)]
pub(crate) struct Proof {
    rows: i64,
    digest: String,
}

impl From<Fingerprint> for Proof {
    fn from(print: Fingerprint) -> Self {
        Self { rows: print.rows, digest: print.digest_hex() }
    }
}

/// That both sides are equal already.
pub(crate) fn nothing_to_do(verified: &Verified) -> Vec<String> {
    vec!["unchanged nothing to do".into(), verified_line(verified)]
}

fn verified_line(verified: &Verified) -> String {
    let time = verified.snapshot_at().get(11..19).unwrap_or_default();
    let books = grouped(verified.fingerprint().rows.unsigned_abs());
    format!("verified  {books} books, every copied column and the owner, as production stood at {time} UTC")
}
