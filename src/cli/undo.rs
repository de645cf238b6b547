//! `undo`: puts back the books that the last sync replaced.

use std::time::Instant;

use dewey_sync_migration::{LEDGER_VERSION, ledger_statements};
use serde_json::json;

use super::args::UndoArgs;
use super::naming::{Naming, checked, named};
use super::output::{ask, error_json, grouped, plural, print};
use super::prompt::{is_yes, on_terminal, read_line};
use super::session::Session;
use crate::dependents::{Agreement, check, describe, losses as lost};
use crate::error::{Error, Kind, Result};
use crate::postgres::Target;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::guard::{kind, rights};
use crate::preflight::target_only::CheckedTarget;
use crate::sync::changes::Agreed;
use crate::sync::context::Context;
use crate::sync::losses;
use crate::sync::outcome::UNCHANGED;
use crate::sync::tally::Tally;
use crate::sync::undo::undone::{Undo, nothing_to_undo};
use crate::sync::undo::{self, Request, UNDO};

pub(super) async fn run(session: &Session, args: &UndoArgs) -> Result<()> {
    let started = Instant::now();
    let tally = Tally::new(&session.screen);
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let done = Box::pin(undo(session, args, &target, &tally)).await;
    target.server().close().await;
    let done = done.map_err(|error| session.interruption.attribute(error));
    session.screen.clear();
    if session.screen.is_json() {
        let (outcome, exit_code) = done
            .as_ref()
            .map_or_else(|error| (error.kind.outcome(), error.kind.exit_code()), |_| ("undone", 0));
        let undo = done.as_ref().ok();
        session.end(&json!({
            "event": "end",
            "run_id": tally.summary().run_id,
            "outcome": outcome,
            "exit_code": exit_code,
            "undone_run_id": undo.map(|undo| undo.undone),
            "counts": undo.map(Undo::counts),
            "regained": undo.map(|undo| &undo.regained),
            "lost": undo.map(|undo| &undo.lost),
            "elsewhere": undo.map(|undo| &undo.elsewhere),
            "not_undone": undo.map(|undo| &undo.not_undone),
            "retries": tally.summary().retries,
            "duration_ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "error": done.as_ref().err().map(error_json),
        }));
    } else if let Ok(undo) = &done {
        let Undo { undone, removed, restored, changed, .. } = undo;
        let restored = plural(*restored, "book is", "books are");
        let [removed, changed] = [removed, changed].map(|books| grouped(*books));
        print(&format!(
            "undone    run {undone}: {restored} back, {changed} changed back, {removed} removed again"
        ));
        if !undo.elsewhere.is_empty() {
            print(&format!("elsewhere {}", losses::describe(&undo.elsewhere)));
        }
        if let Some(left) = not_undone(undo) {
            print(&left);
        }
    }
    done.map(drop)
}

async fn undo(session: &Session, args: &UndoArgs, target: &Target, tally: &Tally<'_>) -> Result<Undo> {
    let looked = async {
        let looked = checked(target, None, None).await?;
        if looked.marking == Marking::MustBeTyped {
            // Not connected to: where it is decides how the target is named.
            let source = session.source_if_configured().ok().flatten();
            named(session, target, source.as_ref(), &looked, Naming::Elsewhere).await?;
        }
        Ok(looked)
    };
    let CheckedTarget { facts, marking, ledger_version, .. } = session.unless_interrupted(looked).await?;
    if marking != Marking::Marked {
        return Err(nothing_to_undo());
    }
    let endpoint = target.server().endpoint();
    kind::check(endpoint, &facts).map_err(unchanged)?;
    let version = ledger_version.as_deref();
    let ledger_is_old = version != Some(LEDGER_VERSION);
    rights::check_upgrade(endpoint, &facts, ledger_is_old).map_err(unchanged)?;
    let request = Request {
        ledger_upgrade: if ledger_is_old { ledger_statements(version) } else { String::new() },
        os_user: whoami::username().unwrap_or_default(),
        host: whoami::hostname().unwrap_or_default(),
        identity: facts.identity,
        tuning: args.patience.tuning(),
    };
    let cancel = &session.interruption.token;
    let context = Context { work: UNDO, policy: request.tuning.retry, cancel, progress: tally };
    let plan = Box::pin(undo::rehearse(target, &request, &context)).await?;
    let agreement = args.consent.agreement();
    check(&plan.lost, agreement).map_err(unchanged)?;
    if !args.consent.yes {
        session.unless_interrupted(confirm(session, target, &plan)).await.map_err(unchanged)?;
    }
    let dependents = (agreement != Agreement::ByFlag).then_some(plan.lost);
    let agreed = Agreed { removed: Some(plan.removed), dependents };
    Box::pin(undo::run(target, &request, &agreed, &context)).await
}

fn unchanged(error: Error) -> Error {
    error.state(UNCHANGED)
}

/// No connection waits for a person; the next transaction opens its own.
async fn confirm(session: &Session, target: &Target, plan: &Undo) -> Result<()> {
    if !on_terminal() {
        return Err(Error::new(Kind::Declined, "could not ask whether to undo the sync")
            .because("there is no terminal to ask on")
            .hint("add `--yes` to answer beforehand"));
    }
    target.server().close().await;
    session.screen.clear();
    ask(question(target, plan));
    if is_yes(&read_line().await?) {
        return Ok(());
    }
    Err(Error::new(Kind::Declined, "the undo was declined"))
}

/// What stays as the sync's triggers left it.
fn not_undone(Undo { not_undone, .. }: &Undo) -> Option<String> {
    (!not_undone.is_empty())
        .then(|| format!("Not restored, because triggers did it: {}.", losses::describe(not_undone)))
}

fn question(target: &Target, plan: &Undo) -> Vec<String> {
    let Undo { undone, removed, restored, changed, .. } = plan;
    let [removed, restored, changed] = [removed, restored, changed].map(|books| grouped(*books));
    let mut lines = vec![format!(
        "Run {undone} is undone: {removed} books that it added go, {changed} become what they were, \
         {restored} that it removed come back."
    )];
    lines.extend(plan.regained.iter().map(|back| format!("Back with them: {}.", describe(back))));
    lines.extend(not_undone(plan));
    lines.extend(lost(&plan.lost).map(|lost| format!("Also lost: {}.", describe(lost))));
    if !plan.elsewhere.is_empty() {
        lines.push(format!("Triggers also do this: {}.", losses::describe(&plan.elsewhere)));
    }
    lines.push(format!("Change {}? [y/N] ", target.server().endpoint()));
    lines
}
