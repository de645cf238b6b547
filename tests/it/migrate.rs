//! `migrate` as it is typed, and what later migrations of the application meet after a sync.

use dewey_sync::demo::books::SCHEMA;

use crate::support::inspect::{BOOKS, dump};
use crate::support::redact::masked;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, execute};

#[tokio::test]
async fn an_empty_database_gets_all_and_loses_all() {
    let world = World::new("").await;
    let before = world.public();
    insta::assert_snapshot!(world.migrate(&["status"]).await, @"
    pending   ledger  m0001_identity
    pending   ledger  m0002_application_object
    pending   ledger  m0003_run
    pending   ledger  m0004_checkpoint
    pending   ledger  m0005_stage
    pending   ledger  m0006_stage_checkpoint
    pending   ledger  m0007_generation
    pending   ledger  m0008_replaced
    pending   ledger  m0009_run_session
    pending   ledger  m0010_stage_optional
    pending   ledger  m0011_measured
    absent    enum  BookVisibility
    absent    table  User
    absent    table  Book
    ");
    insta::assert_snapshot!(world.migrate(&["up"]).await, @"
    made      enum  BookVisibility
    made      table  User
    made      table  Book
    ");
    insta::assert_snapshot!(world.migrate(&["up", "--output", "json"]).await, @r#"{"event":"end","command":"migrate up","outcome":"migrated","exit_code":0,"duration_ms":N,"error":null,"objects":[{"kind":"enum","name":"BookVisibility","state":"made","changed":false},{"kind":"table","name":"User","state":"made","changed":false},{"kind":"table","name":"Book","state":"made","changed":false}]}"#);
    insta::assert_snapshot!(world.migrate(&["status"]).await, @"
    applied   ledger  m0001_identity
    applied   ledger  m0002_application_object
    applied   ledger  m0003_run
    applied   ledger  m0004_checkpoint
    applied   ledger  m0005_stage
    applied   ledger  m0006_stage_checkpoint
    applied   ledger  m0007_generation
    applied   ledger  m0008_replaced
    applied   ledger  m0009_run_session
    applied   ledger  m0010_stage_optional
    applied   ledger  m0011_measured
    made      enum  BookVisibility
    made      table  User
    made      table  Book
    ");
    insta::assert_snapshot!(world.migrate(&["status", "--output", "json"]).await, @r#"{"event":"end","command":"migrate status","outcome":"status","exit_code":0,"duration_ms":N,"error":null,"objects":[{"kind":"enum","name":"BookVisibility","state":"made","changed":false},{"kind":"table","name":"User","state":"made","changed":false},{"kind":"table","name":"Book","state":"made","changed":false}]}"#);
    insta::assert_snapshot!(world.migrate(&["down", "--yes"]).await, @"
    removed   enum  BookVisibility
    removed   table  User
    removed   table  Book
    removed   ledger  0 runs
    ");
    assert_eq!(world.public(), before);
    assert_eq!(world.ours(), "");
    insta::assert_snapshot!(world.migrate(&["down", "--yes", "--output", "json"]).await, @r#"{"event":"end","command":"migrate down","outcome":"nothing_to_remove","exit_code":0,"duration_ms":N,"error":null,"objects":[],"ledger":null}"#);
    insta::assert_snapshot!(world.migrate(&["down", "--yes"]).await, @"nothing to remove: this program created nothing here");
}

#[tokio::test]
async fn an_adopted_database_stays_as_it_is() {
    let world = World::new(SCHEMA).await;
    let before = world.public();
    insta::assert_snapshot!(world.migrate(&["status"]).await, @"
    pending   ledger  m0001_identity
    pending   ledger  m0002_application_object
    pending   ledger  m0003_run
    pending   ledger  m0004_checkpoint
    pending   ledger  m0005_stage
    pending   ledger  m0006_stage_checkpoint
    pending   ledger  m0007_generation
    pending   ledger  m0008_replaced
    pending   ledger  m0009_run_session
    pending   ledger  m0010_stage_optional
    pending   ledger  m0011_measured
    present   enum  BookVisibility
    present   table  User
    present   table  Book
    ");
    insta::assert_snapshot!(world.migrate(&["up", "--output", "json"]).await, @r#"{"event":"end","command":"migrate up","outcome":"migrated","exit_code":0,"duration_ms":N,"error":null,"objects":[{"kind":"enum","name":"BookVisibility","state":"adopted","changed":true},{"kind":"table","name":"User","state":"adopted","changed":true},{"kind":"table","name":"Book","state":"adopted","changed":true}]}"#);
    assert_eq!(world.public(), before);
    insta::assert_snapshot!(world.migrate(&["status"]).await, @"
    applied   ledger  m0001_identity
    applied   ledger  m0002_application_object
    applied   ledger  m0003_run
    applied   ledger  m0004_checkpoint
    applied   ledger  m0005_stage
    applied   ledger  m0006_stage_checkpoint
    applied   ledger  m0007_generation
    applied   ledger  m0008_replaced
    applied   ledger  m0009_run_session
    applied   ledger  m0010_stage_optional
    applied   ledger  m0011_measured
    adopted   enum  BookVisibility
    adopted   table  User
    adopted   table  Book
    ");
    insta::assert_snapshot!(world.migrate(&["down", "--yes"]).await, @"
    adopted   enum  BookVisibility
    adopted   table  User
    adopted   table  Book
    removed   ledger  0 runs
    ");
    assert_eq!(world.public(), before);
    assert_eq!(world.ours(), "");
}

#[tokio::test]
async fn nothing_is_created_beside_what_the_application_created() {
    let (until_book, _) = SCHEMA.split_once(r#"create table "Book""#).unwrap();
    let world = World::new(until_book).await;
    let before = world.public();
    let run = world.sandbox.run(&["migrate", "up"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(run.stdout, @"
    adopted   enum  BookVisibility
    adopted   table  User
    absent    table  Book
    ");
    let note = run.stderr.lines().find(|line| line.starts_with("note:")).unwrap();
    insta::assert_snapshot!(note, @"note: nothing was created in the schema `public`, where objects of the application are; what is absent (table `Book`) is for its own migrations to create (`prisma migrate deploy`)");
    assert_eq!(world.public(), before);
    // `setup` goes on to its next step, which says what is missing.
    let run = world.sandbox.run(&["setup", "--yes"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(error(&run), @r#"
    error: could not use the target, empty_ at ...:
    caused by: there is no table `"Book"` in its schema `public`

    state: nothing was written
    hint: bring the schema up to date with the application's migrations (`prisma migrate deploy`)
    "#);
    let tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    assert_eq!(dump(&world.url, tables), b"User\n");
}

#[tokio::test]
async fn down_without_a_terminal_drops_no_table_unasked() {
    let world = World::new("").await;
    world.migrate(&["up"]).await;
    let before = (world.public(), world.ours());

    let run = world.sandbox.run(&["migrate", "down"]).await;

    assert_eq!(run.code, Some(8), "{run:?}");
    insta::assert_snapshot!(error(&run), @"
    error: could not ask whether to remove this
    caused by: there is no terminal to ask on

    state: nothing was removed
    hint: add `--yes` to answer beforehand
    ");
    assert_eq!((world.public(), world.ours()), before);
}

#[tokio::test]
async fn an_enum_migration_of_the_application_passes_after_a_sync() {
    let sandbox = Sandbox::with_books(40).await;
    for strategy in ["atomic", "batched"] {
        sync(&sandbox, &["--strategy", strategy]).await;
    }
    let migration = r#"
        BEGIN;
        CREATE TYPE "BookVisibility_new" AS ENUM ('PRIVATE', 'PUBLIC', 'FRIENDS', 'UNLISTED', 'LENT');
        ALTER TABLE "Book" ALTER COLUMN "visibility" DROP DEFAULT;
        ALTER TABLE "Book" ALTER COLUMN "visibility" TYPE "BookVisibility_new"
            USING ("visibility"::text::"BookVisibility_new");
        ALTER TYPE "BookVisibility" RENAME TO "BookVisibility_old";
        ALTER TYPE "BookVisibility_new" RENAME TO "BookVisibility";
        DROP TYPE "BookVisibility_old";
        ALTER TABLE "Book" ALTER COLUMN "visibility" SET DEFAULT 'PUBLIC';
        COMMIT;"#;
    execute(&sandbox.target_url(), migration).await;
    sync(&sandbox, &[]).await;
}

#[tokio::test]
async fn a_target_stays_marked_when_the_application_is_made_anew() {
    let sandbox = Sandbox::with_books(40).await;
    sync(&sandbox, &[]).await;
    let reset = format!(
        r#"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {SCHEMA}
           INSERT INTO "User" ("clerkId", email, "updatedAt") VALUES ('x', 'x@example.org', now());
           INSERT INTO "Book" VALUES (1, 1, 'old', 'old', '', '', '', '', '', NULL, 1, NULL, '', NULL, '', '', '', 'PUBLIC',
               now(), NULL, now())"#
    );
    execute(&sandbox.target_url(), &reset).await;
    // With a book to lose, an unmarked target would be refused.
    sync(&sandbox, &[]).await;
}

#[tokio::test]
async fn the_applications_may_be_in_schemas_of_other_names() {
    let sandbox = Sandbox::with_books(40).await;
    execute(&sandbox.source_admin_url(), r#"ALTER SCHEMA public RENAME TO "Shop""#).await;
    execute(&sandbox.target_admin_url(), "ALTER SCHEMA public RENAME TO books").await;
    let source = format!("{}?schema=Shop", sandbox.source_url());
    sandbox.set_urls(&source, &format!("{}?schema=books", sandbox.target_url()));
    for strategy in ["atomic", "batched"] {
        let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let books = |schema| BOOKS.replace(r#""Book""#, &format!(r#""{schema}"."Book""#));
        let expected = dump(&sandbox.source_admin_url(), &books("Shop"));
        assert!(dump(&sandbox.target_admin_url(), &books("books")) == expected);
        assert_eq!(sandbox.run(&["verify"]).await.code, Some(0));
    }
}

#[tokio::test]
async fn nothing_of_ours_is_among_the_applications_objects_or_depends_on_one() {
    let sandbox = Sandbox::with_books(1).await;
    let target = sandbox.target_admin_url();
    let before = objects(&target, "public");
    sync(&sandbox, &["--strategy", "batched"]).await;
    assert_eq!(objects(&target, "public"), before);
    assert_eq!(dependencies(&target), "");

    // What would be found.
    let foreign_key =
        r#"ALTER TABLE dewey_sync.run ADD CONSTRAINT owner FOREIGN KEY (owner_id) REFERENCES "User""#;
    execute(&target, foreign_key).await;
    assert!(dependencies(&target).contains("owner on dewey_sync.run"));
}

/// A target whose database is what `setup` made of an empty one.
struct World {
    sandbox: Sandbox,
    url: String,
}

impl World {
    async fn new(setup: &str) -> Self {
        let sandbox = Sandbox::with_books(1).await;
        let url = SERVERS.create_empty_target().await;
        execute(&url, setup).await;
        sandbox.set_urls(&sandbox.source_url(), &url);
        Self { sandbox, url }
    }

    /// What a successful `migrate` prints.
    async fn migrate(&self, arguments: &[&str]) -> String {
        let run = self.sandbox.run(&[&["migrate"], arguments].concat()).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        masked(&run.stdout, "duration_ms\":")
    }

    fn public(&self) -> String {
        objects(&self.url, "public")
    }

    fn ours(&self) -> String {
        objects(&self.url, "dewey_sync")
    }
}

async fn sync(sandbox: &Sandbox, arguments: &[&str]) {
    let run = sandbox.run(&[&["sync", "--yes"], arguments].concat()).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(dump(&sandbox.target_admin_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS));
}

/// From `error:` on, which is the last that a command says.
fn error(run: &Run) -> String {
    let from = run.stderr.find("error:").unwrap();
    run.stderr[from..].replace(|c: char| c.is_ascii_digit(), "")
}

/// Relations, types and functions of a schema.
fn objects(url: &str, schema: &str) -> String {
    let query = format!(
        "SELECT pg_describe_object(classid, objid, 0) FROM
           (SELECT 'pg_class'::regclass AS classid, oid AS objid, relnamespace AS schema FROM pg_class
            UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
            UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc) objects
         WHERE schema = (SELECT oid FROM pg_namespace WHERE nspname = '{schema}') ORDER BY 1"
    );
    String::from_utf8(dump(url, &query)).unwrap()
}

/// Every dependency between an object of ours and one of the application's.
fn dependencies(url: &str) -> String {
    let query = "SELECT one.identity, other.identity FROM pg_depend,
           LATERAL pg_identify_object(classid, objid, objsubid) one,
           LATERAL pg_identify_object(refclassid, refobjid, refobjsubid) other
         WHERE (one.identity ~ 'dewey_sync') <> (other.identity ~ 'dewey_sync')
           AND one.schema IS DISTINCT FROM 'pg_toast'";
    String::from_utf8(dump(url, query)).unwrap()
}
