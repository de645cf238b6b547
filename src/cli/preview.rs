//! What a dry run found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::end::nothing_to_do;
use super::output::{grouped, plural};
use super::prompt::{changed, owned, replaced};
use crate::book::{SourceUserId, TargetUserId};
use crate::dependents::{Dependents, describe, losses as lost};
use crate::preflight::Preflight;
use crate::preflight::catalog::triggers::Trigger;
use crate::preflight::guard::owner::User;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::guard::triggers;
use crate::printable::cut;
use crate::sync::changes::{BookChanges, Changes};
use crate::sync::intent::Intent;
use crate::sync::request::Strategy;
use crate::sync::verify::before::Compared;

/// A title stands alone on a line of 80 columns.
const TITLE_COLUMNS: usize = 78;

/// A line of `--output json`, and its text.
#[derive(Serialize)]
pub(super) struct Preview<'a> {
    event: &'static str,
    source_books: u64,
    source_private_books: u64,
    target_books: u64,
    changes: BookChanges,
    owners_remapped: u64,
    owner: Option<&'a User>,
    owner_map: &'a BTreeMap<SourceUserId, TargetUserId>,
    batches: u64,
    titles: Option<&'a [String]>,
    dependents: &'a [Dependents],
    triggers: &'a [Trigger],
    marked: bool,
    #[serde(skip)]
    intent: &'a Intent,
    #[serde(skip)]
    compared: &'a Compared,
    #[serde(skip)]
    strategy: Strategy,
}

impl<'a> Preview<'a> {
    /// Of a call that names `strategy`.
    pub(super) fn new(
        intent: &'a Intent,
        compared: &'a Compared,
        strategy: Strategy,
        batch_size: u64,
    ) -> Self {
        let Intent { found, owners, .. } = intent;
        let (source, target) = (&found.source_books, &found.target_books);
        Self {
            event: "preview",
            source_books: source.books,
            source_private_books: source.private,
            target_books: target.books,
            changes: changes(found, compared),
            owners_remapped: source.owners,
            owner: owners.others.as_ref().map(|owner| &owner.user),
            owner_map: &owners.named,
            batches: source.books.div_ceil(batch_size),
            titles: source.titles.as_deref(),
            dependents: predicted(found, compared, intent.strategy),
            triggers: found.target.triggers.as_deref().unwrap_or_default(),
            marked: intent.marking == Marking::Marked,
            intent,
            compared,
            strategy,
        }
    }

    /// What `staged` would change.
    pub(super) fn changes(&self) -> BookChanges {
        self.changes
    }

    pub(super) fn text(&self) -> Vec<String> {
        let Intent { found, owners, .. } = self.intent;
        let dependents = match self.compared {
            Compared::Equal(verified) => return nothing_to_do(verified),
            Compared::Different { dependents, .. } => dependents,
        };
        let mut lines = if self.strategy.removes_all() {
            replacing(found, dependents)
        } else {
            changed(&self.as_planned(dependents))
        };
        lines.push(format!(
            "{} books of {} would be copied in {}, {}.",
            grouped(self.source_books),
            plural(self.owners_remapped, "owner", "owners"),
            plural(self.batches, "batch", "batches"),
            owned(owners)
        ));
        if self.source_private_books > 0 {
            lines.push(format!("{} of them are PRIVATE in production.", grouped(self.source_private_books)));
        }
        if self.intent.marking == Marking::MustBeTyped {
            lines.push(
                "The target is not marked as a development database: its name would have to be typed.".into(),
            );
        }
        lines.extend(triggers::told(&found.target));
        let titles = self.titles.unwrap_or_default();
        lines.extend(titles.iter().map(|title| format!("  {}", cut(title, TITLE_COLUMNS))));
        lines
    }

    fn as_planned(&self, dependents: &[Dependents]) -> Changes {
        let BookChanges { added: new, changed, deleted: removed, unchanged } = self.changes;
        Changes { new, changed, removed, unchanged, private: 0, dependents: dependents.to_vec() }
    }
}

/// Of a strategy that removes all books, where `staged` would lose only `fewer` rows of other tables.
fn replacing(found: &Preflight, fewer: &[Dependents]) -> Vec<String> {
    let all = &found.target_books.dependents;
    let mut lines = vec![replaced(found).replace("will be", "would be")];
    lines.extend(lost(all).map(|lost| format!("Also lost: {}.", describe(lost))));
    let [all, fewer] = [all, fewer].map(|found| lost(found).map(|lost| lost.rows).sum::<u64>());
    if all > fewer {
        let kept = grouped(all - fewer);
        lines.push(format!("`--strategy staged` would keep {kept} of these {}.", grouped(all)));
    }
    lines
}

/// Rows that foreign keys delete or change along.
fn predicted<'a>(found: &'a Preflight, compared: &'a Compared, strategy: Strategy) -> &'a [Dependents] {
    match compared {
        _ if strategy.removes_all() => &found.target_books.dependents,
        Compared::Different { dependents, .. } => dependents,
        Compared::Equal(_) => &[],
    }
}

fn changes(found: &Preflight, compared: &Compared) -> BookChanges {
    let books = found.target_books.books;
    match compared {
        Compared::Different { difference, .. } => difference.changes(books),
        Compared::Equal(_) => BookChanges { unchanged: books, ..BookChanges::default() },
    }
}
