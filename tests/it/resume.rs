//! `--resume` goes on where a run stopped, refuses where it would not be the same run any more, and is offered on a
//! terminal.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::gate::Gate;
use crate::support::inspect::{BOOKS, Bounds, dump, exported, log_length, no_session_left};
use crate::support::running::{Running, is_batch};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;
use crate::support::terminal::{Terminal, shown};

const BATCH_SIZE: &str = "500";
const BATCHES: usize = 20;

fn one(sandbox: &Sandbox, query: &str) -> String {
    String::from_utf8(dump(&sandbox.target_admin_url(), query)).unwrap().trim_end().to_owned()
}

fn states(sandbox: &Sandbox) -> String {
    one(sandbox, "SELECT string_agg(state, ', ' ORDER BY run_id) FROM dewey_sync.run")
}

/// The ranges that a killed run has committed.
fn committed(sandbox: &Sandbox, checkpoints: &str) -> BTreeSet<Bounds> {
    let query = format!(
        "SELECT coalesce(json_agg(json_build_array(after_id, through_id)), '[]')
         FROM dewey_sync.{checkpoints} WHERE batch > 0"
    );
    serde_json::from_str(&one(sandbox, &query)).unwrap()
}

/// Kills the run with -9 in the middle of 10,000 books and resumes it; the old books are there when it was killed, if
/// `strategy` keeps them.
async fn check_killed((strategy, engine): (&str, &str), checkpoints: &str) {
    let sandbox = Sandbox::with_books(10_000).await;
    let migrated = sandbox.run(&["migrate", "up"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let table = if strategy == "staged" { "dewey_sync.stage" } else { r#""Book""# };
    let gate = Gate::shut(&sandbox, table, 15, BATCH_SIZE.parse().unwrap()).await;
    let way = ["--strategy", strategy, "--engine", engine, "--batch-size", BATCH_SIZE];
    let call = [&["sync", "--yes", "--no-rehearsal"], &way[..]].concat();
    let mut running = Running::start(&sandbox, &call);
    for _ in 0..7 {
        running.until(is_batch).await;
    }
    running.signal("KILL");
    let (code, ..) = running.end().await;
    assert_eq!(code, None, "a signal ended it");
    gate.open().await;
    no_session_left(&sandbox.target_admin_url()).await;
    no_session_left(&sandbox.source_admin_url()).await;
    let committed = committed(&sandbox, checkpoints);
    assert!((7..BATCHES).contains(&committed.len()), "killed too late: {committed:?}");
    assert_eq!(states(&sandbox), "running");
    assert_eq!(dump(&sandbox.target_url(), BOOKS).is_empty(), strategy == "staged");

    let log = log_length();
    let run = sandbox.run(&["sync", "--yes", "--resume", "--output", "json"]).await;
    let end = run.json_end();
    assert_eq!(
        (run.code, &end["outcome"], &end["run_id"]),
        (Some(0), &json!("verified"), &json!(1)),
        "{run:?}"
    );
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
    assert_eq!(states(&sandbox), "verified");
    let again = exported(&sandbox.database, log);
    assert_eq!(again.len(), BATCHES - committed.len(), "{again:?}");
    let again: BTreeSet<Bounds> = again.into_iter().collect();
    assert!(again.is_disjoint(&committed), "exported again: {again:?} {committed:?}");
    assert_eq!(again.len() + committed.len(), BATCHES, "a range was exported twice");
    assert_eq!(end["batches"], json!({"total": BATCHES, "done": BATCHES, "failed": 0}), "{end}");
    assert_eq!(one(&sandbox, "SELECT count(*) FROM dewey_sync.stage"), "0");
    let events = run.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(end["engine"], engine, "that of the run");
    let resumed = events.into_iter().find(|event| event["event"] == "resumed").unwrap();
    let books = committed.len() * BATCH_SIZE.parse::<usize>().unwrap();
    assert_eq!((&resumed["batches"], &resumed["books"]), (&json!(committed.len()), &json!(books)));
}

#[tokio::test]
async fn a_killed_staged_run_exports_no_committed_range_again() {
    check_killed(("staged", "insert"), "stage_checkpoint").await;
}

#[tokio::test]
async fn a_killed_batched_run_exports_no_committed_range_again() {
    check_killed(("batched", "copy"), "checkpoint").await;
}

/// A sandbox with 40 books, two users and a run of `strategy` that came to no end, and what would stop it is gone.
async fn unfinished(strategy: &str) -> Sandbox {
    let sandbox = Sandbox::with_books(40).await;
    let second = r#"INSERT INTO "User" ("clerkId", email, "updatedAt") VALUES ('b', 'bob@example.org', now());
                    ALTER TABLE "Book" ADD CONSTRAINT no CHECK (id < 0) NOT VALID"#;
    execute(&sandbox.target_admin_url(), second).await;
    let call = ["sync", "--yes", "--user-id", "1", "--strategy", strategy, "--no-rehearsal"];
    let run = sandbox.run(&call).await;
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(
        strategy == "atomic" || run.stderr.contains("hint: `dewey-sync sync --resume 1` goes on"),
        "{run:?}"
    );
    execute(&sandbox.target_admin_url(), r#"ALTER TABLE "Book" DROP CONSTRAINT no"#).await;
    assert_eq!(states(&sandbox), "not_completed");
    sandbox
}

/// What the run says from its error on, without the numbers that identify databases.
async fn check(sandbox: &Sandbox, code: i32, call: &[&str]) -> String {
    let run = sandbox.run(&[&["sync", "--yes"], call].concat()).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{call:?}: {run:?}");
    let said = sandbox.redacted(&run.stderr);
    without_long_numbers(&said[said.find("error:").unwrap_or_else(|| panic!("{run:?}"))..])
}

fn without_long_numbers(text: &str) -> String {
    let is_long = |word: &&str| word.len() > 4 && word.chars().all(|c| c.is_ascii_digit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_digit()).flat_map(|part| {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        [if is_long(&digits) { "N" } else { digits }, &part[digits.len()..]]
    });
    words.collect()
}

#[tokio::test]
async fn a_run_of_every_strategy_can_be_resumed_and_needs_no_other_flag() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = unfinished(strategy).await;
        let run = sandbox.run(&["sync", "--yes", "--resume", "1"]).await;
        assert_eq!(run.code, Some(0), "{strategy}: {run:?}");
        assert!(
            run.stderr.contains("owner   ada@example.org (user 1, of the run that is resumed)"),
            "{run:?}"
        );
        assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
        assert_eq!(states(&sandbox), "verified");
    }
}

#[tokio::test]
async fn there_may_be_nothing_to_resume() {
    let sandbox = Sandbox::with_books(40).await;
    let without_ledger = check(&sandbox, 2, &["--resume"]).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(without_ledger, @r#"
    error: could not resume a run
    caused by: the target's ledger has no unfinished run

    state: `"Book"` is unchanged
    hint: `dewey-sync history` lists the runs; without `--resume` a new one begins
    "#);
    assert_eq!(check(&sandbox, 2, &["--resume"]).await, without_ledger);
    insta::assert_snapshot!(check(&sandbox, 2, &["--resume", "99"]).await, @r#"
    error: could not resume run N
    caused by: the target's ledger has no such run

    state: `"Book"` is unchanged
    hint: `dewey-sync history` lists the runs; without `--resume` a new one begins
    "#);
    insta::assert_snapshot!(check(&sandbox, 2, &["--resume", "1"]).await, @r#"
    error: could not resume run N
    caused by: it ended as `verified`

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    assert_eq!(states(&sandbox), "verified");
}

#[tokio::test]
async fn a_run_that_was_ended_or_went_wrong_is_not_resumed() {
    let sandbox = unfinished("staged").await;
    for state in ["verified", "unchanged", "declined", "superseded"] {
        execute(&sandbox.target_admin_url(), &format!("UPDATE dewey_sync.run SET state = '{state}'")).await;
        let said = check(&sandbox, 2, &["--resume", "1"]).await;
        assert!(said.contains(&format!("caused by: it ended as `{state}`")), "{said}");
        check(&sandbox, 2, &["--resume"]).await;
    }
    execute(&sandbox.target_admin_url(), "UPDATE dewey_sync.run SET state = 'differs'").await;
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume", "1"]).await, @r#"
    error: could not resume run N
    caused by: its data is known to be wrong

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
}

#[tokio::test]
async fn a_run_that_stopped_for_any_other_reason_is_resumed() {
    for state in ["running", "interrupted", "unreachable", "refused", "failed", "busy"] {
        let sandbox = unfinished("staged").await;
        execute(&sandbox.target_admin_url(), &format!("UPDATE dewey_sync.run SET state = '{state}'")).await;
        let run = sandbox.run(&["sync", "--yes", "--resume"]).await;
        assert_eq!(run.code, Some(0), "{state}: {run:?}");
    }
}

#[tokio::test]
async fn the_owner_of_a_resumed_run_need_not_be_among_the_users_that_would_be_listed() {
    let sandbox = unfinished("staged").await;
    let others = r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt")
                    SELECT -n, 'c' || n, n || '@example.org', now() FROM generate_series(1, 150) n"#;
    execute(&sandbox.target_admin_url(), others).await;
    let run = sandbox.run(&["sync", "--yes", "--resume"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[tokio::test]
async fn another_strategy_or_owner_than_the_runs_is_refused() {
    let sandbox = unfinished("staged").await;
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume", "--strategy", "batched"]).await, @r#"
    error: could not resume the unfinished run
    caused by: the strategy was staged, now it is batched

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume", "1", "--user-email", "bob@example.org"]).await, @r#"
    error: could not resume run N
    caused by: the owner was user 1, now it is user 2

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    let both = check(&sandbox, 3, &["--resume", "--user-id", "2", "--strategy", "atomic"]).await;
    insta::assert_snapshot!(both.lines().nth(1).unwrap(), @"caused by: the strategy was staged, now it is atomic; the owner was user 1, now it is user 2");
    execute(&sandbox.target_admin_url(), r#"DELETE FROM "User" WHERE id = 1"#).await;
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume"]).await, @r#"
    error: could not resume the unfinished run
    caused by: its owner, user 1, is gone

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    assert_eq!(states(&sandbox), "not_completed");
}

#[tokio::test]
async fn other_columns_than_the_runs_are_refused() {
    let sandbox = unfinished("staged").await;
    execute(&sandbox.source_admin_url(), r#"ALTER TABLE "Book" DROP COLUMN "readDate""#).await;
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume"]).await, @r#"
    error: could not resume the unfinished run
    caused by: the list of copied columns was isbn10, isbn13, title, titleLong, language, synopsis, image, edition, pageCount, authors, binding, subjects, datePublished, imageOriginal, publisher, visibility, createdAt, readDate, updatedAt, now it is isbn10, isbn13, title, titleLong, language, synopsis, image, edition, pageCount, authors, binding, subjects, datePublished, imageOriginal, publisher, visibility, createdAt, updatedAt

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    assert_eq!(states(&sandbox), "not_completed");
}

#[tokio::test]
async fn another_database_or_version_than_the_runs_is_refused() {
    let sandbox = unfinished("staged").await;
    let other = Sandbox::with_books(40).await;
    sandbox.set_urls(&other.source_url(), &sandbox.target_url());
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume"]).await, @r#"
    error: could not resume the unfinished run
    caused by: the source database was N/N, now it is N/N

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    sandbox.set_urls(&sandbox.source_url(), &sandbox.target_url());

    // Such a row comes with a dump.
    let dumped = "UPDATE dewey_sync.run SET target_identity = '7000000000000000000/16384'";
    execute(&sandbox.target_admin_url(), dumped).await;
    insta::assert_snapshot!(check(&sandbox, 3, &["--resume"]).await, @r#"
    error: could not resume the unfinished run
    caused by: the target database was N/N, now it is N/N

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);

    let back = "UPDATE dewey_sync.run SET tool_version = '0.0.7',
                target_identity = (SELECT system_identifier || '/' || database_oid FROM dewey_sync.identity)";
    execute(&sandbox.target_admin_url(), back).await;
    let said = check(&sandbox, 3, &["--resume"]).await.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(said, @r#"
    error: could not resume the unfinished run
    caused by: the version of this tool was 0.0.7, now it is VERSION

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    assert_eq!(states(&sandbox), "not_completed");
}

#[tokio::test]
async fn yes_alone_starts_anew_and_supersedes_the_unfinished_run() {
    let sandbox = unfinished("staged").await;
    assert_eq!(one(&sandbox, "SELECT count(*) FROM dewey_sync.stage"), "40");
    let log = log_length();
    let run = sandbox.run(&["sync", "--yes", "--user-id", "1", "--no-rehearsal"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(exported(&sandbox.database, log).len(), 1, "the stage is not used");
    assert_eq!(states(&sandbox), "superseded, verified");
    assert_eq!(one(&sandbox, "SELECT count(*) FROM dewey_sync.stage"), "0");
    let resumed: Run = sandbox.run(&["sync", "--yes", "--resume", "1"]).await;
    assert_eq!(resumed.code, Some(2), "{resumed:?}");
}

/// A question whose answer is yes when none is given.
const OFFER: &str = "[Y/n] ";

#[tokio::test]
async fn an_unfinished_run_is_offered_on_a_terminal() {
    for (answer, runs) in [("\n", "verified"), ("n\n", "superseded, verified")] {
        let sandbox = unfinished("staged").await;
        let started = "UPDATE dewey_sync.run SET started_at = '2024-02-29 12:00:30+00'";
        execute(&sandbox.target_admin_url(), started).await;
        let mut terminal = Terminal::start(&sandbox, &["sync", "--user-id", "1"]);
        let offered = terminal.until(OFFER).await;
        insta::allow_duplicates!(
            insta::assert_snapshot!(shown(&offered), @"Run 1 (staged, begun 2024-02-29 12:00 UTC) ended early: not_completed. Resume it? [Y/n]")
        );
        no_session_left(&sandbox.source_admin_url()).await;
        no_session_left(&sandbox.target_admin_url()).await;
        terminal.answer(answer).await;
        terminal.until("[y/N] ").await;
        terminal.answer("y\n").await;
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(0), "{said}");
        assert_eq!(states(&sandbox), runs, "{answer:?}");
        assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
    }
}

#[tokio::test]
async fn a_run_that_could_not_be_resumed_is_not_offered() {
    let sandbox = unfinished("staged").await;
    let mut terminal = Terminal::start(&sandbox, &["sync", "--user-id", "2"]);
    let asked = terminal.until("[y/N] ").await;
    assert!(!asked.contains("ended early"), "{asked}");
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(states(&sandbox), "superseded, verified");
}
