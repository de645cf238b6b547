//! A signal at any moment: the right exit code, the target in a state that its strategy allows, no session left.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use sqlx::Row;

use crate::support::gate::Gate;
use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::running::{Running, is_batch, until_it_waits_for_lock, until_it_waits_for_table};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{connect, execute};

const BOOKS_MANY: u32 = 2_000;
const BATCH_SIZE: &str = "100";
const BATCHES: u64 = 20;

/// Signals come after fewer batches than this.
const AFTER_MAX: u64 = 10;

/// No run passes this batch before its signal is sent, however late a loaded machine sends it.
const GATE: usize = 12;

/// Of each strategy; even ones send SIGINT, odd ones SIGTERM.
const SEEDS: u64 = 20;

/// Runs at the same time, each on a pair of databases that it uses again and again.
const LANES: u64 = 4;

fn is_phase(event: &Value, phase: &str) -> bool {
    event["event"] == "phase" && event["phase"] == phase
}

const ANOTHER_TITLE: &str =
    r#"UPDATE "Book" SET title = title || '!' WHERE id = (SELECT min(id) FROM "Book")"#;

async fn many_books() -> Sandbox {
    let sandbox = Sandbox::with_books(BOOKS_MANY).await;
    let old = r#"INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal",
                   publisher, "datePublished", binding, "pageCount", "ownerId", "updatedAt")
                 SELECT n, n, 'My own', '', '', '', '', '', '', '', '', 1, u.id, now()
                 FROM "User" u, generate_series(1, 100) n"#;
    execute(&sandbox.target_admin_url(), old).await;
    sandbox
}

/// Sends a signal after a batch that the seed names; how many batches had been written when the run ended.
async fn check(sandbox: &Sandbox, strategy: &str, seed: u64) -> u64 {
    let after = StdRng::seed_from_u64(seed).random_range(1..AFTER_MAX);
    let (name, code) = if seed.is_multiple_of(2) { ("INT", 130) } else { ("TERM", 143) };
    let what = format!("seed {seed}: SIG{name} after batch event {after} of `{strategy}`");
    // Whatever the run before left, there is something to do.
    execute(&sandbox.target_admin_url(), ANOTHER_TITLE).await;
    let old = rows_with_their_places(sandbox);
    let marking = ["--mark-development", &sandbox.target_name()];
    let call = ["sync", "--yes", "--no-rehearsal", "--strategy", strategy, "--batch-size", BATCH_SIZE];
    let table = if strategy == "staged" { "dewey_sync.stage" } else { r#""Book""# };
    let gate = Gate::shut(sandbox, table, GATE, BATCH_SIZE.parse().unwrap()).await;
    let mut running = Running::start(sandbox, &[&call[..], &marking].concat());
    for _ in 0..after {
        running.until(is_batch).await;
    }
    running.signal(name);
    gate.open().await;
    let (exit_code, end, said) = running.end().await;

    no_session_left(&sandbox.source_admin_url()).await;
    no_session_left(&sandbox.target_admin_url()).await;
    if end["outcome"] == "verified" {
        // The signal came too late.
        assert_eq!(exit_code, Some(0), "{what}");
        assert!(
            dump(&sandbox.target_admin_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS),
            "{what}"
        );
        return BATCHES;
    }
    assert_eq!(exit_code, Some(code), "{what}: {end} {said}");
    assert_eq!((&end["outcome"], &end["exit_code"]), (&"interrupted".into(), &code.into()), "{what}: {end}");
    for label in ["error: ", "state: ", "hint: "] {
        assert!(said.lines().any(|line| line.starts_with(label)), "{what}: {said}");
    }
    let state = format!("SELECT state FROM dewey_sync.run WHERE run_id = {}", end["run_id"]);
    assert_eq!(dump(&sandbox.target_admin_url(), &state), b"interrupted\n", "{what}");
    match strategy {
        "atomic" => {
            assert_eq!(rows_with_their_places(sandbox), old, "{what}");
            assert_eq!(end["batches"]["done"], 0, "{what}: all of them were rolled back");
        }
        "staged" => {
            assert_eq!(rows_with_their_places(sandbox), old, "{what}");
            let staged = "SELECT count(*), sum(rows), (SELECT count(*) FROM dewey_sync.stage)
                          FROM dewey_sync.stage_checkpoint";
            let staged = String::from_utf8(dump(&sandbox.target_admin_url(), staged)).unwrap();
            let (batches, books) = (&end["batches"]["done"], &end["counts"]["exported"]);
            assert_eq!(staged, format!("{batches}\t{books}\t{books}\n"), "{what}");
        }
        _ => assert_whole_batches(sandbox, &end, &what).await,
    }
    running.batches
}

fn rows_with_their_places(sandbox: &Sandbox) -> Vec<u8> {
    dump(&sandbox.target_admin_url(), r#"SELECT ctid, xmin, b.* FROM "Book" b ORDER BY ctid"#)
}

/// The target holds the books of those ranges that have a checkpoint, and no others.
async fn assert_whole_batches(sandbox: &Sandbox, end: &Value, what: &str) {
    let target = sandbox.target_admin_url();
    let mut connection = connect(&target).await;
    let sql = format!(
        "SELECT coalesce(string_agg(format('(id > %s AND id <= %s)', coalesce(after_id, -2147483648),
           coalesce(through_id, 2147483647)), ' OR '), 'false'), count(*), coalesce(sum(rows), 0)::bigint
         FROM dewey_sync.checkpoint WHERE batch > 0 AND run_id = {}",
        end["run_id"]
    );
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
    let (ranges, checkpoints, rows): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(end["batches"]["done"], checkpoints, "{what}: {end}");
    assert_eq!(end["counts"]["inserted"], rows, "{what}: {end}");
    let expected = BOOKS.replace("ORDER BY", &format!("WHERE {ranges} ORDER BY"));
    let found = dump(&target, BOOKS);
    assert_eq!(i64::try_from(found.split(|byte| *byte == b'\n').count() - 1).unwrap(), rows, "{what}");
    assert!(found == dump(&sandbox.source_admin_url(), &expected), "{what}: the ranges are not whole");
}

