//! What `up` makes, adopts and leaves, and what `down` takes back.

use dewey_sync::demo::books::SCHEMA;
use dewey_sync_migration::{self as migration, Kind, LedgerState, Object, State, Status};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, TransactionTrait};

use crate::support::servers::SERVERS;

#[tokio::test]
async fn up_makes_what_the_application_itself_makes() {
    let ours = database().await;
    let theirs = database().await;
    run(&theirs, SCHEMA).await;

    assert_eq!(up(&ours).await, objects([(State::Made, true); 3]));
    assert_eq!(catalog(&ours, "public").await, catalog(&theirs, "public").await);
    assert_eq!(names(&ours, "public").await, "Book BookVisibility User");
}

#[tokio::test]
async fn up_twice_changes_nothing_and_down_leaves_an_empty_database() {
    let db = database().await;
    up(&db).await;
    let before = (catalog(&db, "public").await, catalog(&db, "dewey_sync").await);

    assert_eq!(up(&db).await, objects([(State::Made, false); 3]));
    assert_eq!((catalog(&db, "public").await, catalog(&db, "dewey_sync").await), before);

    assert_eq!(down(&db).await.unwrap(), objects([(State::Removed, true); 3]));
    assert_eq!(names(&db, "public").await, "");
    assert!(!has_schema(&db, "dewey_sync").await);
    assert_eq!(down(&db).await.unwrap(), objects([(State::Absent, false); 3]));
}

