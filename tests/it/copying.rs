//! What a sync brings over, what it says and keeps of it, and what it asks of the source.

use dewey_sync_entity::book;
use sea_orm::{IdenStatic, Iterable};
use serde_json::{Value, json};

use crate::support::inspect::{BOOKS, dump, statements_by_session};
use crate::support::sandbox::{Sandbox, WAYS};
use crate::support::servers::execute;

/// Makes every book of the target another one than the source's.
const OTHER_TITLES: &str = r#"UPDATE "Book" SET title = title || '!'"#;

/// The developer's id, which no owner has in the source.
const DEVELOPER_ID: i32 = 4711;

#[tokio::test]
async fn no_books_sync() {
    check(0, &WAYS).await;
}

#[tokio::test]
async fn a_shelf_of_awkward_books_syncs_byte_for_byte() {
    check(357, &WAYS).await;
}

#[tokio::test]
async fn ten_thousand_books_sync_byte_for_byte() {
    check(10_000, &WAYS).await;
}

/// Syncs once in each of `ways`; from the second time on each book has another title in the target.
async fn check(books: u32, ways: &[(&str, &str)]) {
    let sandbox = sandbox(books).await;
    let expected = dump(&sandbox.source_admin_url(), BOOKS);
    let mut old_books = 0;
    for (strategy, engine) in ways {
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
        let call = ["sync", "--yes", "--output", "json", "--strategy", strategy, "--engine", engine];
        let run = sandbox.run(&call).await;

        assert_eq!(run.code, Some(0), "{run:?}");
        let end = run.json_end();
        assert_eq!(end["counts"], counts(strategy, books, old_books), "{strategy}");
        assert_eq!(end["fingerprint"]["rows"], books);
        let outcome = if books == 0 { "unchanged" } else { "verified" };
        assert_eq!((&end["strategy"], &end["engine"]), (&json!(strategy), &json!(engine)));
        assert_eq!(end["outcome"], outcome);
        assert!(
            dump(&sandbox.target_admin_url(), BOOKS) == expected,
            "{strategy} {engine}: other bytes in the target"
        );
        let owners =
            format!(r#"SELECT count(*), count(*) FILTER (WHERE "ownerId" = {DEVELOPER_ID}) FROM "Book""#);
        assert_eq!(text(dump(&sandbox.target_admin_url(), &owners)), format!("{books}\t{books}\n"));
        old_books = books;
    }
    let verify = sandbox.run(&["verify"]).await;
    assert_eq!(verify.code, Some(0), "{verify:?}");
    assert_source_was_only_read(&sandbox.database);
}

#[test]
fn the_compared_books_have_every_copied_column() {
    let compared = |column: &book::Column| {
        let name = column.as_str();
        BOOKS.contains(&format!(" {name},")) || BOOKS.contains(&format!("\"{name}\""))
    };
    let others: Vec<book::Column> = book::Column::iter().filter(|column| !compared(column)).collect();
    assert!(matches!(others[..], [book::Column::Id, book::Column::OwnerId]), "{others:?}");
}

/// The role of the source may SELECT from `"Book"` and nothing else, which `servers` shows.
fn assert_source_was_only_read(database: &str) {
    let sessions = statements_by_session(database);
    assert!(!sessions.is_empty());
    for statements in sessions.values() {
        let mut open = false;
        for statement in statements {
            let word = statement.split_whitespace().next().unwrap_or_default();
            match word {
                "BEGIN" => assert!(!open && statement.contains("READ ONLY"), "{statements:?}"),
                "SET" | "SHOW" | "SELECT" | "COMMIT" | "ROLLBACK" => assert!(open, "{statements:?}"),
                "COPY" => assert!(open && statement.contains(" TO "), "{statements:?}"),
                _ => panic!("a statement of another kind: {statement}"),
            }
            open = !matches!(word, "COMMIT" | "ROLLBACK");
        }
        assert!(!open, "{statements:?}");
    }
}

#[tokio::test]
async fn the_end_line_of_the_default_run_is_its_whole_summary() {
    let sandbox = sandbox(40).await;
    let run = sandbox.run(&["sync", "--yes", "--output", "json", "--batch-size", "15"]).await;
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    for line in run.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["event"].is_string(), "{line}");
    }

    let mut end = run.json_end();
    assert!(end["duration_ms"].take().is_u64());
    assert!(end["apply_ms"].take().is_u64());
    assert_eq!(end["fingerprint"]["digest"].take().as_str().unwrap().len(), 16);
    insta::assert_snapshot!(serde_json::to_string_pretty(&end).unwrap(), @r#"
    {
      "apply_ms": null,
      "batches": {
        "done": 3,
        "failed": 0,
        "total": 3
      },
      "changes": {
        "added": 40,
        "changed": 0,
        "deleted": 0,
        "unchanged": 0
      },
      "command": "sync",
      "counts": {
        "deleted": 0,
        "exported": 40,
        "failed": 0,
        "inserted": 40,
        "skipped": 0,
        "unchanged": 0,
        "updated": 0
      },
      "duration_ms": null,
      "engine": "insert",
      "error": null,
      "event": "end",
      "exit_code": 0,
      "fingerprint": {
        "digest": null,
        "rows": 40
      },
      "losses": [],
      "mode": "full",
      "not_undone": [],
      "outcome": "verified",
      "retries": 0,
      "run_id": 1,
      "strategy": "staged"
    }
    "#);
}

