//! Looks at everything that a sync would look at before its first write, and does not stop at the first thing that is
//! wrong. The guards are those of [`preflight`], in its order.

mod findings;
mod one_side;
mod rehearsal;

use std::time::Duration;

use crate::book::CopiedColumns;
use crate::dependents;
use crate::ledger::lock::RunLock;
use crate::postgres::{SourceTx, Tx};
use crate::preflight::catalog::{Facts, SideFacts};
use crate::preflight::guard::owner::{Found, Owner};
use crate::preflight::guard::schema::{
    Comparison, Verdict, compare, ids, is_known, refuse_undecided, unique_keys,
};
use crate::preflight::guard::stake::Stake;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::guard::{empty_source, encoding, kind, rights, same_database, settings, swapped};
use crate::preflight::survey::{SourceSurvey, TargetSurvey};
use crate::preflight::{self, GuardOptions, Sides, opening};
use crate::printable::value;
use crate::sync::request::Rehearsal;
use crate::sync::resume::newest_unfinished;
pub use findings::{About, Diagnosis, Finding, Grade};
use one_side::reach;

/// Everything that can be said of the two databases, as a sync would find them now. Nothing is written.
pub async fn examine(sides: &Sides, guards: &GuardOptions, rehearsal: Rehearsal) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let lock = same_database::lock(rand::random());
    let (at_source, at_target) = tokio::join!(reach(sides.source.server()), reach(sides.target.server()));
    let source_is_reached = one_side::reached(&mut diagnosis, About::Source, at_source);
    let target_is_reached = one_side::reached(&mut diagnosis, About::Target, at_target);
    let mut source = None;
    if source_is_reached {
        let opened = opening::open_source(&sides.source, &lock).await;
        source = diagnosis.taken(About::Source, "catalogs", opened);
    }
    let mut target = None;
    if target_is_reached {
        let opened = opening::open_target(&sides.target, &lock).await;
        target = diagnosis.taken(About::Target, "catalogs", opened);
    }
    if let Some((_, facts)) = &source {
        one_side::source(&mut diagnosis, sides.source.server(), facts);
    }
    if let Some((_, facts)) = &target {
        one_side::target(&mut diagnosis, sides.target.server(), facts);
    }
    match (source, target) {
        // Nothing tells the two apart.
        (Some((source_tx, source)), Some((target_tx, target)))
            if !(source.identity_readable && target.identity_readable) =>
        {
            drop(source_tx.finish().await);
            target_tx.rollback().await;
        }
        (Some((source_tx, source)), Some((target_tx, target))) => {
            let pair = Pair { sides, guards, rehearsal, source, target };
            pair.examine(source_tx, target_tx, &mut diagnosis).await;
        }
        (None, Some((target_tx, facts))) => {
            diagnosis.check(About::Target, "takes writes", "a primary", same_database::check_alone(&facts));
            target_tx.rollback().await;
        }
        (Some((source_tx, _)), None) => drop(source_tx.finish().await),
        (None, None) => {}
    }
    diagnosis
}

/// Both sides, reached and asked.
struct Pair<'a> {
    sides: &'a Sides,
    guards: &'a GuardOptions,
    rehearsal: Rehearsal,
    source: Facts,
    target: Facts,
}

