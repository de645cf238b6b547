//! The run's durable memory in the target: schema `dewey_sync`, whose tables the package `migration` makes.

pub mod checkpoint;
pub mod contents;
pub mod lock;
pub mod replaced;
pub mod run;
pub mod stage;
pub mod state;

use dewey_sync_entity::ledger::identity;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, NotSet, Set};

use crate::postgres::{Identity, literal};

/// Statements that end the generation that `undo` could bring back.
pub const FORGET_GENERATION: &str = "DELETE FROM dewey_sync.replaced; DELETE FROM dewey_sync.generation";

/// Marks the database as a development database: its identity into its own ledger. If that came with a dump of another
/// database, so did what `undo` would put back, which is not this one's.
pub async fn mark(connection: &impl ConnectionTrait, found: &Identity, name: &str) -> Result<(), DbErr> {
    use identity::Column;
    let Identity { system_identifier, database_oid } = found;
    let foreign = format!(
        "EXISTS (SELECT FROM dewey_sync.identity WHERE (system_identifier, database_oid) <> ({}, {database_oid}))",
        literal(system_identifier)
    );
    for kept in ["replaced", "generation"] {
        connection.execute_unprepared(&format!("DELETE FROM dewey_sync.{kept} WHERE {foreign}")).await?;
    }
    let model = identity::ActiveModel {
        id: Set(1),
        system_identifier: Set(system_identifier.clone()),
        database_oid: Set(*database_oid),
        database_name: Set(name.to_owned()),
        marked_at: NotSet,
    };
    let replace = OnConflict::column(Column::Id)
        .update_columns([Column::SystemIdentifier, Column::DatabaseOid, Column::DatabaseName])
        .to_owned();
    identity::Entity::insert(model).on_conflict(replace).exec_without_returning(connection).await.map(drop)
}
