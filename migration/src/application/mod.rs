//! The application's own objects: made where the application has made none, adopted where they are.
//!
//! Invariant: an object is made only in a schema whose objects of the application, if there are any, `up` made itself.
//! One of ours beside those of an older or newer application would stop its next migration.
//!
//! The history cannot know what the application did to its schema since. So `up` first forgets every object that is
//! not there under the oid it was recorded with; the migrator then meets it as new and makes, adopts or leaves it.

mod book;
mod book_visibility;
mod occupant;
mod user;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseTransaction;
use sea_orm_migration::{MigrationName, MigratorTraitSelf};

use crate::{Kind, Object, State, ledger, quoted, sql};
use occupant::Occupant;

/// Each call is one transaction of its caller: without savepoints an error ends it, and it cannot be committed half
/// done.
pub(crate) const WITHOUT_SAVEPOINT: Option<bool> = Some(false);

/// In the order in which they are made.
const DEFINITIONS: [Definition; 3] = [book_visibility::DEFINITION, user::DEFINITION, book::DEFINITION];

pub(crate) async fn up(tx: &DatabaseTransaction, schema: &str) -> Result<Vec<Object>, DbErr> {
    let before = objects(tx, schema).await?;
    let nothing_of_others = before.iter().all(|object| matches!(object.state, State::Absent | State::Made));
    let may_make = nothing_of_others && !occupant::has_migrations(tx, schema).await?;
    let application = Application { schema: schema.to_owned(), may_make };
    application.install(tx).await?;
    for (definition, Object { state, .. }) in DEFINITIONS.iter().zip(&before) {
        if !matches!(state, State::Made | State::Adopted) {
            definition.forget(tx).await?;
        }
    }
    application.up(tx, None).await?;
    let mut objects = objects(tx, schema).await?;
    for (object, before) in objects.iter_mut().zip(before) {
        object.changed = object.state != before.state;
    }
    Ok(objects)
}

pub(crate) async fn down(tx: &DatabaseTransaction, schema: &str) -> Result<Vec<Object>, DbErr> {
    let mut objects = objects(tx, schema).await?;
    if ledger::has_table(tx, "application_migration").await? {
        Application { schema: schema.to_owned(), may_make: false }.down(tx, None).await?;
        tx.execute_unprepared("drop table dewey_sync.application_migration").await?;
        for object in objects.iter_mut().filter(|object| object.state == State::Made) {
            object.state = State::Removed;
            object.changed = true;
        }
    }
    Ok(objects)
}

pub(crate) async fn objects<C: ConnectionTrait>(db: &C, schema: &str) -> Result<Vec<Object>, DbErr> {
    let mut objects = Vec::with_capacity(DEFINITIONS.len());
    for definition in &DEFINITIONS {
        let occupant = occupant::find(db, schema, definition).await?;
        let state = definition.state(db, occupant).await?;
        let kind = occupant.map_or(definition.kind, |occupant| occupant.kind);
        objects.push(Object { kind, name: definition.name, state, changed: false });
    }
    Ok(objects)
}

/// An object of the application; in `create`, `{schema}` stands for its quoted schema.
#[derive(Clone, Copy)]
struct Definition {
    version: &'static str,
    kind: Kind,
    name: &'static str,
    create: &'static str,
}

impl Definition {
    async fn state<C: ConnectionTrait>(&self, db: &C, occupant: Option<Occupant>) -> Result<State, DbErr> {
        let Some(Occupant { oid, .. }) = occupant else { return Ok(State::Absent) };
        if !ledger::has_table(db, "application_object").await? {
            return Ok(State::Present);
        }
        let text =
            "select made from dewey_sync.application_object where name = $1 and object_oid::bigint = $2";
        Ok(match db.query_one_raw(sql(text, [self.name.into(), oid.into()])).await? {
            None => State::Present,
            Some(row) if row.try_get("", "made")? => State::Made,
            Some(_) => State::Adopted,
        })
    }

    async fn record<C: ConnectionTrait>(
        &self,
        db: &C,
        Occupant { oid, kind }: Occupant,
        state: State,
    ) -> Result<(), DbErr> {
        let text = "insert into dewey_sync.application_object (name, kind, object_oid, made)
                    values ($1, $2, $3::bigint::oid, $4)";
        let kind = kind.to_string();
        let values = [self.name.into(), kind.into(), oid.into(), (state == State::Made).into()];
        db.execute_raw(sql(text, values)).await.map(drop)
    }

    async fn forget<C: ConnectionTrait>(&self, db: &C) -> Result<(), DbErr> {
        let text = "delete from dewey_sync.application_object where name = $1";
        db.execute_raw(sql(text, [self.name.into()])).await?;
        let text = "delete from dewey_sync.application_migration where version = $1";
        db.execute_raw(sql(text, [self.version.into()])).await.map(drop)
    }
}

struct Migration {
    definition: Definition,
    schema: String,
    may_make: bool,
}

impl MigrationName for Migration {
    fn name(&self) -> &str {
        let definition = &self.definition;
        definition.version
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if let Some(occupant) = occupant::find(db, &self.schema, &self.definition).await? {
            return self.definition.record(db, occupant, State::Adopted).await;
        }
        if !self.may_make {
            return Ok(());
        }
        db.execute_unprepared(&self.definition.create.replace("{schema}", &quoted(&self.schema))).await?;
        let made = occupant::find(db, &self.schema, &self.definition).await?;
        let made = made.ok_or_else(|| DbErr::RecordNotFound(self.definition.name.to_owned()))?;
        self.definition.record(db, made, State::Made).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let occupant = occupant::find(db, &self.schema, &self.definition).await?;
        if self.definition.state(db, occupant).await? == State::Made {
            let what = if self.definition.kind == Kind::Enum { "type" } else { "table" };
            let name = quoted(self.definition.name);
            db.execute_unprepared(&format!("drop {what} {}.{name}", quoted(&self.schema))).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        WITHOUT_SAVEPOINT
    }
}

struct Application {
    schema: String,
    /// Whether absent objects are made.
    may_make: bool,
}

impl MigratorTraitSelf for Application {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let Self { schema, may_make } = self;
        let migration = |definition| Migration { definition, schema: schema.clone(), may_make: *may_make };
        DEFINITIONS.map(|definition| Box::new(migration(definition)) as Box<dyn MigrationTrait>).into()
    }

    fn migration_table_name(&self) -> DynIden {
        "application_migration".into_iden()
    }
}
