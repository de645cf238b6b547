//! `migrate`: creates or removes what this program needs in the target.

use dewey_sync_migration::{Object, State, Status};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::args::MigrateAction;
use super::args::shared::MarkArgs;
use super::end::{Details, Ended, ObjectLine, Outcome, lines_of};
use super::naming::{LOCK_WAIT, Naming, failed, guarded};
use super::output::{print, print_all, print_json};
use super::removal;
use super::session::Session;
use crate::error::Result;
use crate::ledger;
use crate::ledger::lock::RunLock;
use crate::postgres::{Fault, Target};
use crate::preflight::guard::kind;
use crate::preflight::reach;
use crate::preflight::survey::made_by_newer;
use crate::preflight::target_only::CheckedTarget;

pub(super) async fn run(session: &Session, action: MigrateAction) -> Result<Ended> {
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let work = async {
        match action {
            MigrateAction::Up { mark } => {
                let objects = up(session, &target, &mark, Naming::Typed).await?;
                Ok(Ended::new(Outcome::Migrated, details(&objects)))
            }
            MigrateAction::Down { yes } => removal::down(session, &target, yes).await,
            MigrateAction::Status => status(session, &target).await,
        }
    };
    let done = Box::pin(session.unless_interrupted(work)).await;
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
    let CheckedTarget { facts, .. } =
        guarded(session, target, mark.mark_development.as_deref(), naming).await?;
    let endpoint = target.server().endpoint();
    kind::check(endpoint, &facts).map_err(|error| error.state("the target is unchanged"))?;
    let lock = RunLock::acquire(target, LOCK_WAIT).await?;
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
    if let Some(text) = left_to_the_application(&objects, &endpoint.schema) {
        session.screen.note(&text);
    }
    Ok(objects)
}

/// Why objects are absent after [`up`], if some are.
fn left_to_the_application(objects: &[Object], schema: &str) -> Option<String> {
    let absent = objects.iter().filter(|object| object.state == State::Absent);
    let absent: Vec<String> = absent.map(|object| format!("{} `{}`", object.kind, object.name)).collect();
    (!absent.is_empty()).then(|| {
        format!(
            "note: nothing was created in the schema `{schema}`, where objects of the application are; what is \
             absent ({}) is for its own migrations to create (`prisma migrate deploy`)",
            absent.join(", ")
        )
    })
}

async fn status(session: &Session, target: &Target) -> Result<Ended> {
    reach(target.server()).await?;
    let status = read_status(target).await?;
    let newer = status.ledger.iter().find(|migration| !migration.known);
    let newer = newer.map(|migration| made_by_newer(&migration.name));
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
    let details = details(&status.objects);
    Ok(match newer {
        None => Ended::new(Outcome::Status, details),
        Some(error) => Ended::failed(error, details),
    })
}

pub(super) async fn read_status(target: &Target) -> Result<Status> {
    let reading = |fault: Fault| failed(fault, "could not read the target's schema");
    let (tx, _) = target.snapshot(target.server().short_limit(), "").await.map_err(reading)?;
    let schema = &target.server().endpoint().schema;
    let status = dewey_sync_migration::status(&tx, schema).await.map_err(|error| reading(error.into()))?;
    tx.rollback().await;
    Ok(status)
}

fn details(objects: &[Object]) -> Details {
    Details::Objects { objects: ObjectLine::all(objects) }
}

/// Shows what [`up`] found or made as one step of a longer command.
pub(super) fn show_step(session: &Session, objects: &[Object]) {
    session.screen.clear();
    let objects = ObjectLine::all(objects);
    if session.screen.is_json() {
        print_json(&json!({ "event": "migrated", "objects": objects }));
    } else {
        print_all(lines_of(&objects));
    }
}
