//! What fails for good while books are written: what is left, what is said, and that nothing was tried again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::redact::masked;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

/// A source of 357 books in eight batches, and a target that a run has filled before; every title is another one.
async fn filled() -> Sandbox {
    let sandbox = Sandbox::new().await;
    let first = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    execute(&sandbox.target_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    sandbox
}

async fn sync(sandbox: &Sandbox, strategy: &str, more: &[&str]) -> Run {
    let arguments = ["sync", "--yes", "--batch-size", "50", "--retry-delay", "1h", "--strategy", strategy];
    sandbox.run(&[&arguments, more].concat()).await
}

/// The text for people without what depends on time: the count of copied batches is shown once a second.
fn said(sandbox: &Sandbox, run: &Run) -> String {
    let lines = run.stderr.lines().filter(|line| !line.starts_with("copied "));
    masked(&sandbox.redacted(&lines.collect::<Vec<_>>().join("\n")), "run ")
}

fn events(run: &Run, name: &str) -> Vec<Value> {
    let events = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == name).collect()
}

/// Every tuple outside the ledger. The sequence of ids goes on whatever is rolled back, and emptying the stage gives
/// it another file, which `pg_class` tells.
async fn application_tuples(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut tuples = tuples(&sandbox.target_admin_url()).await;
    tuples.retain(|name, _| {
        !name.starts_with("dewey_sync.") && ![r#""Book_id_seq""#, "pg_class"].contains(&name.as_str())
    });
    tuples
}

fn one(url: &str, query: &str) -> String {
    String::from_utf8(dump(url, query)).unwrap().trim_end().to_owned()
}

/// The isbn13 of the source's book number `n` by id, from 0.
fn isbn13(sandbox: &Sandbox, n: u32) -> String {
    one(&sandbox.source_admin_url(), &format!(r#"SELECT isbn13 FROM "Book" ORDER BY id OFFSET {n} LIMIT 1"#))
}

fn last_run(sandbox: &Sandbox) -> String {
    let query = "SELECT state, exported, inserted, deleted, failed, retries, finished_at IS NOT NULL, error
                 FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    one(&sandbox.target_url(), query)
}

/// The target refuses the book in the middle of batch 4.
async fn refuse_one(sandbox: &Sandbox) {
    let isbn13 = isbn13(sandbox, 175);
    let check =
        format!(r#"ALTER TABLE "Book" ADD CONSTRAINT "no_such_book" CHECK (isbn13 <> '{isbn13}') NOT VALID"#);
    execute(&sandbox.target_url(), &check).await;
}

#[tokio::test]
async fn batched_leaves_out_the_batch_that_fails_for_good_and_names_it() {
    let sandbox = filled().await;
    refuse_one(&sandbox).await;
    let run = sync(&sandbox, "batched", &[]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(5), ""), "{run:?}");
    insta::assert_snapshot!(said(&sandbox, &run), @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    removed 357 old books
    batch 4 of 8 failed: could not insert books: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)
    error: 1 of 8 batches failed: 4
    caused by: batch 4 of 8: could not insert books
    caused by: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)

    state: `"Book"` holds 307 of 357 books, 7 of 8 batches; the old books are gone
    hint: `dewey-sync sync --resume 2` goes on where it stopped
    "#);
    insta::assert_snapshot!(last_run(&sandbox), @r#"not_completed	307	307	357	50	0	t	1 of 8 batches failed: 4: batch 4 of 8: could not insert books: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)"#);

    // What is there is what the other batches hold.
    let columns = "isbn13, isbn10, title, authors, \"updatedAt\"";
    let source = format!(
        r#"SELECT {columns} FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM "Book") b
           WHERE n NOT BETWEEN 151 AND 200 ORDER BY isbn13 COLLATE "C""#
    );
    let target = format!(r#"SELECT {columns} FROM "Book" ORDER BY isbn13 COLLATE "C""#);
    let found = dump(&sandbox.target_url(), &target);
    assert!(dump(&sandbox.source_url(), &source) == found);
    assert_eq!(one(&sandbox.target_url(), r#"SELECT count(*) FROM "Book""#), "307");
}

#[tokio::test]
async fn a_program_is_told_which_batch_failed_and_why() {
    let sandbox = filled().await;
    refuse_one(&sandbox).await;
    let run = sync(&sandbox, "batched", &["--output", "json"]).await;
    assert_eq!(run.code, Some(5), "{run:?}");
    assert_eq!(events(&run, "retry"), [] as [Value; 0]);
    let failed = events(&run, "batch_failed");
    let cause = r#"could not insert books: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)"#;
    assert_eq!(
        failed,
        [json!({"event": "batch_failed", "batch": 4, "batches": 8, "books": 50, "cause": cause})]
    );
    assert_eq!(events(&run, "batch").len(), 7);
    let end = run.json_end();
    assert_eq!((&end["outcome"], &end["exit_code"]), (&json!("not_completed"), &json!(5)));
    assert_eq!(end["batches"], json!({"total": 8, "done": 7, "failed": 1}));
    let counts = json!({"exported": 307, "inserted": 307, "updated": 0, "deleted": 357, "unchanged": 0,
                        "skipped": 0, "failed": 50});
    assert_eq!(end["counts"], counts);
    assert_eq!(end["fingerprint"], Value::Null);
    assert_eq!(end["error"]["message"], "1 of 8 batches failed: 4");
}

#[tokio::test]
async fn atomic_changes_nothing_when_a_batch_fails_for_good() {
    let sandbox = filled().await;
    refuse_one(&sandbox).await;
    let before = application_tuples(&sandbox).await;
    let run = sync(&sandbox, "atomic", &[]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(5), ""), "{run:?}");
    insta::assert_snapshot!(said(&sandbox, &run), @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    removed 357 old books
    rolled back: the old books are still there
    error: batch 4 of 8: could not insert books
    caused by: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)

    state: `"Book"` is unchanged
    "#);
    insta::assert_snapshot!(last_run(&sandbox), @r#"not_completed	0	0	0	0	0	t	batch 4 of 8: could not insert books: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)"#);
    assert_eq!(application_tuples(&sandbox).await, before);
}

#[tokio::test]
async fn staged_changes_nothing_when_a_book_is_refused_and_keeps_its_stage_for_a_resume() {
    let sandbox = filled().await;
    refuse_one(&sandbox).await;
    let before = application_tuples(&sandbox).await;
    let run = sync(&sandbox, "staged", &[]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(5), ""), "{run:?}");
    insta::assert_snapshot!(said(&sandbox, &run), @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    error: could not apply the staged books
    caused by: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)

    state: `"Book"` is unchanged
    hint: `dewey-sync sync --resume 2` goes on where it stopped
    "#);
    insta::assert_snapshot!(last_run(&sandbox), @r#"not_completed	357	0	0	0	0	t	could not apply the staged books: new row for relation "Book" violates check constraint "no_such_book" (SQLSTATE 23514)"#);
    assert_eq!(application_tuples(&sandbox).await, before);
    assert_eq!(one(&sandbox.target_url(), "SELECT count(*) FROM dewey_sync.stage"), "357");

    execute(&sandbox.target_url(), r#"ALTER TABLE "Book" DROP CONSTRAINT "no_such_book""#).await;
    let resumed = sandbox.run(&["sync", "--yes", "--resume"]).await;
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
    assert_eq!(one(&sandbox.target_url(), "SELECT count(*) FROM dewey_sync.stage"), "0");
}

#[tokio::test]
async fn what_a_trigger_says_is_not_repeated_because_it_may_hold_a_title() {
    let sandbox = filled().await;
    let trigger = format!(
        r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE 'not this one: %', NEW.title || 'leaked' USING DETAIL = 'leaked', HINT = 'leaked'; END $$;
           CREATE TRIGGER refuse BEFORE INSERT ON "Book" FOR EACH ROW WHEN (NEW.isbn13 = '{}')
           EXECUTE FUNCTION refuse()"#,
        isbn13(&sandbox, 175)
    );
    execute(&sandbox.target_url(), &trigger).await;
    let run = sync(&sandbox, "batched", &["-vv"]).await;
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains("an error raised by the function `refuse()` (SQLSTATE P0001)"), "{run:?}");
    let ledger = last_run(&sandbox);
    assert!(
        ![&run.stderr, &run.stdout, &ledger].iter().any(|text| text.contains("leaked")),
        "{run:?}\n{ledger}"
    );
}

/// Two books of the source share a value that is unique in the target.
async fn duplicate(sandbox: &Sandbox, column: &str) -> String {
    let url = sandbox.source_admin_url();
    let twins = format!(
        r#"DROP INDEX "Book_{column}_key";
           UPDATE "Book" SET {column} = (SELECT {column} FROM "Book" ORDER BY id OFFSET 20 LIMIT 1)
           WHERE id = (SELECT id FROM "Book" ORDER BY id OFFSET 175 LIMIT 1)"#
    );
    execute(&url, &twins).await;
    let ids = |n| one(&url, &format!(r#"SELECT id FROM "Book" ORDER BY id OFFSET {n} LIMIT 1"#));
    format!("these source books have a unique value in common: {}, {} ({column})", ids(20), ids(175))
}

#[tokio::test]
async fn duplicate_keys_are_reported_where_the_stage_meets_more_books_than_there_are() {
    let sandbox = filled().await;
    let reported = duplicate(&sandbox, "isbn13").await;
    let isbns = r#"SELECT string_agg(quote_literal(isbn13), ',') FROM "Book""#;
    let only_in_target =
        format!(r#"DELETE FROM "Book" WHERE isbn13 NOT IN ({})"#, one(&sandbox.source_url(), isbns));
    execute(&sandbox.target_url(), &only_in_target).await;
    let run = sync(&sandbox, "staged", &[]).await;
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains(&reported), "{run:?}");
}

#[tokio::test]
async fn duplicate_keys_of_the_source_are_reported_with_their_ids() {
    for column in ["isbn13", "isbn10"] {
        let sandbox = filled().await;
        let reported = duplicate(&sandbox, column).await;
        let before = application_tuples(&sandbox).await;
        let staged = sync(&sandbox, "staged", &["--output", "json"]).await;
        let atomic = sync(&sandbox, "atomic", &["--output", "json"]).await;
        assert_eq!(application_tuples(&sandbox).await, before);
        let batched = sync(&sandbox, "batched", &["--output", "json"]).await;
        for run in [&staged, &atomic, &batched] {
            let end = run.json_end();
            assert_eq!((run.code, &end["outcome"]), (Some(5), &json!("not_completed")), "{run:?}");
            assert_eq!(end["error"]["hint"], reported, "{run:?}");
            assert_eq!(events(run, "retry"), [] as [Value; 0]);
        }
        // The first one of the two is in, with everything but its twin's batch.
        assert_eq!(batched.json_end()["batches"], json!({"total": 8, "done": 7, "failed": 1}));
        assert_eq!(one(&sandbox.target_url(), r#"SELECT count(*) FROM "Book""#), "307");
    }
}
