//! One run at a time on a target, and what becomes of a run that another one took over from.

use sqlx::{Connection, PgConnection};

use crate::support::inspect::{BOOKS, dump};
use crate::support::redact::masked;
use crate::support::running::{self, Running, until_it_waits_for_lock, until_it_waits_for_table};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{connect, execute};
use crate::support::terminal::{Terminal, shown};

/// Sessions of one database by their right to be the only run: the process of the holder, or how many wait.
const HOLDER: &str = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE datname = current_database() AND locktype = 'advisory' AND granted";
const WAITING: &str = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted";

fn one(sandbox: &Sandbox, query: &str) -> String {
    String::from_utf8(dump(&sandbox.target_admin_url(), query)).unwrap().trim_end().to_owned()
}

fn states(sandbox: &Sandbox) -> String {
    one(sandbox, "SELECT string_agg(state, ', ' ORDER BY run_id) FROM dewey_sync.run")
}

fn until(sandbox: &Sandbox, query: &str, is_so: impl Fn(&str) -> bool) {
    running::until(&sandbox.target_admin_url(), query, is_so);
}

/// A run that waits before its first change of a book, for as long as the returned session is there.
async fn held(sandbox: &Sandbox, strategy: &str) -> (Running, PgConnection) {
    let mut holder = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql(r#"BEGIN; LOCK TABLE "Book" IN SHARE MODE"#).execute(&mut holder).await.unwrap();
    let running = Running::start(sandbox, &["sync", "--yes", "--no-rehearsal", "--strategy", strategy]);
    until_it_waits_for_table(sandbox, r#""Book""#);
    (running, holder)
}

async fn ends_well(sandbox: &Sandbox, mut running: Running) {
    let (code, end, said) = running.end().await;
    assert_eq!(code, Some(0), "{end} {said}");
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
}

#[tokio::test]
async fn a_second_run_or_migration_ends_with_the_name_of_the_first_one() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = Sandbox::with_books(40).await;
        let (running, holder) = held(&sandbox, strategy).await;
        let (pid, process) = (one(&sandbox, HOLDER), running.child.id().unwrap());
        for call in [
            &["sync", "--yes", "--lock-wait", "0s"][..],
            &["sync", "--yes", "--strategy", "atomic", "--lock-wait", "100ms"],
            &["migrate", "up"],
            &["migrate", "down", "--yes"],
        ] {
            let run = sandbox.run(call).await;
            assert_eq!((run.code, run.stdout.as_str()), (Some(7), ""), "{strategy}, {call:?}: {run:?}");
            let holder =
                format!("caused by: it holds the lock: pid {pid}, application `dewey-sync {process}-");
            assert!(run.stderr.contains(&holder), "{holder}: {run:?}");
        }
        let json = sandbox.run(&["sync", "--yes", "--output", "json", "--lock-wait", "0s"]).await.json_end();
        assert_eq!((&json["outcome"], &json["exit_code"]), (&"busy".into(), &7.into()));
        let run = sandbox.run(&["sync", "--yes", "--lock-wait", "0s"]).await;
        let said = &run.stderr[run.stderr.find("error:").unwrap()..];
        let (before, since) = said.split_once("since ").unwrap();
        let (time, after) = since.split_once(" UTC").unwrap();
        assert_eq!(time.len(), "2024-02-29 12:00:00".len(), "{said}");
        let (before, session) = before.split_once(&format!("`dewey-sync {process}-")).unwrap();
        let session = session.split_once('`').unwrap().0;
        assert_eq!(session.split_once('.').unwrap().0.len(), 8, "{said}");
        let said = format!("{before}`dewey-sync PROCESS-SESSION`, since TIME UTC{after}");
        insta::allow_duplicates!(insta::assert_snapshot!(masked(&said, "pid "), @r#"
    error: another run is active on the target
    caused by: it holds the lock: pid N, application `dewey-sync PROCESS-SESSION`, since TIME UTC

    state: `"Book"` is unchanged
    hint: wait for it to end, or give it time with `--lock-wait`
    "#));

        holder.close().await.unwrap();
        ends_well(&sandbox, running).await;
        assert_eq!(states(&sandbox), "verified", "nobody was superseded");
    }
}

#[tokio::test]
async fn a_second_run_waits_as_long_as_it_is_told() {
    let sandbox = Sandbox::with_books(40).await;
    let (first, holder) = held(&sandbox, "staged").await;
    let second = Running::start(&sandbox, &["sync", "--yes", "--lock-wait", "1m"]);
    until(&sandbox, WAITING, |waiting| waiting == "1");
    holder.close().await.unwrap();
    ends_well(&sandbox, first).await;
    ends_well(&sandbox, second).await;
    assert_eq!(states(&sandbox), "verified, verified");
}

#[tokio::test]
async fn a_lost_lock_is_taken_again_and_the_run_ends_well() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = Sandbox::with_books(40).await;
        let (running, holder) = held(&sandbox, strategy).await;
        let lost = one(&sandbox, HOLDER);
        execute(&sandbox.target_admin_url(), &format!("SELECT pg_terminate_backend({lost})")).await;
        until(&sandbox, HOLDER, |pid| !pid.is_empty() && pid != lost);
        holder.close().await.unwrap();
        ends_well(&sandbox, running).await;
        assert_eq!(states(&sandbox), "verified");
    }
}

