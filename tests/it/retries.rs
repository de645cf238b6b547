//! What may pass by itself is tried again, as often as allowed and later each time; whatever the network loses, no batch
//! is applied twice.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::proxy::Proxy;
use crate::support::sandbox::{Run, Sandbox, WAYS, WITHOUT_KEYS};
use crate::support::servers::{SERVERS, execute};

const DELAY_FIRST_MS: u64 = 20;

const STRATEGIES: [&str; 3] = ["staged", "atomic", "batched"];

const BOOK: &str = r#""Book""#;
const STAGE: &str = "dewey_sync.stage";

/// Each strategy with the tables that it inserts into.
const INSERTING: [(&str, &str); 4] =
    [("staged", STAGE), ("staged", BOOK), ("atomic", BOOK), ("batched", BOOK)];

/// A sync of books that all have other titles, whose retries come soon.
pub(crate) async fn sync(sandbox: &Sandbox, strategy: &str, more: &[&str]) -> Run {
    rehearsed(sandbox, strategy, &[&["--no-rehearsal"], more].concat()).await
}

pub(crate) async fn rehearsed(sandbox: &Sandbox, strategy: &str, more: &[&str]) -> Run {
    execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    let arguments = ["sync", "--yes", "--output", "json", "--retry-delay", "20ms", "--strategy", strategy];
    sandbox.run(&[&arguments, more].concat()).await
}

pub(crate) fn retries(run: &Run) -> Vec<Value> {
    let events = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "retry").collect()
}

/// The target holds each book of the source once, and its ledger says so.
pub(crate) async fn check_verified(sandbox: &Sandbox, run: &Run) {
    assert_eq!((run.code, run.json_end()["outcome"].as_str()), (Some(0), Some("verified")), "{run:?}");
    assert!(dump(&sandbox.source_url(), BOOKS) == dump(&sandbox.target_url(), BOOKS), "{run:?}");
    let states = "SELECT state FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    assert_eq!(dump(&sandbox.target_url(), states), b"verified\n");
    no_session_left(&sandbox.target_admin_url()).await;
}

