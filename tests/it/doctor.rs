//! `doctor` says everything that a sync would find before its first write, and ends as the sync would.

use crate::guards::{passes, synced};
use crate::support::inspect::tuples;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, execute};

/// What `doctor` shows, without what differs from run to run.
async fn screen(sandbox: &Sandbox, more: &[&str]) -> (Run, String) {
    let run = sandbox.run(&[&["doctor"], more].concat()).await;
    let shown = sandbox.redacted(&run.stdout);
    let lines = shown.lines().map(|line| match line.split_once("opened in ") {
        Some((before, _)) => format!("{before}opened in N ms"),
        None => match line.split_once("PostgreSQL ") {
            Some((before, after)) => {
                format!("{before}PostgreSQL N{}", after.rfind(", ").map_or("", |comma| &after[comma..]))
            }
            None => line.trim_end().to_owned(),
        },
    });
    (run, lines.collect::<Vec<_>>().join("\n"))
}

#[tokio::test]
async fn a_healthy_pair() {
    let sandbox = synced().await;
    let both =
        || async { [tuples(&sandbox.source_admin_url()).await, tuples(&sandbox.target_admin_url()).await] };
    let before = both().await;
    let (run, shown) = screen(&sandbox, &[]).await;
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert!(both().await == before, "something was written");
    insta::assert_snapshot!(shown, @r#"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
      ok     connection    opened in N ms
      ok     server        PostgreSQL N, UTF8
      ok     encryption    none, on this machine
      ok     settings      as they have to be
      ok     tables        the application's
      ok     policies      none that could hide rows
      ok     role          `reader` cannot change a book
      ok     read-only     the session and each transaction; a primary
      ok     books         357 of 7 owners, 90 of them PRIVATE
      ok     ledger        none
    target  DB at 127.0.0.1:TARGET  DIR/.env
      ok     connection    opened in N ms
      ok     server        PostgreSQL N, UTF8
      ok     encryption    none, on this machine
      ok     settings      as they have to be
      ok     tables        the application's
      ok     policies      none that could hide rows
      ok     rights        `developer` has those that a sync needs
      ok     books         357; users: 1
      ok     dependents    0 rows of `public."BookInReadingList"`
      ok     ledger        up to date, m0011_measured
      ok     mark          marked as a development database
      ok     runs          none is active
    both
      ok     databases     two different databases
      ok     columns       20 are the same on both sides
      ok     owner         ada@example.org (user 1, the only one)
    Nothing blocks a sync.
    "#);
    let json = passes(&sandbox, &["doctor", "--output", "json"]).await;
    assert_eq!(json.json_end()["outcome"], "healthy");
    assert_eq!(json.stdout.lines().count(), shown.lines().filter(|line| line.starts_with("  ")).count() + 1);
}

/// Breaks a synced pair, and sees that `doctor` ends as `sync` does and says more.
async fn broken(on_source: &str, on_target: &str) -> String {
    let sandbox = synced().await;
    execute(&sandbox.source_admin_url(), on_source).await;
    execute(&sandbox.target_admin_url(), on_target).await;
    compared(&sandbox).await
}

async fn compared(sandbox: &Sandbox) -> String {
    let sync = sandbox.run(&["sync", "--yes", "--dry-run"]).await;
    let (run, shown) = screen(sandbox, &[]).await;
    assert_ne!(run.code, Some(0), "{run:?}");
    assert_eq!(run.code, sync.code, "{run:?} {sync:?}");
    let said = |run: &Run| {
        let is_said = |line: &&str| line.starts_with("error: ") || line.starts_with("caused by: ");
        let said: Vec<String> = run.stderr.lines().filter(is_said).map(str::to_owned).collect();
        assert!(!said.is_empty(), "{run:?}");
        said
    };
    assert_eq!(said(&run), said(&sync));
    not_fine(&shown)
}

fn not_fine(shown: &str) -> String {
    shown.lines().filter(|line| !line.starts_with("  ok")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn swapped_urls() {
    let sandbox = synced().await;
    sandbox.set_urls(&sandbox.target_url(), &sandbox.source_admin_url());
    insta::assert_snapshot!(compared(&sandbox).await, @"
    source  DB at 127.0.0.1:TARGET  DIR/.env.production
      note   role          `developer` may change books; every transaction is read-only all the same
                           fix: the README has the SQL for a role that may only SELECT
      FAIL   ledger        the source does not look like production: it is marked as a development database
                           fix: swap the two URLs; if that database was promoted to production, run `DROP SCHEMA dewey_sync CASCADE` in it
    target  DB at 127.0.0.1:SOURCE  DIR/.env
      note   mark          it was never marked as a development database; 357 books of 7 users would be replaced; the source has fewer users than the target (1 and 7): are the two swapped?
                           fix: type its name when a sync asks, or add `--mark-development DB@127.0.0.1:SOURCE`, only if this is not production
    both
      note   owner         the target has several users
                           fix: answer when a sync asks, or add `--user-id N` or `--user-email EMAIL`
    1 problem blocks a sync.
    ");
}

#[tokio::test]
async fn the_same_database() {
    let sandbox = synced().await;
    sandbox.set_urls(&sandbox.target_url(), &sandbox.target_admin_url());
    insta::assert_snapshot!(compared(&sandbox).await, @"
    source  DB at 127.0.0.1:TARGET  DIR/.env.production
      note   role          `developer` may change books; every transaction is read-only all the same
                           fix: the README has the SQL for a role that may only SELECT
      FAIL   ledger        the source does not look like production: it carries the mark of a development database, of which source and target are copies
                           fix: check the two URLs; if the source really is production, run `DROP SCHEMA dewey_sync CASCADE` in it
    target  DB at 127.0.0.1:TARGET  DIR/.env
    both
      FAIL   databases     source and target are the same database
                           fix: check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets
    2 problems block a sync.
    ");
}

#[tokio::test]
async fn several_things_at_once() {
    let policy =
        r#"ALTER TABLE "Book" ENABLE ROW LEVEL SECURITY; ALTER TABLE "Book" RENAME "pageCount" TO pages"#;
    insta::assert_snapshot!(broken(policy, r#"DELETE FROM "User""#).await, @r#"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
      FAIL   policies      could not read every row of the source, DB at 127.0.0.1:SOURCE: row-level policies of `public."Book"` apply to the role `reader` and may hide rows from it
                           fix: run `ALTER ROLE reader BYPASSRLS` as a superuser, or use the tables' owner, unless their policies are forced on it; a policy that shows every row to `reader` is not enough
    target  DB at 127.0.0.1:TARGET  DIR/.env
    both
      FAIL   columns       could not match the columns of `"Book"` on both sides: production has `pages` and lacks `pageCount`, which may be the same
                           fix: add to `DIR/dewey-sync.toml`, each line under its heading:
                             [columns]
                             pages = "pageCount"
    2 problems block a sync.
    "#);
}

#[tokio::test]
async fn a_source_without_books_and_rights() {
    insta::assert_snapshot!(broken(r#"DELETE FROM "Book""#, "").await, @"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  DIR/.env
    both
      FAIL   books         production has no books: the target would lose 357 books
                           fix: check the source's URL and its `schema` parameter; if production has no books, add `--allow-empty-source`
    1 problem blocks a sync.
    ");
    insta::assert_snapshot!(broken(r#"REVOKE SELECT ON "Book" FROM reader"#, "").await, @r#"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
      FAIL   books         could not look at the source, DB at 127.0.0.1:SOURCE: permission denied for table Book (SQLSTATE 42501)
                           fix: grant the role `reader` SELECT on `"Book"`; the README has the SQL for a role that may only that
    target  DB at 127.0.0.1:TARGET  DIR/.env
    both
    1 problem blocks a sync.
    "#);
}

#[tokio::test]
async fn a_table_that_is_not_there() {
    insta::assert_snapshot!(broken("", r#"DROP TABLE "User" CASCADE"#).await, @r#"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  DIR/.env
      FAIL   tables        could not use the target, DB at 127.0.0.1:TARGET: there is no table `"User"` in its schema `public`
                           fix: bring the schema up to date with the application's migrations (`prisma migrate deploy`)
    both
    1 problem blocks a sync.
    "#);
    insta::assert_snapshot!(broken(r#"ALTER TABLE "Book" RENAME TO books"#, "").await, @r#"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
      FAIL   tables        could not use the source, DB at 127.0.0.1:SOURCE: there is no table `"Book"` in its schema `public`
                           fix: check that the URL names production's database, and its `schema` parameter
    target  DB at 127.0.0.1:TARGET  DIR/.env
    both
    1 problem blocks a sync.
    "#);
}

#[tokio::test]
async fn sides_that_cannot_be_reached() {
    let sandbox = synced().await;
    let nowhere = sandbox.source_url().replace(&format!(":{}", SERVERS.source.port()), ":1");
    sandbox.set_urls(&nowhere, &sandbox.target_url());
    insta::assert_snapshot!(compared(&sandbox).await, @"
    source  DB at 127.0.0.1:1  DIR/.env.production
      FAIL   connection    could not connect to the source, DB at 127.0.0.1:1: connection refused
                           fix: check host and port in `DIR/.env.production`, and that the server runs and is reachable
    target  DB at 127.0.0.1:TARGET  DIR/.env
    1 problem blocks a sync.
    ");
    let wrong = sandbox
        .target_url()
        .replace("developer@", "wrong@")
        .replace("developer:developer", "developer:wrong");
    sandbox.set_urls(&sandbox.source_url(), &wrong);
    insta::assert_snapshot!(compared(&sandbox).await, @r#"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  DIR/.env
      FAIL   connection    could not connect to the target, DB at 127.0.0.1:TARGET: password authentication failed for user "developer" (SQLSTATE 28P01)
                           fix: check user and password in `DIR/.env`
    1 problem blocks a sync.
    "#);
}

#[tokio::test]
async fn what_is_only_good_to_know() {
    let sandbox = Sandbox::with_books(40).await;
    execute(
        &sandbox.source_admin_url(),
        r#"GRANT UPDATE ON "Book" TO reader; ALTER TABLE "Book" DROP "readDate""#,
    )
    .await;
    let unfinished = r#"ALTER TABLE "Book" ADD CONSTRAINT no CHECK (id < 0) NOT VALID"#;
    execute(&sandbox.target_admin_url(), unfinished).await;
    assert_eq!(sandbox.run(&["sync", "--yes", "--no-rehearsal"]).await.code, Some(5));
    let bob = r#"INSERT INTO "User" ("clerkId", email, "updatedAt") VALUES ('b', 'bob@example.org', now());
                 UPDATE dewey_sync.identity SET database_oid = 1"#;
    execute(&sandbox.target_admin_url(), bob).await;
    let (run, shown) = screen(&sandbox, &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(not_fine(&shown), @"
    source  DB at 127.0.0.1:SOURCE  DIR/.env.production
      note   role          `reader` may change books; every transaction is read-only all the same
                           fix: the README has the SQL for a role that may only SELECT
    target  DB at 127.0.0.1:TARGET  DIR/.env
      note   runs          run N ended early: not_completed
                           fix: `dewey-sync sync --resume 1` goes on with it, a new sync ends it
    both
      note   columns       `readDate` is not copied: production lacks it
      note   owner         the target has several users
                           fix: answer when a sync asks, or add `--user-id N` or `--user-email EMAIL`
    Nothing blocks a sync.
    ");
}
