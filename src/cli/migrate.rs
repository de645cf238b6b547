//! `migrate`: creates or removes what this program needs in the target.

use std::time::Duration;

use dewey_sync_migration::{Object, State, Status};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::args::{MarkArgs, MigrateAction};
use super::output::{print, print_json};
use super::prompt::{address, is_yes, name_is_typed, on_terminal, read_line};
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::ledger;
use crate::ledger::lock::Lock;
use crate::postgres::{Fault, Target};
use crate::sync::facts::Facts;
use crate::sync::guard::kind;
use crate::sync::guard::target_identity::{Marking, unmarked};
use crate::sync::preflight::{self, reach};

/// A run that is about to end is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(3);

pub(super) async fn run(session: &Session, action: MigrateAction) -> Result<()> {
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let work = async {
        match action {
            MigrateAction::Up { mark } => {
                let objects = up(session, &target, &mark, Naming::Typed).await?;
                show(session, "migrated", &objects);
                Ok(())
            }
            MigrateAction::Down { yes } => down(session, &target, yes).await,
            MigrateAction::Status => status(session, &target).await,
        }
    };
    let done = session.unless_interrupted(work).await;
    target.server().close().await;
    done
}

/// Brings the target up to date, having passed its guards; the application's objects.
pub(super) async fn up(
    session: &Session,
    target: &Target,
    mark: &MarkArgs,
    naming: Naming,
) -> Result<Vec<Object>> {
    let (facts, _) = guarded(session, target, mark.mark_development.as_deref(), naming).await?;
    let endpoint = target.server().endpoint();
    kind::check(endpoint, &facts).map_err(|error| error.state("the target is unchanged"))?;
    let lock = Lock::acquire(target, LOCK_WAIT).await?;
    let objects = target
        .migrate(async |tx| {
            let objects = dewey_sync_migration::up(tx, &endpoint.schema).await?;
            tx.execute_unprepared(&ledger::run::end_all()).await?;
            ledger::mark(tx, &facts.identity, &endpoint.database).await?;
            Ok(objects)
        })
        .await
        .map_err(|fault| failed(fault, "could not bring the target up to date"))?;
    lock.release().await;
    let made = objects.iter().any(|object| object.state == State::Made && object.changed);
    if made {
        session.screen.note(
            "note: where the application is at hand, `prisma migrate deploy` is the better first step: \
             it knows all of the application's tables",
        );
    }
    Ok(objects)
}

async fn down(session: &Session, target: &Target, yes: bool) -> Result<()> {
    let (_, marking) = guarded(session, target, None, Naming::ByFlag).await?;
    if marking != Marking::Marked {
        if session.screen.is_json() {
            show(session, "removed", &[]);
        } else {
            print("nothing to remove: this program created nothing here");
        }
        return Ok(());
    }
    let endpoint = target.server().endpoint();
    let status = read_status(target).await?;
    let doomed: Vec<&str> = status
        .objects
        .iter()
        .filter(|object| object.state == State::Made)
        .map(|object| object.name)
        .collect();
    if !yes && !doomed.is_empty() {
        confirm(session, &format!("This drops {} of {endpoint} with all rows.", doomed.join(", "))).await?;
    }
    let lock = Lock::acquire(target, LOCK_WAIT).await?;
    let objects = target
        .migrate(async |tx| dewey_sync_migration::down(tx, &endpoint.schema).await)
        .await
        .map_err(|fault| failed(fault, "could not remove what `migrate up` created"))?;
    lock.release().await;
    show(session, "removed", &objects);
    Ok(())
}

async fn confirm(session: &Session, what: &str) -> Result<()> {
    let declined = |doing: &str| Error::new(Kind::Declined, doing).state("nothing was removed");
    if !on_terminal() {
        return Err(declined("could not ask whether to remove the tables")
            .because("there is no terminal to ask on")
            .hint("add `--yes` to answer beforehand"));
    }
    session.screen.clear();
    super::output::ask(&format!("{what} Go on? [y/N] "));
    if is_yes(&read_line().await?) { Ok(()) } else { Err(declined("the removal was declined")) }
}

async fn status(session: &Session, target: &Target) -> Result<()> {
    reach(target.server()).await?;
    let status = read_status(target).await?;
    session.screen.clear();
    if !session.screen.is_json() {
        for migration in &status.ledger {
            print(&format!(
                "{:8}  ledger  {}",
                if migration.applied { "applied" } else { "pending" },
                migration.name
            ));
        }
    }
    show(session, "status", &status.objects);
    Ok(())
}

async fn read_status(target: &Target) -> Result<Status> {
    let reading = |fault: Fault| failed(fault, "could not read the target's schema");
    let (tx, _) = target.snapshot(target.server().quick(), "").await.map_err(reading)?;
    let schema = &target.server().endpoint().schema;
    let status = dewey_sync_migration::status(&tx, schema).await.map_err(|error| reading(error.into()))?;
    tx.rollback().await;
    Ok(status)
}

fn show(session: &Session, outcome: &str, objects: &[Object]) {
    session.screen.clear();
    if session.screen.is_json() {
        let objects = objects_json(objects);
        session.end(&json!({ "event": "end", "outcome": outcome, "exit_code": 0, "objects": objects }));
    } else {
        list(objects);
    }
}

/// Shows what [`up`] found or made as one step of a longer command.
pub(super) fn show_step(session: &Session, objects: &[Object]) {
    session.screen.clear();
    if session.screen.is_json() {
        print_json(&json!({ "event": "migrated", "objects": objects_json(objects) }));
    } else {
        list(objects);
    }
}

fn list(objects: &[Object]) {
    for object in objects {
        print(&format!("{:8}  {}  {}", object.state.to_string(), object.kind, object.name));
    }
}

fn objects_json(objects: &[Object]) -> Vec<serde_json::Value> {
    let object = |object: &Object| {
        json!({
            "kind": object.kind.to_string(),
            "name": object.name,
            "state": object.state.to_string(),
            "changed": object.changed,
        })
    };
    objects.iter().map(object).collect()
}

fn failed(fault: Fault, doing: &str) -> Error {
    let kind = fault.kind_at_start();
    Error::new(kind, doing).because(fault).state("the target's schema is unchanged")
}

/// How an unmarked target may come to be marked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming {
    /// By typing its name on a terminal, or by the flag.
    Typed,
    /// By the flag only: `--yes` answers no such question.
    ByFlag,
}

/// Reaches the target, and the source when one is configured, and passes the guards in front of every change that is no sync.
pub(super) async fn guarded(
    session: &Session,
    target: &Target,
    name: Option<&str>,
    naming: Naming,
) -> Result<(Facts, Marking)> {
    let source = session.source_if_configured()?;
    reach(target.server()).await?;
    if let Some(source) = &source {
        reach(source.server()).await?;
    }
    let checked = preflight::check_target(source.as_ref(), target, name).await;
    if let Some(source) = &source {
        source.server().close().await;
    }
    let (facts, marking) = checked.map_err(|error| error.state("the target is unchanged"))?;
    if marking == Marking::MustBeTyped {
        let endpoint = target.server().endpoint();
        let named = match naming {
            Naming::Typed if on_terminal() => {
                target.server().close().await;
                session.screen.clear();
                name_is_typed(endpoint, &format!("{}.", address(&facts))).await
            }
            Naming::Typed | Naming::ByFlag => Err(unmarked(endpoint)),
        };
        named.map_err(|error| error.state("the target is unchanged"))?;
    }
    Ok((facts, marking))
}
