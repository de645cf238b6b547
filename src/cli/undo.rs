//! `undo`: puts back the books that the last sync replaced.

use dewey_sync_migration::{LEDGER_VERSION, ledger_statements};

use super::args::UndoArgs;
use super::end::{Details, Ended, Outcome, UndoEnd, not_restored};
use super::naming::{Naming, checked, named};
use super::output::{ask, grouped};
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

pub(super) async fn run(session: &Session, args: &UndoArgs) -> Result<Ended> {
    let tally = Tally::new(&session.screen);
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let done = Box::pin(undo(session, args, &target, &tally)).await;
    target.server().close().await;
    let summary = tally.summary();
    let details = UndoEnd::new(summary.run_id, done.as_ref().ok(), summary.retries);
    Ok(Ended {
        result: done.map(|_| Outcome::Undone),
        details: Details::Undo(Box::new(details)),
        report: None,
    })
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

fn question(target: &Target, plan: &Undo) -> Vec<String> {
    let Undo { undone, removed, restored, changed, .. } = plan;
    let [removed, restored, changed] = [removed, restored, changed].map(|books| grouped(*books));
    let mut lines = vec![format!(
        "Undo of run {undone}: {removed} books will be deleted, {changed} changed back, {restored} restored."
    )];
    lines.extend(plan.regained.iter().map(|back| format!("Also restored: {}.", describe(back))));
    if !plan.not_undone.is_empty() {
        lines.push(not_restored(&losses::describe(&plan.not_undone)));
    }
    lines.extend(lost(&plan.lost).map(|lost| format!("Also lost: {}.", describe(lost))));
    if !plan.elsewhere.is_empty() {
        lines.push(format!("Triggers also do this: {}.", losses::describe(&plan.elsewhere)));
    }
    lines.push(format!("Change {}? [y/N] ", target.server().endpoint()));
    lines
}
