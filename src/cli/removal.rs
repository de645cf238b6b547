//! `migrate down`: says what it removes, asks, and removes no more than that.

use dewey_sync_migration::{Doomed, Object, Removal};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};
use serde_json::json;

use super::end::{Details, Ended, ObjectLine, Outcome, RemovedLedger};
use super::naming::{LOCK_WAIT, Naming, checked, failed, named};
use super::output::{ask, plural, print_json};
use super::prompt::{is_yes, on_terminal, read_line};
use super::session::Session;
use crate::config::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::ledger::contents::{self, Contents, Undoable};
use crate::ledger::lock::RunLock;
use crate::postgres::{Fault, Target, identifier};
use crate::preflight::guard::target_identity::Marking;

/// The state when nothing was dropped.
const NOTHING_REMOVED: &str = "nothing was removed";

/// Everything that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Going {
    removal: Removal,
    ledger: Contents,
}

pub(super) async fn down(session: &Session, target: &Target, yes: bool) -> Result<Ended> {
    let source = session.source_if_configured()?;
    let checked = checked(target, source.as_ref(), None).await?;
    let Some(going) = look(target).await? else {
        let nothing = Details::Removed { objects: Vec::new(), ledger: None };
        return Ok(Ended::new(Outcome::NothingToRemove, nothing));
    };
    if checked.marking == Marking::MustBeTyped {
        named(session, target, source.as_ref(), &checked, Naming::Elsewhere).await?;
    }
    let endpoint = target.server().endpoint();
    refuse_dependents(&going.removal)?;
    if session.screen.is_json() {
        print_json(&going.json(endpoint));
    }
    if yes {
        session.screen.note_all(&going.text(endpoint));
    } else {
        confirm(session, target, &going).await?;
    }
    let lock = RunLock::acquire(target, LOCK_WAIT).await?;
    let at_most = (!yes).then_some(&going);
    let removed = target.migrate(async |tx| remove(tx, &endpoint.schema, at_most).await).await;
    lock.release().await;
    match removed.map_err(|fault| failed(fault, COULD_NOT).state(NOTHING_REMOVED))? {
        Some((objects, ledger)) => {
            let (objects, ledger) = (ObjectLine::all(&objects), Some(RemovedLedger::with(ledger.runs)));
            Ok(Ended::new(Outcome::Removed, Details::Removed { objects, ledger }))
        }
        None => Err(Error::new(Kind::Refused, COULD_NOT)
            .because("more would be removed by now than was agreed to")
            .state(NOTHING_REMOVED)
            .hint("run `dewey-sync migrate down` again")),
    }
}

const COULD_NOT: &str = "could not remove what `migrate up` created";

/// What goes, read at one time; `None` where nothing of ours is.
async fn look(target: &Target) -> Result<Option<Going>> {
    let reading = |fault: Fault| failed(fault, "could not read the target's schema");
    let (tx, _) = target.snapshot(target.server().short_limit(), "").await.map_err(reading)?;
    let going = going(&tx, &target.server().endpoint().schema).await;
    let going = going.map_err(|error| reading(error.into()))?;
    tx.rollback().await;
    Ok(going)
}

async fn going(db: &impl ConnectionTrait, schema: &str) -> Result<Option<Going>, DbErr> {
    Ok(match dewey_sync_migration::removal(db, schema).await? {
        Some(removal) => Some(Going { removal, ledger: contents::read(db).await? }),
        None => None,
    })
}

/// Drops it; `None` where more would go than `at_most`. Nobody can add to it meanwhile.
async fn remove(
    tx: &DatabaseTransaction,
    schema: &str,
    at_most: Option<&Going>,
) -> Result<Option<(Vec<Object>, Contents)>, DbErr> {
    if let Some(agreed) = at_most {
        let tables = agreed.removal.objects.iter().filter(|object| object.rows.is_some());
        let tables = tables.map(|table| format!("{}.{}", identifier(schema), identifier(table.name)));
        let tables: Vec<String> = ["dewey_sync.run".to_owned()].into_iter().chain(tables).collect();
        tx.execute_unprepared(&format!("LOCK TABLE {}", tables.join(", "))).await?;
    }
    let now = going(tx, schema).await?;
    if at_most.is_some_and(|agreed| now.as_ref().is_some_and(|now| !agreed.covers(now))) {
        return Ok(None);
    }
    let objects = dewey_sync_migration::down(tx, schema).await?;
    Ok(Some((objects, now.map(|now| now.ledger).unwrap_or_default())))
}

