//! `users`: lists the target's users; `users add` creates one.

use dewey_sync_entity::user;
use dewey_sync_migration::LedgerState;
use sea_orm::{EntityTrait, NotSet, QueryOrder, QuerySelect, Set};
use serde_json::json;

use super::args::UsersAction;
use super::end::{AddedUser, Details, Ended, Outcome};
use super::naming::{Naming, guarded};
use super::output::{print, print_json};
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Target};
use crate::preflight::guard::owner::User;
use crate::preflight::reach;
use crate::preflight::survey::made_by_newer;
use crate::printable::value;

pub(super) async fn run(session: &Session, action: Option<UsersAction>) -> Result<Ended> {
    let target = session.target()?;
    session.introduce(target.server().endpoint());
    let work = async {
        match action {
            None => list(session, &target).await,
            Some(UsersAction::Add { email, clerk_id, name, mark }) => {
                guarded(session, &target, mark.mark_development.as_deref(), Naming::Typed).await?;
                let user = add(&target, email, clerk_id, name).await?;
                Ok(Ended::new(Outcome::Added, Details::UserAdded { user }))
            }
        }
    };
    let done = session.unless_interrupted(Box::pin(work)).await;
    target.server().close().await;
    done
}

async fn list(session: &Session, target: &Target) -> Result<Ended> {
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
    Ok(Ended::new(Outcome::Listed, Details::Users { users: users.len() }))
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
    let (tx, _) = target.snapshot(target.server().short_limit(), "").await.map_err(reading)?;
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

/// Adds a user to a target that has passed its guards.
pub(super) async fn add(
    target: &Target,
    email: String,
    clerk_id: Option<String>,
    name: Option<String>,
) -> Result<AddedUser> {
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
    let (tx, _) = target.write(target.server().short_limit(), "").await.map_err(adding)?;
    let added = user::Entity::insert(model).exec(&tx).await.map_err(|error| adding(error.into()))?;
    tx.commit().await.map_err(adding)?;
    Ok(AddedUser { id: added.last_insert_id, email, clerk_id, generated })
}