/// A target that has a ledger and no books.
pub(crate) async fn sandbox_with_ledger(books: u32) -> Sandbox {
    let sandbox = Sandbox::with_books(books).await;
    let run = sandbox.run(&["migrate", "up"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    sandbox
}

/// A target without books, whose trigger raises `sqlstate` the first `times` times that a book arrives in `table`.
async fn raising(sandbox: &Sandbox, table: &str, sqlstate: &str, times: u32) {
    // A sequence is not rolled back with what the trigger refuses.
    let trigger = format!(
        r#"DELETE FROM "Book"; DROP FUNCTION IF EXISTS fail CASCADE;
           DROP SEQUENCE IF EXISTS raised; CREATE SEQUENCE raised;
           CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF nextval('raised') <= {times} THEN RAISE 'not now' USING ERRCODE = '{sqlstate}'; END IF;
             RETURN NEW; END $$;
           CREATE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"#
    );
    execute(&sandbox.target_url(), &trigger).await;
}

#[tokio::test]
async fn a_transient_error_raised_n_times_is_retried_n_times_with_growing_jittered_delays() {
    let sandbox = sandbox_with_ledger(40).await;
    let mut seen = BTreeSet::new();
    for (sqlstate, times) in [("40001", 1), ("40P01", 2), ("55P03", 3)] {
        for (strategy, table) in INSERTING {
            raising(&sandbox, table, sqlstate, times).await;
            let run = sync(&sandbox, strategy, &[]).await;
            check_verified(&sandbox, &run).await;
            let retries = retries(&run);
            assert_eq!(retries.len(), times as usize, "{run:?}");
            assert_eq!(run.json_end()["retries"], times);
            let mut mean = DELAY_FIRST_MS;
            for (retry, attempt) in retries.iter().zip(1..) {
                assert_eq!((&retry["attempt"], &retry["class"]), (&attempt.into(), &"transient".into()));
                assert!(retry["cause"].as_str().unwrap().contains(sqlstate), "{retry}");
                let delay = retry["delay_ms"].as_u64().unwrap();
                // A quarter to either side of a mean that doubles, so each is longer than the one before.
                assert!((mean * 3 / 4..=mean * 5 / 4).contains(&delay), "{retries:?}");
                mean *= 2;
            }
            seen.insert(retries[0]["delay_ms"].as_u64());
        }
    }
    assert!(seen.len() > 1, "the same first delay in twelve runs: {seen:?}");
}

#[tokio::test]
async fn what_is_deferred_fails_before_the_commit_and_leaves_no_doubt() {
    let sandbox = sandbox_with_ledger(40).await;
    // What is deferred is made immediate before the COMMIT. The first time it ends its own session; what comes after is
    // refused for good.
    let dying = r#"
        CREATE SEQUENCE died;
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF nextval('died') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON "Book" DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION die();
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF (SELECT is_called FROM died) THEN RAISE 'no' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION refuse()"#;
    execute(&sandbox.target_url(), dying).await;
    let run = sync(&sandbox, "atomic", &[]).await;
    assert_eq!((run.code, retries(&run).len()), (Some(5), 1), "{run:?}");
    assert_eq!(retries(&run)[0]["class"], "transient");
    assert_eq!(run.json_end()["error"]["state"], r#"`"Book"` is unchanged"#);
    assert_eq!(dump(&sandbox.target_url(), BOOKS), b"");
}

#[tokio::test]
async fn one_failure_more_than_allowed_ends_the_run_and_the_error_counts_the_retries() {
    let sandbox = sandbox_with_ledger(40).await;
    for ((strategy, table), what) in INSERTING.into_iter().zip([
        "could not insert books",
        "could not apply the staged books",
        "batch 1 of 1: could not insert books",
        "could not insert books",
    ]) {
        raising(&sandbox, table, "40001", 3).await;
        let run = sync(&sandbox, strategy, &["--max-retries", "2"]).await;
        assert_eq!((run.code, retries(&run).len()), (Some(5), 2), "{run:?}");
        let error = &run.json_end()["error"];
        let said = [&error["message"]].into_iter().chain(error["causes"].as_array().unwrap());
        let said: Vec<_> = said.filter_map(Value::as_str).collect();
        let expected = format!("{what}, after 2 retries over 0 s");
        assert!(said.iter().any(|text| text.ends_with(&expected)), "{expected}: {said:?}");

        raising(&sandbox, table, "40001", 1).await;
        let run = sync(&sandbox, strategy, &["--max-retries", "0"]).await;
        assert_eq!((run.code, retries(&run).len()), (Some(5), 0), "{run:?}");
        assert!(!run.stdout.contains("retries over"), "{run:?}");
    }
}

#[tokio::test]
async fn a_permanent_error_is_not_retried() {
    let sandbox = sandbox_with_ledger(40).await;
    for (strategy, table) in INSERTING {
        for sqlstate in ["23514", "P0001", "53100"] {
            raising(&sandbox, table, sqlstate, 1).await;
            let run = sync(&sandbox, strategy, &[]).await;
            assert_eq!((run.code, retries(&run).len()), (Some(5), 0), "{run:?}");
            assert_eq!(run.json_end()["retries"], 0);
        }
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_halved_twice() {
    let sandbox = sandbox_with_ledger(200).await;
    // 200 and 100 rows are too many for one statement, 50 are not.
    let trigger = r"
        CREATE TABLE statement (rows bigint);
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO statement SELECT count(*) FROM new;
          IF (SELECT count(*) FROM new) > 50 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$";
    execute(&sandbox.target_url(), trigger).await;
    for (strategy, engine) in WAYS {
        let table = if strategy == "staged" { STAGE } else { BOOK };
        let watched = format!(
            "TRUNCATE statement; DROP TRIGGER IF EXISTS slow ON {BOOK}; DROP TRIGGER IF EXISTS slow ON {STAGE};
             CREATE TRIGGER slow AFTER INSERT ON {table} REFERENCING NEW TABLE AS new
             FOR EACH STATEMENT EXECUTE FUNCTION slow()"
        );
        execute(&sandbox.target_url(), &watched).await;
        let run = sync(&sandbox, strategy, &["--engine", engine, "--batch-timeout", "1s"]).await;
        check_verified(&sandbox, &run).await;
        let classes: Vec<_> = retries(&run).iter().map(|retry| retry["class"].clone()).collect();
        assert_eq!(classes, ["shrink", "shrink"], "{strategy} {engine}");
        let statements = dump(&sandbox.target_url(), "SELECT * FROM statement");
        assert_eq!(statements, b"50\n50\n50\n50\n", "{strategy} {engine}");
    }
}

/// A sandbox whose target is reached through a proxy, has a ledger, and would keep a book that arrives twice.
async fn through_proxy() -> (Sandbox, Proxy) {
    let sandbox = Sandbox::with_books(120).await;
    let first = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    execute(&sandbox.target_admin_url(), WITHOUT_KEYS).await;
    let proxy = Proxy::start(SERVERS.target.port()).await;
    sandbox.set_urls(&sandbox.source_url(), &proxy.through(&sandbox.target_url()));
    (sandbox, proxy)
}

pub(crate) const BATCHES: [&str; 2] = ["--batch-size", "20"];

/// Where a run writes, in messages from its start: after the ledger has its row, before COMMIT of the last batch.
pub(crate) async fn writing(sandbox: &Sandbox, proxy: &Proxy, strategy: &str) -> (u64, u64) {
    let before = proxy.messages();
    let looked = sandbox.run(&["sync", "--dry-run"]).await;
    assert_eq!(looked.code, Some(0), "{looked:?}");
    let looking = proxy.messages() - before;
    let run = sync(sandbox, strategy, &BATCHES).await;
    check_verified(sandbox, &run).await;
    let all = proxy.messages() - before - looking;
    (looking + LEDGER_MESSAGES, all - LEDGER_MESSAGES)
}

/// More than the transaction that begins or ends the run's row has: BEGIN, a dozen settings, the row, COMMIT, and the
/// farewells that the proxy may still be counting when the process has ended.
const LEDGER_MESSAGES: u64 = 32;

#[tokio::test]
async fn a_target_cut_off_while_books_are_copied_is_verified_in_the_end() {
    const PARTS: u64 = 5;
    let (sandbox, proxy) = through_proxy().await;
    for strategy in STRATEGIES {
        let (from, to) = writing(&sandbox, &proxy, strategy).await;
        let mut parts_tried_again = 0;
        for part in 0..PARTS {
            let cut = proxy.messages() + from + (to - from) * part / PARTS;
            proxy.cut_at(cut);
            let run = sync(&sandbox, strategy, &BATCHES).await;
            check_verified(&sandbox, &run).await;
            assert!(proxy.messages() > cut, "{strategy}, part {part} was not cut");
            let retries = retries(&run);
            assert_eq!(run.json_end()["retries"], retries.len());
            parts_tried_again += u64::from(!retries.is_empty());
        }
        // Where a transaction that only read was ending, there is nothing to try again.
        assert!(parts_tried_again >= PARTS - 1, "{strategy}: {parts_tried_again} of {PARTS}");
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated() {
    let (sandbox, proxy) = through_proxy().await;
    // `staged` has those of six batches, then that of the books; `atomic` has one; `batched` that of the deletion and
    // those of six batches.
    for (strategy, commits, changed) in [
        ("staged", &[1, 3, 6, 7][..], ["updated"; 2]),
        ("atomic", &[1], ["deleted", "inserted"]),
        ("batched", &[1, 2, 4, 7], ["deleted", "inserted"]),
    ] {
        for commit in commits {
            proxy.lose_answer_to_commit(proxy.commits() + commit);
            let run = sync(&sandbox, strategy, &BATCHES).await;
            check_verified(&sandbox, &run).await;
            let retries = retries(&run);
            let classes: Vec<_> = retries.iter().map(|retry| &retry["class"]).collect();
            assert_eq!(classes, ["ambiguous"], "{strategy}, COMMIT {commit}: {run:?}");
            let counts = &run.json_end()["counts"];
            assert_eq!(changed.map(|name| counts[name].as_u64()), [Some(120); 2], "{run:?}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_did_not_happen_leaves_no_doubt_once_the_claim_was_free() {
    let (sandbox, proxy) = through_proxy().await;
    // One attempt inserts that many books; the next one is refused for good.
    let refuse = r#"
        CREATE SEQUENCE inserted;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF nextval('inserted') > 120 THEN RAISE 'no' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION refuse();
        GRANT USAGE ON SEQUENCE inserted TO PUBLIC"#;
    execute(&sandbox.target_admin_url(), refuse).await;
    let titles = |title: &str| {
        dump(&sandbox.target_admin_url(), &format!(r#"SELECT id, {title} FROM "Book" ORDER BY id"#))
    };
    // With the mark of `sync`.
    let old = titles("title || '!'");
    proxy.lose_commit(proxy.commits() + 1);
    let run = sync(&sandbox, "atomic", &[]).await;
    assert_eq!((run.code, retries(&run).len()), (Some(5), 1), "{run:?}");
    assert_eq!(retries(&run)[0]["class"], "ambiguous");
    assert_eq!(run.json_end()["error"]["state"], r#"`"Book"` is unchanged"#);
    assert!(titles("title") == old);
}

#[tokio::test]
async fn a_target_that_is_gone_for_good_is_unreachable() {
    for strategy in STRATEGIES {
        let (sandbox, proxy) = through_proxy().await;
        let (from, to) = writing(&sandbox, &proxy, strategy).await;
        proxy.gone_from(proxy.messages() + u64::midpoint(from, to));
        let run = sync(&sandbox, strategy, &BATCHES).await;
        let end = run.json_end();
        assert_eq!((run.code, &end["outcome"]), (Some(6), &"unreachable".into()), "{run:?}");
        assert!(end["error"]["message"].as_str().unwrap().contains("after 3 retries"), "{run:?}");
        let unchanged = end["error"]["state"] == "`\"Book\"` is unchanged";
        assert_eq!(unchanged, strategy != "batched", "{run:?}");
    }
}