#[tokio::test]
async fn what_the_application_made_is_adopted_and_stays() {
    let db = database().await;
    run(&db, SCHEMA).await;
    run(&db, r#"alter table "Book" add column "shelf" text; drop index "Book_title_idx""#).await;
    let before = (catalog(&db, "public").await, names(&db, "public").await);

    assert_eq!(up(&db).await, objects([(State::Adopted, true); 3]));
    assert_eq!(up(&db).await, objects([(State::Adopted, false); 3]));
    assert_eq!(down(&db).await.unwrap(), objects([(State::Adopted, false); 3]));

    assert_eq!((catalog(&db, "public").await, names(&db, "public").await), before);
    assert!(!has_schema(&db, "dewey_sync").await);
}

/// Whatever the application has of its objects, of an older version, under another kind or only its history: one of ours
/// beside it would stop its next migration.
#[tokio::test]
async fn beside_what_the_application_made_nothing_is_made() {
    let (until_book, _) = SCHEMA.split_once(r#"create table "Book""#).unwrap();
    let (until_user, _) = SCHEMA.split_once(r#"create table "User""#).unwrap();
    for (theirs, kinds) in [
        (until_user, [Some(Kind::Enum), None, None]),
        (until_book, [Some(Kind::Enum), Some(Kind::Table), None]),
        (
            r#"create table "Book" (id serial, visibility text); create table "User" (id serial)"#,
            [None, Some(Kind::Table), Some(Kind::Table)],
        ),
        (
            r#"create table "Book" (id int, isbn13 text) partition by hash (isbn13)"#,
            [None, None, Some(Kind::Table)],
        ),
        (r#"create view "Book" as select 1 as id"#, [None, None, Some(Kind::View)]),
        (r#"create materialized view "User" as select 1 as id"#, [None, Some(Kind::MaterializedView), None]),
        (r#"create domain "BookVisibility" as text"#, [Some(Kind::Domain), None, None]),
        (r#"create domain "Book" as text"#, [None, None, Some(Kind::Domain)]),
        (r#"create sequence "User""#, [None, Some(Kind::Other), None]),
        (r#"create type "Book" as (id int)"#, [None, None, Some(Kind::Other)]),
        ("create table _prisma_migrations (id text)", [None; 3]),
    ] {
        let db = database().await;
        run(&db, theirs).await;
        let before = (catalog(&db, "public").await, names(&db, "public").await);
        for changed in [true, false] {
            let made = up(&db).await;
            let expected = objects([(State::Absent, false); 3]).into_iter().zip(kinds);
            let expected = expected.map(|(object, kind)| match kind {
                Some(kind) => Object { kind, state: State::Adopted, changed, ..object },
                None => object,
            });
            assert_eq!(made, expected.collect::<Vec<_>>(), "{theirs}");
            assert_eq!((catalog(&db, "public").await, names(&db, "public").await), before, "{theirs}");
        }
        down(&db).await.unwrap();
        assert_eq!((catalog(&db, "public").await, names(&db, "public").await), before, "{theirs}");
        assert!(!has_schema(&db, "dewey_sync").await);
    }
}

#[tokio::test]
async fn what_up_itself_made_is_completed() {
    let whole = database().await;
    run(&whole, SCHEMA).await;
    let db = database().await;
    up(&db).await;
    run(&db, r#"drop table "Book""#).await;

    let expected = objects([(State::Made, false), (State::Made, false), (State::Made, true)]);
    assert_eq!(up(&db).await, expected);
    assert_eq!(catalog(&db, "public").await, catalog(&whole, "public").await);

    // What somebody else put in the place of one of ours is the application's from then on.
    run(&db, r#"drop table "Book"; drop type "BookVisibility"; create table "Book" (id int)"#).await;
    let expected = objects([(State::Absent, false), (State::Made, false), (State::Adopted, true)]);
    assert_eq!(up(&db).await, expected);
}

#[tokio::test]
async fn the_ledger_survives_the_applications_schema_and_up_sees_what_is_there_now() {
    let db = database().await;
    up(&db).await;
    let ledger = catalog(&db, "dewey_sync").await;

    run(&db, "drop schema public cascade; create schema public").await;
    assert_eq!(catalog(&db, "dewey_sync").await, ledger);
    assert_eq!(status(&db).await.objects, objects([(State::Absent, false); 3]));
    assert_eq!(up(&db).await, objects([(State::Made, true); 3]));

    run(&db, "drop schema public cascade; create schema public").await;
    run(&db, SCHEMA).await;
    assert_eq!(status(&db).await.objects, objects([(State::Present, false); 3]));
    assert_eq!(down_rolled_back(&db).await, objects([(State::Present, false); 3]));
    assert_eq!(up(&db).await, objects([(State::Adopted, true); 3]));

    let before = catalog(&db, "public").await;
    assert_eq!(down(&db).await.unwrap(), objects([(State::Adopted, false); 3]));
    assert_eq!(catalog(&db, "public").await, before);
}

#[tokio::test]
async fn down_changes_nothing_where_a_later_table_points_at_a_book() {
    let db = database().await;
    up(&db).await;
    run(&db, r#"create table "Loan" (id serial primary key, "bookId" integer references "Book" (id))"#).await;
    let before = (catalog(&db, "public").await, catalog(&db, "dewey_sync").await, status(&db).await);

    let error = down(&db).await.unwrap_err();

    assert_eq!(sqlstate(&error).as_deref(), Some("2BP01"), "{error}");
    assert_eq!((catalog(&db, "public").await, catalog(&db, "dewey_sync").await, status(&db).await), before);
}

#[tokio::test]
async fn down_keeps_the_schema_that_holds_something_foreign() {
    let db = database().await;
    up(&db).await;
    run(&db, "create function dewey_sync.theirs() returns int language sql as 'select 1'").await;

    down(&db).await.unwrap();

    assert!(has_schema(&db, "dewey_sync").await);
    assert_eq!(names(&db, "dewey_sync").await, "");
}

#[tokio::test]
async fn a_second_process_waits_and_finds_everything_made() {
    let url = SERVERS.create_empty_target().await;
    let (db, second_db) = (connect(&url).await, connect(&url).await);
    let first = db.begin().await.unwrap();
    migration::up(&first, "public").await.unwrap();

    let second = tokio::spawn(async move { up(&second_db).await });
    let waiting = "select from pg_locks join pg_database d on d.oid = database
                   where not granted and datname = current_database()";
    while db.query_one_raw(sql(waiting)).await.unwrap().is_none() {
        assert!(!second.is_finished());
    }
    first.commit().await.unwrap();

    assert_eq!(second.await.unwrap(), objects([(State::Made, false); 3]));
}

#[tokio::test]
async fn status_reads_only_and_needs_no_ledger() {
    let db = database().await;
    assert_eq!(migration::ledger_state(&db).await.unwrap(), LedgerState::Absent);
    let empty = status(&db).await;
    assert!(empty.ledger.iter().all(|migration| !migration.applied));
    assert_eq!(empty.ledger.last().unwrap().name, migration::LEDGER_VERSION);
    assert_eq!(empty.objects, objects([(State::Absent, false); 3]));

    let tx = db.begin().await.unwrap();
    migration::ledger_up(&tx).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(migration::ledger_state(&db).await.unwrap(), LedgerState::Current);
    assert!(status(&db).await.ledger.iter().all(|migration| migration.applied));
    assert_eq!(names(&db, "public").await, "");
}

#[tokio::test]
async fn a_newer_ledger_is_told_apart_and_left_alone() {
    let db = database().await;
    up(&db).await;
    let history = migration::LEDGER_HISTORY;
    run(&db, &format!("delete from {history} where version = '{}'", migration::LEDGER_VERSION)).await;
    assert_eq!(migration::ledger_state(&db).await.unwrap(), LedgerState::Older);
    run(&db, &format!("insert into {history} values ('m9999_later', 0)")).await;

    assert_eq!(migration::ledger_state(&db).await.unwrap(), LedgerState::Newer("m9999_later".to_owned()));
    assert_eq!(status(&db).await.ledger.last().unwrap().name, "m9999_later");
    assert!(matches!(down(&db).await, Err(DbErr::Migration(text)) if text.contains("m9999_later")));
    let tx = db.begin().await.unwrap();
    assert!(matches!(migration::ledger_up(&tx).await, Err(DbErr::Migration(_))));
}

#[tokio::test]
async fn the_applications_schema_may_have_any_name() {
    let db = database().await;
    let schema = r#"My "App""#;
    run(&db, r#"create schema "My ""App""""#).await;

    let tx = db.begin().await.unwrap();
    let search_path = "show search_path";
    let before: String = tx.query_one_raw(sql(search_path)).await.unwrap().unwrap().try_get_by(0).unwrap();
    migration::up(&tx, schema).await.unwrap();
    let after: String = tx.query_one_raw(sql(search_path)).await.unwrap().unwrap().try_get_by(0).unwrap();
    tx.commit().await.unwrap();

    assert_eq!(after, before);
    assert_eq!(names(&db, schema).await, "Book BookVisibility User");
    assert_eq!(names(&db, "public").await, "");
    let tx = db.begin().await.unwrap();
    migration::down(&tx, schema).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(names(&db, schema).await, "");
}

/// `(state, changed)` of the enum, `"User"` and `"Book"`.
fn objects(expected: [(State, bool); 3]) -> Vec<Object> {
    let objects = [(Kind::Enum, "BookVisibility"), (Kind::Table, "User"), (Kind::Table, "Book")];
    let objects = objects.into_iter().zip(expected);
    objects.map(|((kind, name), (state, changed))| Object { kind, name, state, changed }).collect()
}

async fn database() -> DatabaseConnection {
    connect(&SERVERS.create_empty_target().await).await
}

async fn connect(url: &str) -> DatabaseConnection {
    Database::connect(url).await.unwrap()
}

async fn run(db: &DatabaseConnection, text: &str) {
    db.execute_unprepared(text).await.unwrap();
}

async fn up(db: &DatabaseConnection) -> Vec<Object> {
    let tx = db.begin().await.unwrap();
    let objects = migration::up(&tx, "public").await.unwrap();
    tx.commit().await.unwrap();
    objects
}

async fn down(db: &DatabaseConnection) -> Result<Vec<Object>, DbErr> {
    let tx = db.begin().await?;
    let objects = migration::down(&tx, "public").await?;
    tx.commit().await?;
    Ok(objects)
}

async fn down_rolled_back(db: &DatabaseConnection) -> Vec<Object> {
    let tx = db.begin().await.unwrap();
    let objects = migration::down(&tx, "public").await.unwrap();
    tx.rollback().await.unwrap();
    objects
}

/// In a transaction that PostgreSQL keeps from writing.
async fn status(db: &DatabaseConnection) -> Status {
    let tx = db.begin_with_config(None, Some(sea_orm::AccessMode::ReadOnly)).await.unwrap();
    migration::status(&tx, "public").await.unwrap()
}

fn sqlstate(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(cause) | DbErr::Query(cause)) = error else { return None };
    let sea_orm::RuntimeErr::SqlxError(cause) = cause else { return None };
    Some(cause.as_database_error()?.code()?.into_owned())
}

fn sql(text: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, text)
}

async fn has_schema(db: &DatabaseConnection, name: &str) -> bool {
    let text = format!("select from pg_namespace where nspname = '{name}'");
    db.query_one_raw(sql(&text)).await.unwrap().is_some()
}

/// The tables and enums of a schema, by name.
async fn names(db: &DatabaseConnection, schema: &str) -> String {
    let text = format!(
        "select coalesce(string_agg(name, ' ' order by name), '')
         from (select relname::text as name, relnamespace as namespace from pg_class where relkind not in ('i', 'S')
               union all
               select typname, typnamespace from pg_type where typtype = 'e') named
         where namespace = (select oid from pg_namespace where nspname = '{schema}')"
    );
    db.query_one_raw(sql(&text)).await.unwrap().unwrap().try_get_by(0).unwrap()
}

/// Every column, default, constraint, index, sequence and label of our tables and enum, as PostgreSQL describes it.
async fn catalog(db: &DatabaseConnection, schema: &str) -> Vec<String> {
    let text = format!(
        "with tables as (
             select c.oid, relname from pg_class c
             where relnamespace = '{schema}'::regnamespace and relkind = 'r'
               and relname in ('User', 'Book', 'identity', 'application_object', 'run', 'checkpoint',
                               'ledger_migration', 'application_migration'))
         select concat_ws(' ', relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                          pg_get_expr(adbin, adrelid)) as line
         from tables join pg_attribute on attrelid = tables.oid left join pg_attrdef on adrelid = tables.oid and adnum = attnum
         where attnum > 0
         union all
         select concat_ws(' ', relname, conname, contype, pg_get_constraintdef(k.oid))
         from tables join pg_constraint k on conrelid = tables.oid
         union all
         select pg_get_indexdef(indexrelid) from tables join pg_index on indrelid = tables.oid
         union all
         select concat_ws(' ', relname, s.seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqcycle)
         from pg_sequence s join pg_depend d on d.objid = s.seqrelid and d.deptype = 'a'
         join tables on tables.oid = d.refobjid
         union all
         select concat_ws(' ', typname, enumsortorder, enumlabel)
         from pg_type t join pg_enum on enumtypid = t.oid where typnamespace = '{schema}'::regnamespace
         order by line"
    );
    let rows = db.query_all_raw(sql(&text)).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.try_get_by(0).unwrap()).collect();
    assert!(!lines.is_empty() || schema == "public");
    lines
}