#[tokio::test]
async fn a_human_run_says_what_it_staged_applied_and_verified() {
    let sandbox = sandbox(40).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(without_measures(&run.stdout), @"
    staged    40 books  N books/s  1 batch
    applied   40 added, 0 changed, 0 deleted, 0 unchanged  in N ms
    verified  40 books, every copied column and the owner, as production stood at TIME UTC
    ");
}

#[tokio::test]
async fn a_human_run_says_what_it_replaced_copied_and_verified() {
    let sandbox = sandbox(40).await;
    let run = sandbox.run(&["sync", "--yes", "--strategy", "atomic"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(without_measures(&run.stdout), @"
    deleted   0 old books
    copied    40/40  N books/s  1 batch
    verified  40 books, every copied column and the owner, as production stood at TIME UTC
    ");
}

#[tokio::test]
async fn the_ledger_agrees_with_the_end_line() {
    let sandbox = sandbox(40).await;
    for (strategy, batches) in [("staged", "[null]"), ("atomic", "[null]"), ("batched", "[0, 1, 2, 3]")] {
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
        let arguments = ["sync", "--yes", "--output", "json", "--batch-size", "15", "--strategy", strategy];
        let end = sandbox.run(&arguments).await.json_end();
        let row = format!(
            "SELECT json_build_object('run_id', run_id, 'outcome', state, 'strategy', strategy, 'mode', mode,
               'engine', engine, 'retries', retries, 'counts', json_build_object('exported', exported,
               'inserted', inserted, 'updated', updated, 'deleted', deleted, 'unchanged', unchanged,
               'skipped', skipped, 'failed', failed),
               'apply_ms', apply_ms, 'fingerprint', json_build_object('rows', fingerprint_rows, 'digest', fingerprint_digest), 'error', error)
             FROM dewey_sync.run WHERE run_id = {} AND owner_id = {DEVELOPER_ID}
               AND snapshot_at BETWEEN date_trunc('milliseconds', started_at) AND finished_at AND finished_at <= clock_timestamp()",
            end["run_id"]
        );
        let row: Value = serde_json::from_slice(&dump(&sandbox.target_admin_url(), &row)).unwrap();
        for (name, value) in row.as_object().unwrap() {
            assert_eq!(&end[name], value, "{name}");
        }
        let committed = format!(
            "SELECT json_agg(batch ORDER BY batch) FROM dewey_sync.run LEFT JOIN dewey_sync.checkpoint USING (run_id)
             WHERE run_id = {}",
            end["run_id"]
        );
        assert_eq!(text(dump(&sandbox.target_admin_url(), &committed)).trim_end(), batches);
    }
}

#[tokio::test]
async fn history_lists_the_runs_newest_first_and_shows_one() {
    let sandbox = sandbox(40).await;
    let none = sandbox.run(&["history"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "no runs yet\n"), "{none:?}");
    for strategy in ["staged", "batched"] {
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
        assert_eq!(sandbox.run(&["sync", "--yes", "--strategy", strategy]).await.code, Some(0));
    }

    let listed = sandbox.run(&["history", "--output", "json"]).await;
    let lines: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [newest, oldest, end] = &lines[..] else { panic!("{listed:?}") };
    assert_eq!((&end["outcome"], &end["runs"]), (&json!("listed"), &json!(2)));
    assert_eq!([&newest["run_id"], &newest["strategy"]], [&json!(2), &json!("batched")]);
    assert_eq!([&oldest["run_id"], &oldest["strategy"]], [&json!(1), &json!("staged")]);
    let one = sandbox.run(&["history", "1", "--output", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(one.stdout.lines().next().unwrap()).unwrap(), *oldest);
    for shown in [&listed, &one] {
        assert!(!shown.stdout.contains("reader:") && !shown.stdout.contains("developer:"), "{shown:?}");
    }

    let same_everywhere = "UPDATE dewey_sync.run SET started_at = '2024-02-29 12:00:00+00',
        finished_at = '2024-02-29 12:00:01.5+00', snapshot_at = '2024-02-29 12:00:01+00', os_user = 'ada',
        host = 'laptop', tool_version = '0', session = 'dewey-sync 1-0123abcd', apply_ms = apply_ms * 0 + 7,
        fingerprint_digest = '0123456789abcdef',
        source = regexp_replace(source, '_\\d+|:\\d+', '', 'g'), target = regexp_replace(target, '_\\d+|:\\d+', '', 'g')";
    execute(&sandbox.target_admin_url(), same_everywhere).await;
    insta::assert_snapshot!(sandbox.run(&["history"]).await.stdout, @"
    2  2024-02-29 12:00:00 UTC  verified       batched          80 books changed  1.5 s
    1  2024-02-29 12:00:00 UTC  verified       staged           40 books changed  1.5 s
    ");
    insta::assert_snapshot!(sandbox.run(&["history", "1"]).await.stdout, @"
    action              sync
    apply_ms            7
    deleted             0
    engine              insert
    exported            40
    failed              0
    fingerprint_digest  0123456789abcdef
    fingerprint_rows    40
    finished_at         2024-02-29T12:00:01.500+00:00
    host                laptop
    inserted            40
    mode                full
    os_user             ada
    owner_id            4711
    retries             0
    run_id              1
    skipped             0
    snapshot_at         2024-02-29T12:00:01+00:00
    source              sandbox at 127.0.0.1
    started_at          2024-02-29T12:00:00+00:00
    state               verified
    strategy            staged
    target              sandbox at 127.0.0.1
    tool_version        0
    unchanged           0
    updated             0
    ");
    let unknown = sandbox.run(&["history", "3"]).await;
    assert_eq!(unknown.code, Some(2));
    insta::assert_snapshot!(last_lines(&unknown.stderr, 4), @"
    error: could not find run 3
    caused by: the ledger has no run of that number

    hint: `dewey-sync history` lists the runs
    ");
}

async fn sandbox(books: u32) -> Sandbox {
    let sandbox = Sandbox::with_long_text(books).await;
    execute(&sandbox.target_admin_url(), &format!(r#"UPDATE "User" SET id = {DEVELOPER_ID}"#)).await;
    sandbox
}

/// Of a run that finds as many `old_books`, each with another title.
fn counts(strategy: &str, books: u32, old_books: u32) -> Value {
    let [inserted, updated, deleted] = match strategy {
        "staged" => [books - old_books, old_books, 0],
        _ => [books, 0, old_books],
    };
    json!({
        "exported": books, "inserted": inserted, "updated": updated, "deleted": deleted, "unchanged": 0, "skipped": 0,
        "failed": 0
    })
}

/// Without what differs from run to run: rates and times.
fn without_measures(stdout: &str) -> String {
    let words = stdout.split(' ').scan("", |next, word| Some((std::mem::replace(next, word), word)));
    let mut shown: Vec<&str> = Vec::new();
    for (before, word) in words {
        if word == "books/s" || word.starts_with("ms\n") {
            shown.pop();
            shown.push("N");
        }
        let is_time = before == "at" && word.contains(':');
        shown.push(if is_time { "TIME" } else { word });
    }
    shown.join(" ")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len() - count..].join("\n")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
