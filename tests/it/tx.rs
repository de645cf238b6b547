//! A transaction of ours commits only what came through whole, because PostgreSQL answers COMMIT of a failed one with
//! ROLLBACK and the driver does not report it.

use std::time::Duration;

use dewey_sync::config::{self, Locations};
use dewey_sync::postgres::{Origin, Server, Target};
use futures_util::StreamExt;
use sea_orm::{ConnectionTrait, DbBackend, Statement, StreamTrait};
use sqlx::Row;

use crate::support::servers::{DEVELOPER, SERVERS, connect, execute};

const LIMIT: Duration = Duration::from_secs(20);

/// A target of its own with an empty table of numbers.
async fn target() -> (Target, String) {
    let url = SERVERS.create_empty_target().await;
    execute(&url, "CREATE TABLE number (n integer PRIMARY KEY)").await;
    let environment = [("DEWEY_TARGET_DATABASE_URL", url.clone())].into_iter().collect();
    let endpoint = config::target(&Locations::default(), &environment).unwrap();
    (Target::new(Server::new(endpoint, "dewey-sync test".into(), None)), url)
}

/// The numbers that were committed.
async fn numbers(url: &str) -> Vec<i32> {
    let rows = sqlx::query("SELECT n FROM number ORDER BY n").fetch_all(&mut connect(url).await).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

fn statement(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, sql)
}

#[tokio::test]
async fn what_came_through_is_committed_and_its_connection_used_again() {
    let (target, url) = target().await;
    let mut pids = Vec::new();
    for n in 1..=2 {
        let (tx, rows) = target.write(LIMIT, "SELECT pg_backend_pid()").await.unwrap();
        pids.push(rows[0].get::<i32, _>(0));
        assert_eq!(tx.execute_simple(&format!("INSERT INTO number VALUES ({n})")).await.unwrap(), 1);
        assert_eq!(tx.execute_raw(statement("UPDATE number SET n = n")).await.unwrap().rows_affected(), n);
        assert_eq!(tx.query_all_raw(statement("SELECT n FROM number")).await.unwrap().len() as u64, n);
        let one = tx.query_one_raw(statement("SELECT max(n) AS n FROM number")).await.unwrap().unwrap();
        assert_eq!(u64::try_from(one.try_get::<i32>("", "n").unwrap()), Ok(n));
        tx.commit().await.unwrap();
    }
    assert_eq!(numbers(&url).await, [1, 2]);
    assert_eq!(pids[0], pids[1]);
}

#[tokio::test]
async fn a_transaction_that_failed_refuses_to_commit_whatever_came_after() {
    let (target, url) = target().await;
    for failing in ["INSERT INTO number VALUES (1)", "SELECT 1 / 0", "no SQL"] {
        let (tx, _) = target.write(LIMIT, "").await.unwrap();
        tx.execute_simple("INSERT INTO number VALUES (1)").await.unwrap();
        // Whichever way it is sent.
        if failing == "SELECT 1 / 0" {
            tx.query_one_raw(statement(failing)).await.unwrap_err();
        } else {
            tx.execute_raw(statement(failing)).await.unwrap_err();
        }
        let fault = tx.commit().await.unwrap_err();
        assert!(!fault.at_commit, "{failing}: nothing was sent");
        assert_eq!(numbers(&url).await, [0; 0], "{failing}");
    }
    // The next one has a connection that nothing is left of.
    let (tx, _) = target.write(LIMIT, "INSERT INTO number VALUES (3)").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(numbers(&url).await, [3]);
}

#[tokio::test]
async fn an_await_that_was_dropped_before_its_answer_poisons_the_transaction() {
    let (target, url) = target().await;
    let (tx, _) = target.write(LIMIT, "INSERT INTO number VALUES (1)").await.unwrap();
    let slow = tx.simple("SELECT pg_sleep(60)");
    tokio::time::timeout(Duration::from_millis(50), slow).await.unwrap_err();
    assert!(tx.commit().await.is_err());
    assert_eq!(numbers(&url).await, [0; 0]);
}

