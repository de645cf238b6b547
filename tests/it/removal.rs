//! `migrate down` says what goes before it does, asks, and takes no more than that along.

use dewey_sync_migration as migration;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, TransactionTrait};

use crate::guards::{OTHER_TITLES, count, passes, synced};
use crate::support::inspect::{dump, no_session_left, tuples};
use crate::support::redact::masked;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, execute};
use crate::support::terminal::{Terminal, shown};

const QUESTION: &str = "Remove it? [y/N] ";

/// A target that the application made, whose last sync deleted a book that was in a reading list.
async fn with_an_undo() -> Sandbox {
    let sandbox = synced().await;
    let listed = r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'mine', now() FROM "User";
        INSERT INTO "BookInReadingList" ("bookId", "readingListId") SELECT max(b.id), max(l.id) FROM "Book" b, "ReadingList" l;
        UPDATE "Book" SET isbn10 = 'x', isbn13 = 'x' WHERE id = (SELECT max(id) FROM "Book")"#;
    execute(&sandbox.target_url(), listed).await;
    passes(&sandbox, &["sync", "--yes", "--allow-cascade"]).await;
    sandbox
}

/// A target whose tables `migrate up` made.
async fn with_tables_of_ours() -> Sandbox {
    let sandbox = Sandbox::with_books(3).await;
    execute(
        &sandbox.target_admin_url(),
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION developer",
    )
    .await;
    passes(&sandbox, &["setup", "--yes"]).await;
    sandbox
}

/// From `This removes` on.
fn announced(sandbox: &Sandbox, run: &Run) -> String {
    let from = run.stderr.find("This removes").unwrap_or_else(|| panic!("{run:?}"));
    sandbox.redacted(&run.stderr[from..])
}

