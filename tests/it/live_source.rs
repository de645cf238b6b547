//! Production goes on while it is copied. The target's own trigger holds the run at a known book; the source changes
//! meanwhile.

use std::time::Duration;

use serde_json::json;
use sqlx::{PgConnection, Row};
use tokio::process::Child;

use crate::support::deadline::Deadline;
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{connect, execute};

/// The forty books have the ids 3, 6 … 120, but for -7 in place of 90; ten a batch.
const FIRST_STOP: i32 = 45;

/// A book that only comes when the verification copies it.
const SECOND_STOP: &str = "9790000000001";

/// The advisory locks that the trigger waits for.
const FIRST: i64 = 1;
const SECOND: i64 = 2;

/// In every way that a book can change, in batches that were copied, are being copied and are still to come.
const CHANGES: &str = r#"
    -- Came below the first id, above the last one, and in between.
    INSERT INTO "Book" SELECT (jsonb_populate_record(b, jsonb_build_object(
            'id', new.id, 'isbn10', 'new' || new.id, 'isbn13', new.isbn13))).*
        FROM "Book" b, (VALUES (-100, '9790000000001'), (46, '9790000000002'), (5000, '9790000000003')) new (id, isbn13)
        WHERE b.id = 120;
    UPDATE "Book" SET title = 'changed', subjects = NULL WHERE id IN (6, 48, 117);
    UPDATE "Book" SET visibility = 'PRIVATE', "updatedAt" = '2024-02-29 12:34:56.789' WHERE id IN (9, 114);
    DELETE FROM "Book" WHERE id IN (12, 51, 111);
    -- The isbn10s of a copied book and of one to come change places.
    CREATE TEMPORARY TABLE before AS SELECT id, isbn10 FROM "Book" WHERE id IN (15, 108);
    UPDATE "Book" SET isbn10 = 'nobody''s' WHERE id = 15;
    UPDATE "Book" SET isbn10 = (SELECT isbn10 FROM before WHERE id = 15) WHERE id = 108;
    UPDATE "Book" SET isbn10 = (SELECT isbn10 FROM before WHERE id = 108) WHERE id = 15;
    -- The isbn13 of a copied book moves to a new id.
    UPDATE "Book" SET id = 6000 WHERE id = 18;
"#;