#[tokio::test]
async fn a_run_that_was_taken_over_from_meanwhile_does_not_take_its_lock_again() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = Sandbox::with_books(40).await;
        let (mut running, holder) = held(&sandbox, strategy).await;
        let lost = one(&sandbox, HOLDER);
        // Another run takes over while this one does not look.
        running.signal("STOP");
        execute(&sandbox.target_admin_url(), &format!("SELECT pg_terminate_backend({lost})")).await;
        let taken = "UPDATE dewey_sync.run SET state = 'superseded', epoch = epoch + 1";
        // The run's own transaction may hold the row; then it is stopped in it, and its session has to go as well.
        let waiting =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
                       AND application_name LIKE 'dewey-sync%'";
        execute(&sandbox.target_admin_url(), waiting).await;
        until(&sandbox, HOLDER, str::is_empty);
        execute(&sandbox.target_admin_url(), taken).await;
        running.signal("CONT");
        holder.close().await.unwrap();
        let (code, end, said) = running.end().await;
        assert_eq!((code, &end["outcome"]), (Some(7), &"busy".into()), "{strategy}: {end} {said}");
        assert_eq!(dump(&sandbox.target_url(), BOOKS), b"", "{strategy}");
        assert_eq!(states(&sandbox), "superseded", "{strategy}");
    }
}

#[tokio::test]
async fn a_run_that_was_superseded_while_its_question_waited_changes_nothing() {
    let sandbox = Sandbox::with_books(40).await;
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    terminal.until("[y/N] ").await;
    assert_eq!(one(&sandbox, HOLDER), "", "no lock is held while a question waits");
    let other = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(other.code, Some(0), "{other:?}");
    let rows = r#"SELECT ctid, xmin, * FROM "Book" ORDER BY id"#;
    let before = dump(&sandbox.target_admin_url(), rows);
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(7), "{said}");
    let said = shown(&said);
    insta::assert_snapshot!(masked(&said[said.find("error:").unwrap()..], "run "), @"
    error: another run took over the target
    caused by: run N may not write any more

    state: this run changed no book
    hint: `dewey-sync history` lists the runs
    ");
    assert!(dump(&sandbox.target_admin_url(), rows) == before);
    assert_eq!(states(&sandbox), "superseded, verified");
}

/// Only a run that records how it ended changes this column.
const HOLD_RECORDS: &str = "
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$;
    CREATE TRIGGER hold BEFORE UPDATE OF fingerprint_rows ON dewey_sync.run EXECUTE FUNCTION hold()";

#[tokio::test]
async fn a_run_that_was_taken_over_from_before_it_records_its_success_fails() {
    let sandbox = Sandbox::with_books(40).await;
    assert_eq!(sandbox.run(&["sync", "--yes"]).await.code, Some(0));
    execute(&sandbox.target_admin_url(), HOLD_RECORDS).await;
    for would_be in ["unchanged", "verified"] {
        if would_be == "verified" {
            execute(&sandbox.target_admin_url(), r#"DELETE FROM "Book" WHERE id = 1"#).await;
        }
        let mut other = connect(&sandbox.target_admin_url()).await;
        sqlx::raw_sql("SELECT pg_advisory_lock(77)").execute(&mut other).await.unwrap();
        let mut running = Running::start(&sandbox, &["sync", "--yes", "--strategy", "batched"]);
        until_it_waits_for_lock(&sandbox, 77);
        let taken = "UPDATE dewey_sync.run SET state = 'superseded' WHERE state = 'running'";
        sqlx::raw_sql(taken).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        let (code, end, said) = running.end().await;
        assert_eq!((code, &end["outcome"]), (Some(7), &"busy".into()), "{would_be}: {end} {said}");
        assert_eq!(end["error"]["message"], "another run took over the target", "{would_be}: {end}");
    }
    assert_eq!(states(&sandbox), "verified, superseded, superseded");
}

/// The transaction of the lock is as long as the run, and nobody would see that the run waits for itself: for whoever waits for
/// a table that this transaction has.
#[tokio::test]
async fn the_lock_of_a_run_has_no_table() {
    let sandbox = Sandbox::with_books(40).await;
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    terminal.until("[y/N] ").await;
    let mut other = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE dewey_sync.run IN SHARE MODE").execute(&mut other).await.unwrap();
    terminal.answer("y\n").await;
    // By then the lock, which was let go for the question, is taken again.
    until_it_waits_for_table(&sandbox, "dewey_sync.run");
    let all = "SET lock_timeout = '20s'; LOCK TABLE dewey_sync.run IN ACCESS EXCLUSIVE MODE; COMMIT";
    sqlx::raw_sql(all).execute(&mut other).await.unwrap();
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
}