#[tokio::test]
async fn a_stream_poisons_the_transaction_unless_it_is_read_to_its_end() {
    let (target, url) = target().await;
    for (read, committed) in [(3, true), (2, false)] {
        let (tx, _) = target.write(LIMIT, "INSERT INTO number VALUES (1)").await.unwrap();
        let series = statement("SELECT generate_series(1, 2) AS n");
        let mut rows = tx.stream_raw(series).await.unwrap();
        for _ in 0..read {
            rows.next().await.transpose().unwrap();
        }
        drop(rows);
        assert_eq!(tx.commit().await.is_ok(), committed, "{read} of 3 reads");
        assert_eq!(numbers(&url).await.is_empty(), !committed);
        execute(&url, "TRUNCATE number").await;
    }
}

#[tokio::test]
async fn a_transaction_has_its_settings_whatever_the_roles_are() {
    let (target, url) = target().await;
    let name = url.rsplit('/').next().unwrap();
    for setting in [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = 300",
    ] {
        let alter = format!("ALTER ROLE {DEVELOPER} IN DATABASE {name} SET {setting}");
        execute(&SERVERS.target.url("postgres"), &alter).await;
    }
    let shown = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('tcp_keepalives_idle'),
        coalesce(current_setting('client_connection_check_interval', true), 'older than 14')";
    let (tx, rows) = target.write(LIMIT, shown).await.unwrap();
    let settings: Vec<String> = (0..7).map(|at| rows[0].get(at)).collect();
    assert_eq!(settings[..6], ["read committed", "off", "20s", "20s", "80s", "30"]);
    assert!(["1s", "older than 14"].contains(&settings[6].as_str()), "{settings:?}");
    tx.execute_then_limit("SELECT 1", Duration::from_secs(7)).await.unwrap();
    let rows = tx.last("SELECT current_setting('statement_timeout')").await.unwrap();
    assert_eq!(rows[0].get::<String, _>(0), "7s");
    let (tx, rows) = target.snapshot(LIMIT, shown).await.unwrap();
    let settings: Vec<String> = (0..2).map(|at| rows[0].get(at)).collect();
    assert_eq!(settings, ["repeatable read", "on"]);
    tx.rollback().await;
}

#[tokio::test]
async fn an_answer_is_waited_for_as_long_as_the_last_limit_says() {
    let (target, _) = target().await;
    let (tx, _) = target.write(LIMIT, "").await.unwrap();
    // The server's own time-out stays, so that ours is the one that is over.
    tx.limit(Duration::from_millis(1));
    let fault = tx.simple("SELECT pg_sleep(60)").await.unwrap_err();
    assert_eq!(fault.origin, Origin::Deadline);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_or_rolled_back_changes_nothing() {
    let (target, url) = target().await;
    let insert = "INSERT INTO number VALUES (1)";
    drop(target.write(LIMIT, insert).await.unwrap());
    target.write(LIMIT, insert).await.unwrap().0.rollback().await;
    target.write(LIMIT, insert).await.unwrap().0.last("SELECT 1").await.unwrap();
    assert_eq!(numbers(&url).await, [0; 0]);
    assert!(target.once(LIMIT, "INSERT INTO number VALUES (1) RETURNING n").await.unwrap().len() == 1);
    assert_eq!(numbers(&url).await, [1]);
}

#[tokio::test]
async fn the_last_statements_come_with_the_commit_and_stop_it_when_they_fail() {
    let (target, url) = target().await;
    for (last, committed) in
        [("INSERT INTO number VALUES (2)", true), ("INSERT INTO number VALUES (1)", false)]
    {
        let (tx, _) = target.write(LIMIT, "INSERT INTO number VALUES (1)").await.unwrap();
        let done = tx.commit_after(last).await;
        // The server's answer is about the statement, and definite.
        let state = done.as_ref().err().map(|fault| (fault.at_commit, fault.sqlstate().unwrap()));
        assert_eq!(state, (!committed).then_some((true, "23505")), "{last}");
        assert_eq!(numbers(&url).await.as_slice(), if committed { &[1, 2][..] } else { &[] });
        execute(&url, "TRUNCATE number").await;
    }
    let (tx, _) = target.write(LIMIT, "INSERT INTO number VALUES (1)").await.unwrap();
    tx.simple("SELECT 1 / 0").await.unwrap_err();
    assert!(!tx.commit_after("SELECT 1").await.unwrap_err().at_commit, "nothing was sent");
    assert_eq!(numbers(&url).await, [0; 0]);
}
