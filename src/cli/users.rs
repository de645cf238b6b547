//! `users`: lists the target's users; `users add` creates one.

use dewey_sync_entity::user;
use dewey_sync_migration::LedgerState;
use sea_orm::{EntityTrait, NotSet, QueryOrder, QuerySelect, Set};
use serde_json::json;

use super::args::UsersAction;
use super::naming::{Naming, guarded};
use super::output::{print, print_json};
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Target};
use crate::preflight::guard::owner::User;
use crate::preflight::reach;
use crate::preflight::survey::made_by_newer;
use crate::printable::value;

pub(super) async fn run(session: &Session, action: Option<UsersAction>) -> Result<()> {
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let work = async {
        match action {
            None => list(session, &target).await,
            Some(UsersAction::Add { email, clerk_id, name, mark }) => {
                guarded(session, &target, mark.mark_development.as_deref(), Naming::Typed).await?;
                let added = add(&target, email, clerk_id, name).await?;
                session.screen.clear();
                if session.screen.is_json() {
                    let user = added.json();
                    session.end(&json!({ "event": "end", "outcome": "added", "exit_code": 0, "user": user }));
                } else {
                    print(&added.text());
                }
                Ok(())
            }
        }
    };
    let done = session.unless_interrupted(Box::pin(work)).await;
    target.server().close().await;
    done
}

async fn list(session: &Session, target: &Target) -> Result<()> {
    reach(target.server()).await?;
    let users = all(target).await?;
    session.screen.clear();
    for user in &users {
        let User { id, email, name } = user;
        if session.screen.is_json() {
            print_json(&json!({ "event": "user", "id": id, "email": email, "name": name }));
        } else {
            let (email, name) = (value(email), value(name.as_deref().unwrap_or_default()));
            print(format!("{id:>6}  {email}  {name}").trim_end());
        }
    }
    if session.screen.is_json() {
        session.end(&json!({ "event": "end", "outcome": "listed", "exit_code": 0, "users": users.len() }));
    } else if users.is_empty() {
        print(
            "no users yet: log in once in the application, or run `dewey-sync users add --email you@example.org`",
        );
    }
    Ok(())
}

/// Every user of the target, by id, where no newer version made the ledger.
pub(super) async fn all(target: &Target) -> Result<Vec<User>> {
    let reading = |fault: Fault| {
        let kind = fault.kind_at_start();
        Error::new(kind, "could not read the target's users")
            .because(fault)
            .hint(
                "create the tables with the application (`prisma migrate deploy`), or with `dewey-sync migrate up` \
                 where it has created none",
            )
    };
    let (tx, _) = target.snapshot(target.server().quick(), "").await.map_err(reading)?;
    let rows: Vec<(i32, String, Option<String>)> = user::Entity::find()
        .select_only()
        .columns([user::Column::Id, user::Column::Email, user::Column::Name])
        .order_by_asc(user::Column::Id)
        .into_tuple()
        .all(&tx)
        .await
        .map_err(|error| reading(error.into()))?;
    match dewey_sync_migration::ledger_state(&tx).await.map_err(Fault::from) {
        Ok(LedgerState::Newer(migration)) => return Err(made_by_newer(&migration)),
        Ok(LedgerState::Absent | LedgerState::Older | LedgerState::Current) => tx.rollback().await,
        // Users are listed for a role that may not read the ledger.
        Err(fault) if fault.sqlstate() == Some("42501") => {}
        Err(fault) => return Err(reading(fault)),
    }
    Ok(rows.into_iter().map(|(id, email, name)| User { id, email, name }).collect())
}

/// A new user of the target.
pub(super) struct Added {
    id: i32,
    email: String,
    clerk_id: String,
    /// Whether the clerk id is made up.
    generated: bool,
}

/// Adds a user to a target that has passed its guards.
pub(super) async fn add(
    target: &Target,
    email: String,
    clerk_id: Option<String>,
    name: Option<String>,
) -> Result<Added> {
    let adding = |fault: Fault| {
        let taken = fault.sqlstate() == Some("23505");
        let kind = if taken { Kind::Usage } else { fault.kind_at_start() };
        Error::new(kind, "could not add the user").because(fault).state("no user was added")
    };
    let generated = clerk_id.is_none();
    let clerk_id = clerk_id.unwrap_or_else(|| format!("dewey_sync_{:016x}", rand::random::<u64>()));
    let model = user::ActiveModel {
        id: NotSet,
        clerk_id: Set(clerk_id.clone()),
        email: Set(email.clone()),
        name: Set(name),
        // The server reads this word as its own time.
        updated_at: Set("now".into()),
        ..Default::default()
    };
    let (tx, _) = target.write(target.server().quick(), "").await.map_err(adding)?;
    let added = user::Entity::insert(model).exec(&tx).await.map_err(|error| adding(error.into()))?;
    tx.commit().await.map_err(adding)?;
    Ok(Added { id: added.last_insert_id, email, clerk_id, generated })
}

impl Added {
    pub(super) fn text(&self) -> String {
        let Self { id, email, clerk_id, generated } = self;
        let made_up = if *generated { ", a made-up one: nobody can log in with it" } else { "" };
        format!("added user {id}, {}, clerk id {}{made_up}", value(email), value(clerk_id))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let Self { id, email, clerk_id, generated } = self;
        json!({ "id": id, "email": email, "clerk_id": clerk_id, "clerk_id_generated": generated })
    }
}
