//! What may pass by itself is tried again, as often as allowed and later each time; whatever the network loses, no batch
//! is applied twice.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::proxy::Proxy;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, execute};

const DELAY_FIRST_MS: u64 = 20;

const STRATEGIES: [&str; 2] = ["atomic", "batched"];

/// A sync whose retries come soon, with the ledger there already.
async fn sync(sandbox: &Sandbox, strategy: &str, more: &[&str]) -> Run {
    let arguments = ["sync", "--yes", "--output", "json", "--retry-delay", "20ms", "--strategy", strategy];
    sandbox.run(&[&arguments, more].concat()).await
}

fn retries(run: &Run) -> Vec<Value> {
    let events = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "retry").collect()
}

/// The target holds each book of the source once, and its ledger says so.
async fn check_verified(sandbox: &Sandbox, run: &Run) {
    assert_eq!((run.code, run.json_end()["outcome"].as_str()), (Some(0), Some("verified")), "{run:?}");
    assert!(dump(&sandbox.source_url(), BOOKS) == dump(&sandbox.target_url(), BOOKS), "{run:?}");
    let states = "SELECT state FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    assert_eq!(dump(&sandbox.target_url(), states), b"verified\n");
    no_session_left(&sandbox.target_admin_url()).await;
}

/// A target whose trigger raises `sqlstate` the first `times` times that a book arrives.
async fn raising(sandbox: &Sandbox, sqlstate: &str, times: u32) {
    // A sequence is not rolled back with what the trigger refuses.
    let trigger = format!(
        r#"DROP SEQUENCE IF EXISTS raised; CREATE SEQUENCE raised;
           CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF nextval('raised') <= {times} THEN RAISE 'not now' USING ERRCODE = '{sqlstate}'; END IF;
             RETURN NEW; END $$;
           CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION fail()"#
    );
    execute(&sandbox.target_url(), &trigger).await;
}

#[tokio::test]
async fn a_transient_error_raised_n_times_is_retried_n_times_with_growing_jittered_delays() {
    let sandbox = Sandbox::with_books(40).await;
    let mut seen = BTreeSet::new();
    for (sqlstate, times) in [("40001", 1), ("40P01", 2), ("55P03", 3)] {
        for strategy in STRATEGIES {
            raising(&sandbox, sqlstate, times).await;
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
    assert!(seen.len() > 1, "the same first delay in six runs: {seen:?}");
}

#[tokio::test]
async fn one_failure_more_than_allowed_ends_the_run_and_the_error_counts_the_retries() {
    let sandbox = Sandbox::with_books(40).await;
    for (strategy, what) in
        [("atomic", "batch 1 of 1: could not insert books"), ("batched", "could not insert books")]
    {
        raising(&sandbox, "40001", 3).await;
        let run = sync(&sandbox, strategy, &["--max-retries", "2"]).await;
        assert_eq!((run.code, retries(&run).len()), (Some(5), 2), "{run:?}");
        let error = &run.json_end()["error"];
        let said = [&error["message"]].into_iter().chain(error["causes"].as_array().unwrap());
        let said: Vec<_> = said.filter_map(Value::as_str).collect();
        let expected = format!("{what}, after 2 retries over 0 s");
        assert!(said.iter().any(|text| text.ends_with(&expected)), "{expected}: {said:?}");

        raising(&sandbox, "40001", 1).await;
        let run = sync(&sandbox, strategy, &["--max-retries", "0"]).await;
        assert_eq!((run.code, retries(&run).len()), (Some(5), 0), "{run:?}");
        assert!(!run.stdout.contains("retries over"), "{run:?}");
    }
}

#[tokio::test]
async fn a_permanent_error_is_not_retried() {
    let sandbox = Sandbox::with_books(40).await;
    for strategy in STRATEGIES {
        for sqlstate in ["23514", "P0001", "53100"] {
            raising(&sandbox, sqlstate, 1).await;
            let run = sync(&sandbox, strategy, &[]).await;
            assert_eq!((run.code, retries(&run).len()), (Some(5), 0), "{run:?}");
            assert_eq!(run.json_end()["retries"], 0);
        }
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_halved_twice() {
    let sandbox = Sandbox::with_books(200).await;
    // 200 and 100 rows are too many for one statement, 50 are not.
    let trigger = r#"
        CREATE TABLE statement (rows bigint);
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO statement SELECT count(*) FROM new;
          IF (SELECT count(*) FROM new) > 50 THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$;
        CREATE TRIGGER slow AFTER INSERT ON "Book" REFERENCING NEW TABLE AS new
        FOR EACH STATEMENT EXECUTE FUNCTION slow()"#;
    execute(&sandbox.target_url(), trigger).await;
    for strategy in STRATEGIES {
        execute(&sandbox.target_url(), "TRUNCATE statement").await;
        let run = sync(&sandbox, strategy, &["--batch-timeout", "1s"]).await;
        check_verified(&sandbox, &run).await;
        let classes: Vec<_> = retries(&run).iter().map(|retry| retry["class"].clone()).collect();
        assert_eq!(classes, ["shrink", "shrink"], "{strategy}");
        assert_eq!(dump(&sandbox.target_url(), "SELECT * FROM statement"), b"50\n50\n50\n50\n", "{strategy}");
    }
}

/// A sandbox whose target is reached through a proxy, has a ledger, and would keep a book that arrives twice.
async fn through_proxy() -> (Sandbox, Proxy) {
    let sandbox = Sandbox::with_books(120).await;
    let first = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    execute(&sandbox.target_url(), r#"DROP INDEX "Book_isbn10_key", "Book_isbn13_key""#).await;
    let proxy = Proxy::start(SERVERS.target.port()).await;
    sandbox.set_urls(&sandbox.source_url(), &proxy.through(&sandbox.target_url()));
    (sandbox, proxy)
}

const BATCHES: [&str; 2] = ["--batch-size", "20"];

/// Where a run writes, in messages from its start: after the ledger has its row, before COMMIT of the last batch.
async fn writing(sandbox: &Sandbox, proxy: &Proxy, strategy: &str) -> (u64, u64) {
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
    let (sandbox, proxy) = through_proxy().await;
    for strategy in STRATEGIES {
        let (from, to) = writing(&sandbox, &proxy, strategy).await;
        for part in 0..5 {
            proxy.cut_at(proxy.messages() + from + (to - from) * part / 5);
            let run = sync(&sandbox, strategy, &BATCHES).await;
            check_verified(&sandbox, &run).await;
            let retries = retries(&run);
            assert!(!retries.is_empty(), "{strategy}, part {part}: {run:?}");
            assert_eq!(run.json_end()["retries"], retries.len());
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated() {
    let (sandbox, proxy) = through_proxy().await;
    // `atomic` has one COMMIT; `batched` that of the deletion and those of six batches.
    for (strategy, commits) in [("atomic", &[1][..]), ("batched", &[1, 2, 4, 7])] {
        for commit in commits {
            proxy.lose_answer_to_commit(proxy.commits() + commit);
            let run = sync(&sandbox, strategy, &BATCHES).await;
            check_verified(&sandbox, &run).await;
            let retries = retries(&run);
            let classes: Vec<_> = retries.iter().map(|retry| &retry["class"]).collect();
            assert_eq!(classes, ["ambiguous"], "{strategy}, COMMIT {commit}: {run:?}");
            let counts = &run.json_end()["counts"];
            assert_eq!((&counts["deleted"], &counts["inserted"]), (&120.into(), &120.into()), "{run:?}");
        }
    }
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
        assert_eq!(unchanged, strategy == "atomic", "{run:?}");
    }
}
