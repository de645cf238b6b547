//! The application's own objects: made where they are absent, adopted where they are not.
//!
//! The history cannot know what the application did to its schema since. So `up` first forgets every object that is
//! not there under the oid it was recorded with; the migrator then meets it as new and makes or adopts it.

mod book;
mod book_visibility;
mod user;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseTransaction;
use sea_orm_migration::{MigrationName, MigratorTraitSelf};

use crate::{Kind, Object, State, ledger, sql};

/// Each call is one transaction of its caller: without savepoints an error ends it, and it cannot be committed half
/// done.
pub(crate) const WITHOUT_SAVEPOINT: Option<bool> = Some(false);

/// In the order in which they are made.
const DEFINITIONS: [Definition; 3] = [book_visibility::DEFINITION, user::DEFINITION, book::DEFINITION];

pub(crate) async fn up(tx: &DatabaseTransaction, schema: &str) -> Result<Vec<Object>, DbErr> {
    let application = Application { schema: schema.to_owned() };
    application.install(tx).await?;
    let mut changed = [false; DEFINITIONS.len()];
    for (definition, changed) in DEFINITIONS.iter().zip(&mut changed) {
        *changed = !matches!(definition.state(tx, schema).await?, State::Made | State::Adopted);
        if *changed {
            definition.forget(tx).await?;
        }
    }
    application.up(tx, None).await?;
    let mut objects = objects(tx, schema).await?;
    for (object, changed) in objects.iter_mut().zip(changed) {
        object.changed = changed;
    }
    Ok(objects)
}

pub(crate) async fn down(tx: &DatabaseTransaction, schema: &str) -> Result<Vec<Object>, DbErr> {
    let mut objects = objects(tx, schema).await?;
    if ledger::has_table(tx, "application_migration").await? {
        Application { schema: schema.to_owned() }.down(tx, None).await?;
        tx.execute_unprepared("drop table dewey_sync.application_migration").await?;
        for object in objects.iter_mut().filter(|object| object.state == State::Made) {
            object.state = State::Absent;
            object.changed = true;
        }
    }
    Ok(objects)
}

pub(crate) async fn objects<C: ConnectionTrait>(db: &C, schema: &str) -> Result<Vec<Object>, DbErr> {
    let mut objects = Vec::with_capacity(DEFINITIONS.len());
    for definition in &DEFINITIONS {
        let state = definition.state(db, schema).await?;
        objects.push(Object { kind: definition.kind, name: definition.name, state, changed: false });
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
    async fn state<C: ConnectionTrait>(&self, db: &C, schema: &str) -> Result<State, DbErr> {
        let Some(oid) = self.oid(db, schema).await? else { return Ok(State::Absent) };
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

    /// What else may bear the name (a view, a domain) is not ours to adopt: the server then refuses to create.
    async fn oid<C: ConnectionTrait>(&self, db: &C, schema: &str) -> Result<Option<i64>, DbErr> {
        let text = match self.kind {
            Kind::Enum => {
                "select t.oid::bigint as oid
                 from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
                 where n.nspname = $1 and t.typname = $2 and t.typtype = 'e'"
            }
            Kind::Table => {
                "select c.oid::bigint as oid
                 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                 where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')"
            }
        };
        let row = db.query_one_raw(sql(text, [schema.into(), self.name.into()])).await?;
        row.map(|row| row.try_get("", "oid")).transpose()
    }

    async fn record<C: ConnectionTrait>(&self, db: &C, oid: i64, state: State) -> Result<(), DbErr> {
        let text = "insert into dewey_sync.application_object (name, kind, object_oid, made)
                    values ($1, $2, $3::bigint::oid, $4)";
        let kind = self.kind.to_string();
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
        if let Some(oid) = self.definition.oid(db, &self.schema).await? {
            return self.definition.record(db, oid, State::Adopted).await;
        }
        db.execute_unprepared(&self.definition.create.replace("{schema}", &quoted(&self.schema))).await?;
        let oid = self.definition.oid(db, &self.schema).await?;
        let oid = oid.ok_or_else(|| DbErr::RecordNotFound(self.definition.name.to_owned()))?;
        self.definition.record(db, oid, State::Made).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if self.definition.state(db, &self.schema).await? == State::Made {
            let what = match self.definition.kind {
                Kind::Enum => "type",
                Kind::Table => "table",
            };
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
}

impl MigratorTraitSelf for Application {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let migration = |definition| Migration { definition, schema: self.schema.clone() };
        DEFINITIONS.map(|definition| Box::new(migration(definition)) as Box<dyn MigrationTrait>).into()
    }

    fn migration_table_name(&self) -> DynIden {
        "application_migration".into_iden()
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quote_in_an_identifier_is_doubled() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
    }
}