#[tokio::test]
async fn a_ledger_goes_only_when_somebody_agreed_who_knows_what_it_holds() {
    let sandbox = with_an_undo().await;
    let before = tuples(&sandbox.target_admin_url()).await;

    let run = sandbox.run(&["migrate", "down"]).await;
    assert_eq!(run.code, Some(8), "{run:?}");
    insta::assert_snapshot!(announced(&sandbox, &run), @r#"
    This removes from DB at 127.0.0.1:TARGET:
    - the ledger with 2 runs, and the mark as a development database
    - what `dewey-sync undo` would take back: of run N, 1 book added, 356 books changed, 1 book deleted, 1 row of `public."BookInReadingList"`
    error: could not ask whether to remove this
    caused by: there is no terminal to ask on

    state: nothing was removed
    hint: add `--yes` to answer beforehand
    "#);
    let mut terminal = Terminal::start(&sandbox, &["migrate", "down"]);
    let asked = terminal.until(QUESTION).await;
    no_session_left(&sandbox.target_admin_url()).await;
    insta::assert_snapshot!(shown(&sandbox.redacted(&asked)), @r#"
    target  DB at 127.0.0.1:TARGET  DIR/.env
    This removes from DB at 127.0.0.1:TARGET:
    - the ledger with 2 runs, and the mark as a development database
    - what `dewey-sync undo` would take back: of run N, 1 book added, 356 books changed, 1 book deleted, 1 row of `public."BookInReadingList"`
    Remove it? [y/N]
    "#);
    terminal.answer("n\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(8), "{said}");
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);

    let run = passes(&sandbox, &["migrate", "down", "--yes"]).await;
    assert!(announced(&sandbox, &run).contains("what `dewey-sync undo` would take back"), "{run:?}");
    insta::assert_snapshot!(run.stdout, @"
    present   enum  BookVisibility
    present   table  User
    present   table  Book
    removed   ledger  2 runs
    ");
    // The mark is gone and there are books: whoever looks again is not told to mark it.
    let run = passes(&sandbox, &["migrate", "down"]).await;
    insta::assert_snapshot!(run.stdout, @"nothing to remove: this program created nothing here");
}

#[tokio::test]
async fn tables_that_up_made_go_with_their_rows_and_so_does_a_run_to_be_resumed() {
    let sandbox = with_tables_of_ours().await;
    let unfinished = "UPDATE dewey_sync.run SET state = 'interrupted' WHERE run_id = (SELECT max(run_id) FROM dewey_sync.run)";
    execute(&sandbox.target_url(), unfinished).await;
    let run = sandbox.run(&["migrate", "down", "--output", "json"]).await;
    assert_eq!(run.code, Some(8), "{run:?}");
    insta::assert_snapshot!(sandbox.redacted(run.stdout.lines().next().unwrap()), @r#"{"event":"removal","ledger":{"marked":true,"runs":1,"undo":{"added":3,"changed":0,"deleted":0,"dependents":[],"run_id":1},"unfinished":1},"objects":[{"kind":"enum","name":"BookVisibility","rows":null},{"kind":"table","name":"User","rows":1},{"kind":"table","name":"Book","rows":3}],"target":"DB at 127.0.0.1:TARGET"}"#);
    let run = passes(&sandbox, &["migrate", "down", "--yes"]).await;
    insta::assert_snapshot!(announced(&sandbox, &run), @"
    This removes from DB at 127.0.0.1:TARGET:
    - the ledger with 1 run, and the mark as a development database
    - what `dewey-sync undo` would take back: of run N, 3 books added
    - the rest of run N, which `dewey-sync sync --resume 1` could complete
    - the enum `BookVisibility`
    - the table `User` with 1 row
    - the table `Book` with 3 rows
    ");
    insta::assert_snapshot!(run.stdout, @"
    removed   enum  BookVisibility
    removed   table  User
    removed   table  Book
    removed   ledger  1 run
    ");
    assert_eq!(count(&sandbox, "pg_class WHERE relnamespace = 'public'::regnamespace").await, 0);
}

#[tokio::test]
async fn json_says_that_it_is_removed_and_then_that_nothing_is_left() {
    let sandbox = with_tables_of_ours().await;
    let call = ["migrate", "down", "--yes", "--output", "json"];
    insta::assert_snapshot!(masked(&passes(&sandbox, &call).await.stdout, "duration_ms\":").lines().last().unwrap(), @r#"{"event":"end","command":"migrate down","outcome":"removed","exit_code":0,"duration_ms":N,"error":null,"objects":[{"kind":"enum","name":"BookVisibility","state":"removed","changed":true},{"kind":"table","name":"User","state":"removed","changed":true},{"kind":"table","name":"Book","state":"removed","changed":true}],"ledger":{"state":"removed","runs":1}}"#);
    insta::assert_snapshot!(masked(&passes(&sandbox, &call).await.stdout, "duration_ms\":"), @r#"{"event":"end","command":"migrate down","outcome":"nothing_to_remove","exit_code":0,"duration_ms":N,"error":null,"objects":[],"ledger":null}"#);
}

#[tokio::test]
async fn rows_that_came_while_the_question_waited_are_not_removed() {
    let sandbox = with_tables_of_ours().await;
    let mut terminal = Terminal::start(&sandbox, &["migrate", "down"]);
    terminal.until(QUESTION).await;
    let add =
        r#"INSERT INTO "User" ("clerkId", email, "updatedAt") VALUES ('new', 'new@example.org', now())"#;
    execute(&sandbox.target_url(), add).await;
    let before = tuples(&sandbox.target_admin_url()).await;
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("more would be removed by now than was agreed to"), "{said}");
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);

    // What went meanwhile is no reason.
    let mut terminal = Terminal::start(&sandbox, &["migrate", "down"]);
    terminal.until(QUESTION).await;
    execute(&sandbox.target_url(), r#"DELETE FROM "User" WHERE "clerkId" = 'new'"#).await;
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn what_depends_on_a_table_of_ours_is_named_with_the_way_to_remove_it() {
    let sandbox = with_tables_of_ours().await;
    let theirs = r#"CREATE TABLE "Loan" (id serial, "bookId" integer REFERENCES "Book" (id));
        CREATE VIEW shelf AS SELECT title FROM "Book"; CREATE VIEW audit AS SELECT state FROM dewey_sync.run"#;
    execute(&sandbox.target_url(), theirs).await;
    let before = tuples(&sandbox.target_admin_url()).await;
    let run = sandbox.run(&["migrate", "down", "--yes"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    let said = sandbox.redacted(&run.stderr[run.stderr.find("error:").unwrap()..]);
    insta::assert_snapshot!(said, @r#"
    error: could not remove what `migrate up` created
    caused by: `table constraint "Loan_bookId_fkey" on public."Loan"` depends on `public."Book"`; `view public.audit` depends on `dewey_sync.run`; `view public.shelf` depends on `public."Book"`

    state: nothing was removed
    hint: if they are not needed any more, run first:
      ALTER TABLE public."Loan" DROP CONSTRAINT "Loan_bookId_fkey";
      DROP VIEW public.audit;
      DROP VIEW public.shelf;
    "#);
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);
    // The statements work as they stand.
    let (_, remedies) = said.split_once("run first:").unwrap();
    execute(&sandbox.target_url(), remedies).await;
    passes(&sandbox, &["migrate", "down", "--yes"]).await;
    assert_eq!(dump(&sandbox.target_url(), r#"SELECT count(*) FROM "Loan""#), b"0\n");
}

/// Foretold is what the server refuses, nothing more and nothing less.
#[tokio::test]
async fn dependents_are_those_that_keep_the_server_from_dropping() {
    for (theirs, dependent) in [
        (
            r#"create table loan (book int references "Book" (id))"#,
            "table constraint loan_book_fkey on public.loan",
        ),
        (r#"create table loan (isbn varchar references "Book" (isbn13))"#, "table constraint"),
        (r#"create table loan (owner int references "User" (id))"#, "table constraint"),
        (r#"create view shelf as select title from "Book""#, "view public.shelf"),
        (r#"create materialized view shelf as select title from "Book""#, "materialized view public.shelf"),
        (
            r#"create table loan (like "Book"); create rule r as on insert to loan do also delete from "Book""#,
            "rule",
        ),
        (r#"create table loan (books "Book"[])"#, "table column public.loan.books"),
        (r#"create table loan (visible "BookVisibility")"#, "table column public.loan.visible"),
        (r#"create table loan (id int default nextval('"Book_id_seq"'))"#, "default value"),
        (r#"create table old () inherits ("Book")"#, "table public.old"),
        (r#"create function f("Book") returns int language sql as 'select 1'"#, "function public.f"),
        ("create view runs as select * from dewey_sync.run", "view public.runs"),
        ("create table loan (run bigint references dewey_sync.run)", "table constraint"),
        ("create table loan (id bigint default nextval('dewey_sync.run_run_id_seq'))", "default value"),
        // What goes with a table keeps it from nothing.
        (r#"create index on "Book" (publisher)"#, ""),
        (r#"alter table "Book" add shelf text default 'x' check (shelf <> 'y')"#, ""),
        (
            r#"create function t() returns trigger language plpgsql as 'begin return null; end';
               create trigger t after insert on "Book" execute function t()"#,
            "",
        ),
        (r#"create rule r as on delete to "Book" do also notify gone"#, ""),
        (r#"create policy p on "User" using (true)"#, ""),
        (r#"create statistics s on title, publisher from "Book""#, ""),
        (r#"create table loan (like "Book" including all)"#, "table column public.loan.visibility"),
        (r#"create table loan as select id, title from "Book""#, ""),
    ] {
        let db = database().await;
        db.execute_unprepared(theirs).await.unwrap();
        let tx = db.begin().await.unwrap();
        let removal = migration::removal(&tx, "public").await.unwrap().unwrap();
        let dropped = migration::down(&tx, "public").await;
        let is_named = removal.dependents.iter().any(|named| named.object.starts_with(dependent));
        assert!(is_named || dependent.is_empty(), "{theirs}: {removal:?}");
        assert_eq!(removal.dependents.is_empty(), dependent.is_empty(), "{theirs}: {removal:?}");
        assert_eq!(dropped.is_ok(), dependent.is_empty(), "{theirs}: {dropped:?}");
    }
}

async fn database() -> DatabaseConnection {
    let db = Database::connect(SERVERS.create_empty_target().await).await.unwrap();
    let tx = db.begin().await.unwrap();
    migration::up(&tx, "public").await.unwrap();
    tx.commit().await.unwrap();
    db
}

#[tokio::test]
async fn the_undo_of_a_first_fill_is_named_by_the_books_that_it_added() {
    let sandbox = Sandbox::with_books(3).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    let run = sandbox.run(&["migrate", "down"]).await;
    assert!(announced(&sandbox, &run).contains("would take back: of run N, 3 books added\n"), "{run:?}");
    execute(&sandbox.target_url(), OTHER_TITLES).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    let run = sandbox.run(&["migrate", "down"]).await;
    assert!(announced(&sandbox, &run).contains("would take back: of run N, 3 books changed\n"), "{run:?}");
}