#[expect(clippy::print_stdout, reason = "the histogram, for `--nocapture`")]
fn check_all(strategy: &str) {
    let started = Instant::now();
    let lane = |lane| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sandbox = many_books().await;
            // The gate of `staged` is at a table of the ledger.
            let migrated =
                sandbox.run(&["migrate", "up", "--mark-development", &sandbox.target_name()]).await;
            assert_eq!(migrated.code, Some(0), "{migrated:?}");
            let mut done = Vec::new();
            for seed in (lane..SEEDS).step_by(usize::try_from(LANES).unwrap()) {
                done.push(check(&sandbox, strategy, seed).await);
            }
            done
        })
    };
    // Threads, because a lane that looks at a database must not keep another one from its signal.
    let mut done: Vec<u64> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    done.sort_unstable();
    let between = done.iter().filter(|done| (1..BATCHES).contains(done)).count();
    println!("`{strategy}`, {SEEDS} signals in {:?}: batches done of {BATCHES}: {done:?}", started.elapsed());
    assert!(between >= 15, "{between} of {SEEDS} were in between");
}

#[test]
fn an_interrupted_atomic_run_leaves_the_old_books_where_they_were() {
    check_all("atomic");
}

#[test]
fn an_interrupted_staged_run_leaves_the_old_books_where_they_were_and_whole_batches_in_the_stage() {
    check_all("staged");
}

#[test]
fn an_interrupted_batched_run_leaves_whole_batches() {
    check_all("batched");
}

#[tokio::test]
async fn a_hangup_counts_as_sigterm() {
    let sandbox = Sandbox::new().await;
    let holder = hold_inserts(&sandbox).await;
    let mut running = Running::start(&sandbox, &["sync", "--yes", "--no-rehearsal", "--strategy", "atomic"]);
    until_it_waits_for_lock(&sandbox, 1);
    running.signal("HUP");
    let (code, end, said) = running.end().await;
    assert_eq!((code, &end["outcome"]), (Some(143), &"interrupted".into()), "{end} {said}");
    drop(holder);
}

/// Its time-out ends a wait as well.
const SOONER_THAN_THE_LOCK: Duration = Duration::from_secs(25);

/// Makes each insert wait for a lock, which the returned session holds.
async fn hold_inserts(sandbox: &Sandbox) -> sqlx::PgConnection {
    let waiting = r#"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
                     CREATE TRIGGER wait BEFORE INSERT ON "Book" FOR EACH STATEMENT EXECUTE FUNCTION wait()"#;
    execute(&sandbox.target_admin_url(), waiting).await;
    let mut holder = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql("SELECT pg_advisory_lock(1)").execute(&mut holder).await.unwrap();
    holder
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let sandbox = Sandbox::new().await;
    let holder = hold_inserts(&sandbox).await;
    let mut running = Running::start(&sandbox, &["sync", "--yes", "--no-rehearsal", "--strategy", "batched"]);
    until_it_waits_for_lock(&sandbox, 1);
    running.signal("INT");
    let said = running.stderr.next_line().await.unwrap();
    assert_eq!(said.as_deref(), Some("stopping safely; press Ctrl-C again to stop now"));
    assert_eq!(running.child.try_wait().unwrap(), None);
    running.signal("INT");
    let (code, ..) = running.end().await;
    assert_eq!(code, Some(130));
    // Though the lock is still held.
    no_session_left(&sandbox.target_admin_url()).await;
    assert_eq!(dump(&sandbox.target_admin_url(), BOOKS), b"");
    drop(holder);
}

#[tokio::test]
async fn a_signal_ends_a_change_of_books_that_waits_for_a_lock() {
    let sandbox = Sandbox::new().await;
    // Reading goes on, as the guards need it; deleting waits.
    let mut holder = connect(&sandbox.target_admin_url()).await;
    let lock = r#"BEGIN; LOCK TABLE "Book" IN SHARE MODE"#;
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    for strategy in ["staged", "atomic", "batched"] {
        let mut running =
            Running::start(&sandbox, &["sync", "--yes", "--no-rehearsal", "--strategy", strategy]);
        until_it_waits_for_table(&sandbox, r#""Book""#);
        running.signal("TERM");
        let ended = tokio::time::timeout(SOONER_THAN_THE_LOCK, running.end()).await;
        let (code, end, said) = ended.unwrap_or_else(|_| panic!("`{strategy}` goes on"));
        assert_eq!(code, Some(143), "{strategy}: {end} {said}");
        no_session_left(&sandbox.target_admin_url()).await;
    }
}

#[tokio::test]
async fn a_closed_stdout_does_not_end_the_run() {
    let sandbox = Sandbox::new().await;
    let mut running = Running::start(&sandbox, &["sync", "--yes", "--batch-size", "20"]);
    running.until(|event| is_phase(event, "checking")).await;
    let Running { mut child, stdout, stderr: _stderr, .. } = running;
    drop(stdout);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
    let state = dump(&sandbox.target_admin_url(), "SELECT state FROM dewey_sync.run");
    assert_eq!(state, b"verified\n");
}
