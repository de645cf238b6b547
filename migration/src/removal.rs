//! What `down` would drop of the application's objects, and what depends on anything that it would drop.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::QueryResult;

use crate::{Kind, State, application, ledger, quoted, sql};

/// What [`down`](crate::down) would drop, beside the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The objects that `up` made.
    pub objects: Vec<Doomed>,
    /// What depends on one of them or on the ledger and is not dropped: it keeps `down` from dropping anything.
    pub dependents: Vec<Dependent>,
}

/// An object that `up` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// What it is.
    pub kind: Kind,
    /// Its name, unquoted and without its schema.
    pub name: &'static str,
    /// Of a table.
    pub rows: Option<u64>,
}

/// Something that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// What and which, such as `table constraint "Loan_bookId_fkey" on public."Loan"`.
    pub object: String,
    /// On which object it depends, such as `public."Book"`.
    pub on: String,
    /// The statement that would remove it, where it holds no rows of its own.
    pub remedy: Option<String>,
}

pub(crate) async fn removal<C: ConnectionTrait>(db: &C, schema: &str) -> Result<Option<Removal>, DbErr> {
    let has_ledger = ledger::has_table(db, "ledger_migration").await?;
    let mut objects = Vec::new();
    for object in application::objects(db, schema).await?.iter().filter(|object| object.state == State::Made)
    {
        let rows = match object.kind {
            Kind::Table => Some(count(db, schema, object.name).await?),
            _ => None,
        };
        objects.push(Doomed { kind: object.kind, name: object.name, rows });
    }
    if !has_ledger && objects.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = objects.iter().map(|object| object.name).collect();
    let dependents = dependents(db, schema, &names).await?;
    Ok(Some(Removal { objects, dependents }))
}

async fn count<C: ConnectionTrait>(db: &C, schema: &str, table: &str) -> Result<u64, DbErr> {
    let text = format!("select count(*) as rows from {}.{}", quoted(schema), quoted(table));
    let row = db.query_one_raw(sql(&text, [])).await?;
    let rows: i64 = row.ok_or_else(|| DbErr::RecordNotFound(table.to_owned()))?.try_get("", "rows")?;
    Ok(rows.unsigned_abs())
}

/// What a DROP without CASCADE would be refused for. What belongs to an object goes with it: its columns, keys,
/// sequences, row type, triggers.
async fn dependents<C: ConnectionTrait>(
    db: &C,
    schema: &str,
    made: &[&str],
) -> Result<Vec<Dependent>, DbErr> {
    let text = "
with recursive going (classid, objid, root) as (
    select 'pg_catalog.pg_class'::regclass::oid, c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'dewey_sync' and c.relname = any ($1) or n.nspname = $2 and c.relname = any ($3)
    union
    select 'pg_catalog.pg_type'::regclass::oid, t.oid, pg_catalog.format('%I.%I', n.nspname, t.typname)
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where n.nspname = $2 and t.typname = any ($3) and t.typtype = 'e'
    union
    select d.classid, d.objid, going.root
    from going join pg_catalog.pg_depend d on d.refclassid = going.classid and d.refobjid = going.objid
    where d.deptype in ('a', 'i', 'P', 'S'))
select distinct i.type || ' ' || i.identity as object, going.root,
    case i.type when 'table constraint' then (
            select pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', t.identity, k.conname)
            from pg_catalog.pg_constraint k,
                pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, k.conrelid, 0) t
            where k.oid = d.objid)
        when 'view' then 'DROP VIEW ' || i.identity
        when 'materialized view' then 'DROP MATERIALIZED VIEW ' || i.identity end as remedy
from going join pg_catalog.pg_depend d on d.refclassid = going.classid and d.refobjid = going.objid
-- A view depends by its rule.
left join pg_catalog.pg_rewrite r
    on d.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = d.objid and r.rulename = '_RETURN'
cross join lateral pg_catalog.pg_identify_object(
    case when r.oid is null then d.classid else 'pg_catalog.pg_class'::regclass end,
    coalesce(r.ev_class, d.objid), case when r.oid is null then d.objsubid else 0 end) i
where d.deptype = 'n' and (d.classid, d.objid) not in (select classid, objid from going)
order by object, root";
    let names = |names: Vec<&str>| Value::from(names.into_iter().map(str::to_owned).collect::<Vec<String>>());
    let values = [names(ledger::tables().collect()), schema.into(), names(made.to_vec())];
    let rows = db.query_all_raw(sql(text, values)).await?;
    let dependent = |row: &QueryResult| {
        Ok(Dependent {
            object: row.try_get("", "object")?,
            on: row.try_get("", "root")?,
            remedy: row.try_get("", "remedy")?,
        })
    };
    rows.iter().map(dependent).collect()
}
