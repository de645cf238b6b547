//! What bears the name of an object of the application in its schema, whatever its kind: a name is taken by a view, a
//! domain or a sequence as well.

use sea_orm_migration::prelude::*;

use super::Definition;
use crate::{Kind, sql};

/// The migration history that the application's own tool keeps beside its tables.
const MIGRATIONS: &str = "_prisma_migrations";

/// A relation or a type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occupant {
    pub(super) oid: i64,
    pub(super) kind: Kind,
}

/// What has the name of `definition`, first of all the object itself.
pub(super) async fn find<C: ConnectionTrait>(
    db: &C,
    schema: &str,
    definition: &Definition,
) -> Result<Option<Occupant>, DbErr> {
    // The row type of a table has the table's name and is no object of its own.
    let text = "
select oid, kind from (
    select c.oid::bigint as oid, case c.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view'
        when 'm' then 'materialized view' when 'f' then 'foreign table' else 'other' end as kind
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2
    union all
    select t.oid::bigint, case t.typtype when 'e' then 'enum' when 'd' then 'domain' else 'other' end
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where n.nspname = $1 and t.typname = $2 and t.typrelid = 0
) named order by kind <> $3, oid limit 1";
    let values = [schema.into(), definition.name.into(), definition.kind.to_string().into()];
    let Some(row) = db.query_one_raw(sql(text, values)).await? else { return Ok(None) };
    let kind: String = row.try_get("", "kind")?;
    Ok(Some(Occupant { oid: row.try_get("", "oid")?, kind: Kind::named(&kind) }))
}

/// Whether the application's own tool has made its history here, though perhaps none of the objects yet.
pub(super) async fn has_migrations<C: ConnectionTrait>(db: &C, schema: &str) -> Result<bool, DbErr> {
    let text = "select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                where n.nspname = $1 and c.relname = $2";
    Ok(db.query_one_raw(sql(text, [schema.into(), MIGRATIONS.into()])).await?.is_some())
}
