//! Standbys: one as the target is refused, and so is a replica of the target as the source; any other one is a source
//! like its primary, but that it may take back a snapshot.

use crate::guards::{OTHER_TITLES, WRITING, passes};
use crate::support::deadline::Deadline;
use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::running::Running;
use crate::support::sandbox::Sandbox;
use crate::support::servers::{READER, as_role, connect, execute};
use crate::support::standby::REPLICATED;

/// A sandbox whose database's name is also that of one with 40 books on the primary and its standby.
async fn replicated() -> Sandbox {
    let sandbox = Sandbox::with_books(1).await;
    REPLICATED.create(&sandbox.database, 40).await;
    sandbox
}

fn primary(sandbox: &Sandbox) -> String {
    REPLICATED.primary.url(&sandbox.database)
}

fn standby(sandbox: &Sandbox) -> String {
    REPLICATED.standby.url(&sandbox.database)
}

/// Runs a call that a guard must refuse, and that leaves the primary and the sandbox's own databases as they are; what it
/// says.
async fn check(sandbox: &Sandbox, call: &[&str]) -> String {
    let urls = [primary(sandbox), sandbox.source_admin_url(), sandbox.target_admin_url()];
    let everything = async || [tuples(&urls[0]).await, tuples(&urls[1]).await, tuples(&urls[2]).await];
    let before = everything().await;
    let run = sandbox.run(call).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), ""), "{call:?}: {run:?}");
    assert_eq!(everything().await, before, "{call:?}");
    REPLICATED.redacted(sandbox, &run.stderr)
}

#[tokio::test]
async fn a_standby_of_the_source_is_refused_as_target() {
    let sandbox = replicated().await;
    sandbox.set_urls(&primary(&sandbox), &standby(&sandbox));
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: the target is a standby of the source

    state: `"Book"` is unchanged
    hint: check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets
    "#);
    for call in WRITING {
        let said = check(&sandbox, call).await;
        assert!(said.contains("the target is a standby of the source"), "{call:?}: {said}");
    }
}

#[tokio::test]
async fn a_replica_of_the_target_is_refused_as_source() {
    let sandbox = replicated().await;
    for source in [standby(&sandbox), as_role(&standby(&sandbox), READER)] {
        sandbox.set_urls(&source, &primary(&sandbox));
        let said = check(&sandbox, &["sync", "--yes", "--mark-development", &sandbox.database]).await;
        insta::allow_duplicates!(insta::assert_snapshot!(said, @r#"
    error: the source is a standby of the target, or of what the target is a copy of

    state: `"Book"` is unchanged
    hint: name production's primary as the source, and check that it is not the target
    "#));
    }
    for call in WRITING {
        let said = check(&sandbox, call).await;
        assert!(said.contains("the source is a standby of the target"), "{call:?}: {said}");
    }
}

#[tokio::test]
async fn any_standby_is_refused_as_target_also_without_a_source() {
    let sandbox = replicated().await;
    sandbox.set_urls(&sandbox.source_url(), &standby(&sandbox));
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: the target is a standby, which takes no writes

    state: `"Book"` is unchanged
    hint: check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets
    "#);
    std::fs::remove_file(sandbox.directory().join(".env.production")).unwrap();
    for call in [&["migrate", "up"][..], &["users", "add", "--email", "new@example.org"], &["undo", "--yes"]]
    {
        let said = check(&sandbox, call).await;
        assert!(said.contains("the target is a standby, which takes no writes"), "{call:?}: {said}");
    }
}

#[tokio::test]
async fn a_hot_standby_is_a_source_like_its_primary() {
    let sandbox = replicated().await;
    let source = as_role(&standby(&sandbox), READER);
    sandbox.set_urls(&source, &sandbox.target_url());
    for strategy in ["staged", "atomic", "batched"] {
        passes(&sandbox, &["sync", "--dry-run", "--strategy", strategy]).await;
        let run = passes(&sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        assert!(!run.stderr.contains("note:"), "{run:?}");
        assert!(dump(&sandbox.target_url(), BOOKS) == dump(&source, BOOKS), "{strategy}");
        passes(&sandbox, &["verify"]).await;
        let again = passes(&sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        assert!(again.stdout.contains("nothing to do"), "{again:?}");
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    }
}

/// A part of the statements that read books in order to copy them, and of those that digest them.
const EXPORT: &str = r#"ORDER BY "Book"."id" ASC"#;
const DIGEST: &str = "record_send";

/// Lets the statements that contain `part` wait for an advisory lock when they come to a book in the middle.
async fn gate(sandbox: &Sandbox, part: &str) {
    let gate = format!(
        "CREATE OR REPLACE FUNCTION gate(book int) RETURNS bool VOLATILE LANGUAGE plpgsql AS $gate$ BEGIN
           IF book = 60 AND strpos(current_query(), '{part}') > 0 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
           RETURN true;
         END $gate$"
    );
    execute(&primary(sandbox), &gate).await;
}

const WAITING: &str = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";

#[tokio::test]
async fn a_recovery_conflict_in_the_middle_of_a_read_is_retried_with_a_new_snapshot() {
    let sandbox = replicated().await;
    gate(&sandbox, EXPORT).await;
    let view = format!(
        r#"ALTER TABLE "Book" RENAME TO books; CREATE VIEW "Book" AS SELECT * FROM books WHERE gate(id);
           GRANT SELECT ON "Book" TO {READER}"#
    );
    execute(&primary(&sandbox), &view).await;
    sandbox.set_urls(&as_role(&standby(&sandbox), READER), &sandbox.target_url());
    // The second digest is that of a comparison before anything is copied: both sides have as many books by then.
    for (strategy, part, what) in [
        ("staged", DIGEST, "the verification"),
        ("staged", DIGEST, "the comparison"),
        ("staged", EXPORT, "batch 1 of 1"),
        ("batched", EXPORT, "batch 1 of 1"),
        ("atomic", EXPORT, "the sync"),
    ] {
        gate(&sandbox, part).await;
        REPLICATED.catch_up();
        let mut holder = connect(&standby(&sandbox)).await;
        sqlx::raw_sql("SELECT pg_advisory_lock(1)").execute(&mut holder).await.unwrap();
        let call = [
            "sync",
            "--yes",
            "--no-rehearsal",
            "--retry-delay",
            "20ms",
            "--max-retries",
            "20",
            "--strategy",
            strategy,
        ];
        let mut running = Running::start(&sandbox, &call);
        let deadline = Deadline::new();
        while dump(&standby(&sandbox), WAITING) != b"1\n" {
            deadline.pause(format_args!("{strategy}: no read waits"));
        }
        // The standby removes the old versions as well, though the read that waits still sees them.
        execute(&primary(&sandbox), "UPDATE books SET title = title || '.'").await;
        execute(&primary(&sandbox), "VACUUM books").await;
        let mut retry = serde_json::Value::Null;
        while retry["event"] != "retry" {
            retry = running.event().await.expect("the run ended early");
        }
        assert_eq!((&retry["what"], &retry["class"]), (&what.into(), &"transient".into()), "{retry}");
        let cause = retry["cause"].as_str().unwrap();
        assert!(cause.contains("conflict with recovery (SQLSTATE 40001)"), "{cause}");
        sqlx::raw_sql("SELECT pg_advisory_unlock(1)").execute(&mut holder).await.unwrap();
        let (code, end, said) = running.end().await;
        assert_eq!(code, Some(0), "{strategy}, {what}: {end} {said}");
        assert!(dump(&sandbox.target_url(), BOOKS) == dump(&primary(&sandbox), BOOKS), "{strategy}, {what}");
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    }
}
