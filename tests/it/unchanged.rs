//! Equal sides are nothing to do: nothing is asked, exported or written to a book, whatever the strategy.

use serde_json::json;

use crate::support::inspect::{dump, exported, log_length, no_session_left, tuples};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

const STRATEGIES: [&str; 3] = ["staged", "atomic", "batched"];

/// A sandbox whose target is marked and holds the source's books.
async fn synced(books: u32) -> Sandbox {
    let sandbox = Sandbox::with_books(books).await;
    // The rehearsal reads books once more.
    let run = sandbox.run(&["sync", "--yes", "--no-rehearsal"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    sandbox
}

/// Syncs without `--yes` and without a terminal, so that a question would end the run.
async fn unasked(sandbox: &Sandbox, strategy: &str) -> Run {
    sandbox.run(&["sync", "--output", "json", "--strategy", strategy]).await
}

/// The books with the places and transactions of their rows, and how many rows were ever written.
async fn written(sandbox: &Sandbox) -> [Vec<u8>; 2] {
    // A session's statistics are there when it has ended.
    no_session_left(&sandbox.target_admin_url()).await;
    let rows = r#"SELECT ctid, xmin, xmax, * FROM "Book" ORDER BY ctid"#;
    let statistics =
        r"SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'Book'";
    [rows, statistics].map(|query| dump(&sandbox.target_admin_url(), query))
}

#[tokio::test]
async fn a_second_sync_of_ten_thousand_books_writes_no_tuple_and_exports_no_book() {
    const BOOKS: u32 = 10_000;
    let first = log_length();
    let sandbox = synced(BOOKS).await;
    assert_eq!(exported(&sandbox.database, first).len(), 10, "batches of the first sync");
    let before = written(&sandbox).await;
    assert_eq!(before[1], format!("{BOOKS}\t0\t0\n").into_bytes());
    for (strategy, run_id) in STRATEGIES.into_iter().zip(2..) {
        let log = log_length();
        let run = unasked(&sandbox, strategy).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        let end = run.json_end();
        assert_eq!((&end["outcome"], &end["run_id"]), (&json!("unchanged"), &json!(run_id)), "{strategy}");
        let counts = json!({"exported": 0, "inserted": 0, "updated": 0, "deleted": 0, "unchanged": BOOKS, "skipped": 0,
                            "failed": 0});
        assert_eq!((&end["counts"], &end["fingerprint"]["rows"]), (&counts, &json!(BOOKS)), "{strategy}");
        assert!(written(&sandbox).await == before, "{strategy}: a tuple was written");
        assert_eq!(exported(&sandbox.database, log), [], "{strategy}");
        let recorded =
            "SELECT run_id, state, strategy, exported, unchanged, finished_at IS NOT NULL, fingerprint_rows
                        FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
        let recorded = String::from_utf8(dump(&sandbox.target_admin_url(), recorded)).unwrap();
        assert_eq!(recorded, format!("{run_id}\tunchanged\t{strategy}\t0\t{BOOKS}\tt\t{BOOKS}\n"));
    }
}

#[tokio::test]
async fn people_are_told_that_there_is_nothing_to_do() {
    let sandbox = synced(40).await;
    let run = sandbox.run(&["sync"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let (said, time) = run.stdout.rsplit_once(" at ").unwrap();
    assert!(time.ends_with(" UTC\n"), "{time}");
    insta::assert_snapshot!(said, @"
    unchanged nothing to do
    verified  40 books, every copied column and the owner, as production stood
    ");
    insta::assert_snapshot!(sandbox.redacted(&run.stderr), @"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    ");
}

#[tokio::test]
async fn an_unmarked_target_with_equal_books_stays_unmarked() {
    let sandbox = synced(40).await;
    execute(&sandbox.target_admin_url(), "DROP SCHEMA dewey_sync CASCADE").await;
    let before = tuples(&sandbox.target_admin_url()).await;
    for strategy in STRATEGIES {
        let run = unasked(&sandbox, strategy).await;
        let end = run.json_end();
        assert_eq!(
            (run.code, &end["outcome"], &end["run_id"]),
            (Some(0), &json!("unchanged"), &json!(null)),
            "{run:?}"
        );
        assert_eq!(tuples(&sandbox.target_admin_url()).await, before, "{strategy}");
    }
}

#[tokio::test]
async fn one_book_of_the_wrong_owner_is_something_to_do() {
    let sandbox = synced(40).await;
    let other = r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES (4711, 'x', 'x@example.org', now());
                   UPDATE "Book" SET "ownerId" = 4711 WHERE id = (SELECT max(id) FROM "Book")"#;
    execute(&sandbox.target_admin_url(), other).await;
    let run = sandbox.run(&["sync", "--yes", "--output", "json", "--user-id", "1"]).await;
    let end = run.json_end();
    assert_eq!((&end["outcome"], &end["counts"]["updated"]), (&json!("verified"), &json!(1)), "{run:?}");
    assert_eq!(end["counts"]["unchanged"], 39);
}