impl Pair<'_> {
    async fn examine(&self, source_tx: SourceTx<'_>, target_tx: Tx<'_>, diagnosis: &mut Diagnosis) {
        let Self { sides, source, target, .. } = self;
        let apart = same_database::check(source, target);
        let are_two = apart.is_ok();
        diagnosis.check(About::Both, "databases", "two different databases", apart);
        if let Some(text) = same_database::notice(source, target).filter(|_| are_two) {
            diagnosis.note(About::Both, "databases", text, None);
        }
        diagnosis.check_silent(About::Source, "ledger", swapped::check_readable(source));
        let (at_source, at_target) = (sides.source.server().endpoint(), sides.target.server().endpoint());
        let source_is_copied = source.columns.is_some() && kind::check(at_source, source).is_ok();
        let target_is_written = target.columns.is_some() && kind::check(at_target, target).is_ok();
        let columns = if source_is_copied && target_is_written && target.users {
            self.columns(&source_tx, diagnosis).await
        } else {
            None
        };
        let mut source_books = None;
        if let Some(columns) = &columns {
            let books = preflight::source_books(sides, source_tx, source, columns, None).await;
            source_books = diagnosis.taken(About::Source, "books", books);
        } else {
            drop(source_tx.finish().await);
        }
        if let Some(books) = &source_books {
            self.source_books(books, diagnosis);
        }
        let mut target_books = None;
        if target_is_written && target.users {
            let books = preflight::target_books(sides, &self.guards.owner, target_tx, target).await;
            target_books = diagnosis.taken(About::Target, "books", books);
        } else {
            target_tx.rollback().await;
        }
        if let Some(books) = &target_books {
            let stake = source_books.as_ref().map(|source_books| preflight::stake(source_books, books));
            self.target_books(books, stake, diagnosis).await;
        }
        if let (Some(from), Some(to)) = (&source_books, &target_books) {
            let empty = empty_source::check(from.books, to.books, self.guards.empty_source);
            diagnosis.check_silent(About::Both, "books", empty);
            let owner = self.owner(from, to, diagnosis);
            if let (Rehearsal::Wanted, Some(columns), Some(owner)) = (self.rehearsal, &columns, owner)
                && diagnosis.finds_no_problem()
            {
                rehearsal::rehearse(diagnosis, sides, (target, to), columns, &owner).await;
            }
        }
    }

    /// The columns that travel, when every difference is decided.
    async fn columns(&self, source_tx: &SourceTx<'_>, diagnosis: &mut Diagnosis) -> Option<CopiedColumns> {
        let Self { sides, source, target, .. } = self;
        let mapping = &sides.mapping;
        for (about, server, facts) in
            [(About::Source, sides.source.server(), source), (About::Target, sides.target.server(), target)]
        {
            diagnosis.check_silent(
                about,
                "ids",
                ids::check(SideFacts { endpoint: server.endpoint(), facts }),
            );
        }
        let Comparison { columns, copied } = compare(source, target, mapping);
        let same = columns.iter().filter(|compared| compared.verdict == Verdict::Copied).count();
        let found = format!("{same} are the same on both sides");
        diagnosis.check(About::Both, "columns", found, refuse_undecided(&columns, mapping));
        for compared in &columns {
            let name =
                compared.source.as_ref().or(compared.target.as_ref()).map_or("", |column| &column.name);
            let into = compared.target.as_ref().map(|target| &target.name).filter(|into| *into != name);
            let said = match &compared.verdict {
                Verdict::Decided => format!(
                    "`{name}`{}: as `{}` decides",
                    into.map(|into| format!(" is `{into}`")).unwrap_or_default(),
                    mapping.path.display()
                ),
                Verdict::LeftOut(why) if compared.source.is_some() || is_known(name) => {
                    format!("`{name}` is not copied: {why}")
                }
                Verdict::Copied | Verdict::LeftOut(_) | Verdict::Undecided { .. } => continue,
            };
            diagnosis.note(About::Both, "columns", said, None);
        }
        for text in unique_keys(source, target).into_iter().chain(kind::notice(target)) {
            diagnosis.note(About::Both, "unique keys", text, None);
        }
        if columns.iter().any(|compared| matches!(compared.verdict, Verdict::Undecided { .. })) {
            return None;
        }
        // What failed has ended the transaction for whatever would come after it.
        let expressions = preflight::check_expressions(source_tx, &copied, mapping).await;
        diagnosis.taken(About::Source, "expressions", expressions)?;
        let repeated = kind::check_source(source_tx, source, &copied).await;
        diagnosis.taken(About::Source, "ids", repeated)?;
        diagnosis.taken(About::Source, "text", encoding::check(source_tx, source, &copied).await)?;
        Some(copied)
    }

    fn source_books(&self, books: &SourceSurvey, diagnosis: &mut Diagnosis) {
        let found = format!("{} of {} owners, {} of them PRIVATE", books.books, books.owners, books.private);
        diagnosis.fine(About::Source, "books", found);
        match swapped::check(&self.source, &self.target, books.marked.as_ref()) {
            Ok(None) => diagnosis.fine(About::Source, "ledger", "none"),
            Ok(Some(text)) => diagnosis.note(About::Source, "ledger", text, None),
            Err(error) => diagnosis.problem(About::Source, "ledger", error),
        }
    }

    async fn target_books(&self, books: &TargetSurvey, stake: Option<Stake>, diagnosis: &mut Diagnosis) {
        let Self { sides, guards, target, .. } = self;
        diagnosis.fine(About::Target, "books", format!("{}; users: {}", books.books, books.users));
        diagnosis.check_silent(
            About::Target,
            "unique keys",
            kind::check_keys(sides.target.server().endpoint(), target, books.repeated_ids),
        );
        for found in &books.dependents {
            diagnosis.fine(About::Target, "dependents", dependents::describe(found));
        }
        let ledger = match (&books.ledger_version, books.ledger_is_old()) {
            (Some(version), Ok(false)) => format!("up to date, {version}"),
            (Some(version), Err(_)) => format!("of a newer version of this tool, {version}"),
            (Some(version), Ok(true)) => format!("older, {version}; the next sync brings it up to date"),
            (None, _) => "none yet; the first sync makes it".into(),
        };
        diagnosis.check(About::Target, "ledger", ledger, books.ledger_is_old());
        let is_old = books.ledger_is_old().unwrap_or(false);
        let may_upgrade = rights::check_upgrade(sides.target.server().endpoint(), target, is_old);
        diagnosis.check_silent(About::Target, "rights", may_upgrade);
        let name = guards.mark_development.as_deref();
        match sides.ends().check(target, books.marked.as_ref(), books.books, name) {
            Ok(Marking::Marked) => diagnosis.fine(About::Target, "mark", "marked as a development database"),
            Ok(Marking::Harmless) => {
                diagnosis.fine(About::Target, "mark", "none; it is local and has no books");
            }
            Ok(Marking::Named) => diagnosis.fine(About::Target, "mark", "none; its name is given"),
            Ok(Marking::MustBeTyped) => {
                let mut found = vec!["it was never marked as a development database".to_owned()];
                found.extend(stake.map(|stake| stake.clauses()).unwrap_or_default());
                let fix = format!("type its name when a sync asks, or add {}", sides.ends().flag());
                diagnosis.note(About::Target, "mark", found.join("; "), Some(fix));
            }
            Err(error) => diagnosis.problem(About::Target, "mark", error),
        }
        let unreadable = !target.ledger || books.ledger_is_old().unwrap_or(true);
        // What comes now are transactions that such a setting is an error to.
        if unreadable || settings::check(sides.target.server().endpoint(), target).is_err() {
            return;
        }
        let unfinished = diagnosis.taken(About::Target, "runs", newest_unfinished(sides).await).flatten();
        if let Some(run) = unfinished {
            let found = format!("run {} ended early: {}", run.run_id, run.state);
            let fix =
                format!("`dewey-sync sync --resume {}` goes on with it, a new sync ends it", run.run_id);
            diagnosis.note(About::Target, "runs", found, Some(fix));
        }
        match RunLock::acquire(&sides.target, Duration::ZERO).await {
            Ok(lock) => {
                lock.release().await;
                diagnosis.fine(About::Target, "runs", "none is active");
            }
            Err(error) => diagnosis.problem(About::Target, "runs", error),
        }
    }

    fn owner(
        &self,
        source: &SourceSurvey,
        target: &TargetSurvey,
        diagnosis: &mut Diagnosis,
    ) -> Option<Found> {
        let found = preflight::owner_of(self.sides, &self.guards.owner, source, target);
        match &found {
            Ok(Found::Owner(Some(Owner { user, how }))) => {
                diagnosis.fine(
                    About::Both,
                    "owner",
                    format!("{} (user {}, {how})", value(&user.email), user.id),
                );
            }
            Ok(Found::Owner(None)) => diagnosis.fine(About::Both, "owner", "as the owner map names them"),
            Ok(Found::Several) => {
                let fix = "answer when a sync asks, or add `--user-id N` or `--user-email EMAIL`";
                diagnosis.note(About::Both, "owner", "the target has several users", Some(fix.into()));
            }
            Err(_) => {}
        }
        diagnosis.taken(About::Both, "owner", found)
    }
}