#[tokio::test]
async fn staged_ends_with_the_source_as_it_was_verified() {
    let stdout = ends_as_verified(("staged", "insert"), "dewey_sync.stage").await;
    assert!(stdout.contains(r#""event":"staged_again","batches":2,"books":19"#), "{stdout}");
}

#[tokio::test]
async fn batched_ends_with_the_source_as_it_was_verified() {
    let stdout = ends_as_verified(("batched", "copy"), r#""Book""#).await;
    // The last batch met the swapped isbn10 of a copied book, and came with what was copied again.
    assert!(stdout.contains("batch 4 of 4 is left to the verification"), "{stdout}");
}

/// The source changes while books come into `table`, and again after the verification's snapshot; what the run said.
async fn ends_as_verified(way: (&str, &str), table: &str) -> String {
    let sandbox = Sandbox::with_books(40).await;
    let mut held = Held::new(&sandbox, table).await;
    let run = start(&sandbox, way);

    held.wait_for(FIRST).await;
    execute(&sandbox.source_admin_url(), CHANGES).await;
    held.release(FIRST).await;

    held.wait_for(SECOND).await;
    let expected = dump(&sandbox.source_admin_url(), BOOKS);
    execute(
        &sandbox.source_admin_url(),
        r#"UPDATE "Book" SET title = 'too late'; DELETE FROM "Book" WHERE id = 3"#,
    )
    .await;
    held.release(SECOND).await;

    let output = run.wait_with_output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(dump(&sandbox.target_admin_url(), BOOKS) == expected);
    let end: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&end["outcome"], &end["error"]), (&json!("verified"), &json!(null)));
    assert_eq!(end["batches"], json!({ "total": 4, "done": 4, "failed": 0 }), "{stdout}");
    assert_eq!((&end["counts"]["failed"], &end["fingerprint"]["rows"]), (&json!(0), &json!(40)));
    stdout
}

#[tokio::test]
async fn atomic_ends_with_the_source_as_it_was_at_the_start() {
    let sandbox = Sandbox::with_books(40).await;
    let mut held = Held::new(&sandbox, r#""Book""#).await;
    let expected = dump(&sandbox.source_admin_url(), BOOKS);
    let run = start(&sandbox, ("atomic", "copy"));

    held.wait_for(FIRST).await;
    execute(&sandbox.source_admin_url(), CHANGES).await;
    held.release(FIRST).await;

    let output = run.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(dump(&sandbox.target_admin_url(), BOOKS) == expected);
    assert_eq!(sandbox.run(&["verify"]).await.code, Some(4), "the source has changed since");
}

#[tokio::test]
async fn a_resumed_run_knows_that_it_had_copied_again_what_changed() {
    let sandbox = Sandbox::with_books(40).await;
    let mut held = Held::new(&sandbox, r#""Book""#).await;
    let unrecorded = r"CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER deny BEFORE UPDATE ON dewey_sync.run FOR EACH ROW WHEN (NEW.state = 'verified')
        EXECUTE FUNCTION deny()";
    execute(&sandbox.target_admin_url(), unrecorded).await;
    let run = start(&sandbox, ("batched", "insert"));
    held.wait_for(FIRST).await;
    // Into a range that is copied already: one book more than all batches wrote.
    let new = r#"INSERT INTO "Book" SELECT (jsonb_populate_record(b, '{"id": -100, "isbn10": "new", "isbn13": "new"}')).*
        FROM "Book" b WHERE b.id = 120"#;
    execute(&sandbox.source_admin_url(), new).await;
    held.release(FIRST).await;
    let output = run.wait_with_output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains(r#""event":"repaired""#) && !output.status.success(), "{stdout}");

    execute(&sandbox.target_admin_url(), "DROP TRIGGER deny ON dewey_sync.run").await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = 'another' WHERE id = 6"#).await;
    let resumed = sandbox.run(&["sync", "--yes", "--resume"]).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert!(dump(&sandbox.target_admin_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS));
}

#[tokio::test]
async fn a_round_that_a_lost_session_has_committed_is_followed_by_the_next_one() {
    let sandbox = Sandbox::with_books(40).await;
    let mut held = Held::new(&sandbox, "dewey_sync.stage").await;
    // To the run, as if round 1 were there already.
    let taken = "CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER taken BEFORE INSERT ON dewey_sync.stage_checkpoint FOR EACH ROW WHEN (NEW.round = 1)
        EXECUTE FUNCTION taken()";
    execute(&sandbox.target_admin_url(), taken).await;
    let run = start(&sandbox, ("staged", "insert"));
    held.wait_for(FIRST).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = 'another' WHERE id = 6"#).await;
    held.release(FIRST).await;
    let ended = tokio::time::timeout(Duration::from_mins(1), run.wait_with_output()).await;
    let output = ended.expect("the run goes round in circles").unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(dump(&sandbox.target_admin_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS));
}

#[tokio::test]
async fn a_book_of_an_owner_whom_nobody_maps_stops_the_run() {
    for engine in ["insert", "copy"] {
        let sandbox = Sandbox::with_books(40).await;
        let map = "[owners]\n103 = 1\n106 = 1\n109 = 1\n112 = 1\n115 = 1\n118 = 1\n121 = 1\n";
        std::fs::write(sandbox.directory().join("dewey-sync.toml"), map).unwrap();
        let mut held = Held::new(&sandbox, "dewey_sync.stage").await;
        let run = start(&sandbox, ("staged", engine));
        held.wait_for(FIRST).await;
        let owner = r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES (999, 'n', 'n@example.org', now());
                       UPDATE "Book" SET "ownerId" = 999 WHERE id = 120"#;
        execute(&sandbox.source_admin_url(), owner).await;
        held.release(FIRST).await;

        let output = run.wait_with_output().await.unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let end: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        assert_eq!((output.status.code(), &end["outcome"]), (Some(5), &json!("not_completed")), "{stdout}");
        let causes = end["error"]["causes"].to_string();
        assert!(causes.contains("nobody owns that user's books here"), "{engine}: {causes}");
        assert_eq!(dump(&sandbox.target_admin_url(), BOOKS), b"", "{engine}");
    }
}

/// Between two batches, a view of some of the books takes production's name, or production loses its books. Neither is what
/// development shall have.
#[tokio::test(flavor = "multi_thread")]
async fn a_production_that_is_another_table_or_empty_by_then_is_refused() {
    const VIEW: &str = r#"ALTER TABLE "Book" RENAME TO books; CREATE VIEW "Book" AS SELECT * FROM books WHERE id < 60; GRANT SELECT ON "Book" TO public"#;
    for (way, table) in [("staged", "dewey_sync.stage"), ("batched", r#""Book""#)] {
        for (accident, said) in [
            (VIEW, "was replaced by another table or view"),
            (r#"TRUNCATE "Book" CASCADE"#, "production has no books"),
        ] {
            let sandbox = Sandbox::with_books(40).await;
            assert_eq!(sandbox.run(&["sync", "--yes"]).await.code, Some(0));
            let before = dump(&sandbox.target_admin_url(), BOOKS);
            execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
            let mut held = Held::new(&sandbox, table).await;
            let run = start(&sandbox, (way, "insert"));
            held.wait_for(FIRST).await;
            let source = sandbox.source_admin_url();
            let happens = tokio::spawn(async move { execute(&source, accident).await });
            until_somebody_waits_for_a_table(&sandbox.source_admin_url());
            held.release(FIRST).await;
            happens.await.unwrap();

            let output = run.wait_with_output().await.unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            let end: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
            let why = [&end["error"]["message"], &end["error"]["causes"]].map(ToString::to_string);
            assert!(why.iter().any(|why| why.contains(said)), "{way} {accident}: {stdout}");
            if way == "staged" {
                assert_eq!(output.status.code(), Some(3), "{accident}: {stdout}");
                assert!(dump(&sandbox.target_admin_url(), BOOKS) == before, "{accident}");
            } else {
                // The batches before have come; nothing is taken away again.
                assert_ne!(output.status.code(), Some(0), "{accident}: {stdout}");
                assert!(
                    String::from_utf8(dump(&sandbox.target_admin_url(), r#"SELECT count(*) FROM "Book""#))
                        .unwrap()
                        .trim()
                        >= "20",
                    "{accident}"
                );
            }
        }
    }
}

/// Whoever changes a table waits for the snapshot that reads it.
fn until_somebody_waits_for_a_table(url: &str) {
    let deadline = Deadline::new();
    let waiting = "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database \
         WHERE datname = current_database() AND locktype = 'relation' AND NOT granted";
    while dump(url, waiting).is_empty() {
        deadline.pause(format_args!("nobody waits for a table of production"));
    }
}

fn start(sandbox: &Sandbox, (strategy, engine): (&str, &str)) -> Child {
    let call = ["sync", "--yes", "--output", "json", "--no-rehearsal", "--batch-size", "10", "--jobs", "1"];
    let way = ["--strategy", strategy, "--engine", engine];
    sandbox.command().args(call).args(way).stdout(std::process::Stdio::piped()).spawn().unwrap()
}

/// Holds both locks of a target whose trigger waits for them.
struct Held {
    holder: PgConnection,
}

impl Held {
    async fn new(sandbox: &Sandbox, table: &str) -> Self {
        let migrated = sandbox.run(&["migrate", "up"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let first = dump(
            &sandbox.source_admin_url(),
            &format!(r#"SELECT isbn13 FROM "Book" WHERE id = {FIRST_STOP}"#),
        );
        let first = String::from_utf8(first).unwrap();
        let trigger = format!(
            r"
            CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock(CASE NEW.isbn13 WHEN '{}' THEN {FIRST} ELSE {SECOND} END);
                RETURN NEW;
            END $$;
            CREATE TRIGGER stop BEFORE INSERT ON {table} FOR EACH ROW
                WHEN (NEW.isbn13 IN ('{0}', '{SECOND_STOP}')) EXECUTE FUNCTION stop();
            ",
            first.trim_end()
        );
        execute(&sandbox.target_admin_url(), &trigger).await;
        let mut holder = connect(&sandbox.target_admin_url()).await;
        sqlx::query("SELECT pg_advisory_lock($1), pg_advisory_lock($2)")
            .bind(FIRST)
            .bind(SECOND)
            .execute(&mut holder)
            .await
            .unwrap();
        Self { holder }
    }

    /// Until the run waits for `lock`.
    async fn wait_for(&mut self, lock: i64) {
        let deadline = Deadline::new();
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
            WHERE datname = current_database() AND locktype = 'advisory' AND objid = $1::bigint::oid AND NOT granted)";
        while !sqlx::query(waiting).bind(lock).fetch_one(&mut self.holder).await.unwrap().get::<bool, _>(0) {
            deadline.pause(format_args!("the run does not come to stop {lock}"));
        }
    }

    async fn release(&mut self, lock: i64) {
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock).execute(&mut self.holder).await.unwrap();
    }
}