/// The server would refuse the whole migration.
fn refuse_dependents(removal: &Removal) -> Result<()> {
    let Some(first) = removal.dependents.first() else { return Ok(()) };
    let mut causes: Vec<String> = Vec::new();
    for dependent in &removal.dependents {
        causes.push(format!("`{}` depends on `{}`", dependent.object, dependent.on));
    }
    let remedies: Vec<&str> =
        removal.dependents.iter().filter_map(|dependent| dependent.remedy.as_deref()).collect();
    let hint = if remedies.is_empty() {
        format!("remove `{}` first, if it is not needed any more", first.object)
    } else {
        "if they are not needed any more, run first:".to_owned()
    };
    Err(Error::new(Kind::Refused, COULD_NOT)
        .because(causes.join("; "))
        .state(NOTHING_REMOVED)
        .hint(hint)
        .lines(remedies.iter().map(|remedy| format!("{remedy};"))))
}

async fn confirm(session: &Session, target: &Target, going: &Going) -> Result<()> {
    let text = going.text(target.server().endpoint());
    let declined = |doing: &str| Error::new(Kind::Declined, doing).state(NOTHING_REMOVED);
    if !on_terminal() {
        session.screen.note_all(&text);
        return Err(declined("could not ask whether to remove this")
            .because("there is no terminal to ask on")
            .hint("add `--yes` to answer beforehand"));
    }
    target.server().close().await;
    session.screen.clear();
    ask(text.iter().map(String::as_str).chain(["Remove it? [y/N] "]));
    if is_yes(&read_line().await?) { Ok(()) } else { Err(declined("the removal was declined")) }
}

impl Going {
    /// Whether nothing of `now` is more than this.
    fn covers(&self, now: &Self) -> bool {
        let same_undo = now.ledger.undo.is_none() || now.ledger.undo == self.ledger.undo;
        let known = |object: &Doomed| {
            let same = |shown: &&Doomed| (shown.kind, shown.name) == (object.kind, object.name);
            self.removal.objects.iter().find(same).is_some_and(|shown| object.rows <= shown.rows)
        };
        same_undo && now.ledger.runs <= self.ledger.runs && now.removal.objects.iter().all(known)
    }

    fn text(&self, endpoint: &Endpoint) -> Vec<String> {
        let Contents { runs, unfinished, marked, undo } = &self.ledger;
        let mark = if *marked { ", and the mark as a development database" } else { "" };
        let mut lines = vec![
            format!("This removes from {endpoint}:"),
            format!("- the ledger with {}{mark}", plural(*runs, "run", "runs")),
        ];
        lines.extend(undo.as_ref().map(undo_text));
        lines.extend(unfinished.map(|run_id| {
            format!("- the rest of run {run_id}, which `dewey-sync sync --resume {run_id}` could complete")
        }));
        lines.extend(self.removal.objects.iter().map(|Doomed { kind, name, rows }| {
            let rows = rows.map(|rows| format!(" with {}", plural(rows, "row", "rows")));
            format!("- the {kind} `{name}`{}", rows.unwrap_or_default())
        }));
        lines
    }

    fn json(&self, endpoint: &Endpoint) -> serde_json::Value {
        let objects = self.removal.objects.iter().map(
            |Doomed { kind, name, rows }| json!({ "kind": kind.to_string(), "name": name, "rows": rows }),
        );
        json!({
            "event": "removal",
            "target": endpoint.to_string(),
            "ledger": self.ledger,
            "objects": objects.collect::<Vec<_>>(),
        })
    }
}

/// What nobody can undo any more.
fn undo_text(Undoable { run_id, added, changed, deleted, dependents }: &Undoable) -> String {
    let done = [(added, "added"), (changed, "changed"), (deleted, "deleted")];
    let done = done.into_iter().filter(|(books, _)| **books > 0);
    let done = done.map(|(books, what)| format!("{} {what}", plural(*books, "book", "books")));
    let rows =
        dependents.iter().map(|kept| format!("{} of `{}`", plural(kept.rows, "row", "rows"), kept.table));
    let done: Vec<String> = done.chain(rows).collect();
    format!("- what `dewey-sync undo` would take back: of run {run_id}, {}", done.join(", "))
}
