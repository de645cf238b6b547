//! Nobody waits for an early fill that waits for batches itself: it is given up, and the run comes to the same end.

use serde_json::json;
use sqlx::Connection;

use crate::fill_ahead::{Held, book_of_the_application, is_as_the_source, stop_stage};
use crate::support::deadline::PATIENCE;
use crate::support::inspect::{BOOKS, dump};
use crate::support::servers::{connect, execute};

/// What is filled ahead has books, and waits for a batch that is held on its way to the stage.
async fn filled() -> Held {
    let mut held = Held::with(&stop_stage(), &["1"]).await;
    held.let_go(1).await;
    held.until_reached(2);
    let writes =
        r#"SELECT count(*) FROM pg_locks WHERE relation = '"Book"'::regclass AND mode = 'RowExclusiveLock'"#;
    held.until(writes, |writing| writing == "1");
    held
}

/// The run comes to its end as if nothing had been in its way.
async fn ends_well(held: Held, change: &str) {
    let (code, end, sandbox) = held.go_on().await;
    let outcome = (code, &end["outcome"], &end["retries"]);
    assert_eq!(outcome, (Some(0), &json!("verified"), &json!(0)), "{change}: {end}");
    is_as_the_source(&sandbox);
}

#[tokio::test]
async fn whoever_changes_what_is_filled_does_not_wait_for_a_batch() {
    for change in [
        "",
        r#"ALTER TABLE "User" ADD nickname text"#,
        r#"ALTER TABLE "Book" ADD shelf text"#,
        r#"CREATE INDEX ON "Book" (language)"#,
        r#"BEGIN; LOCK TABLE "User" IN ACCESS EXCLUSIVE MODE; LOCK TABLE "Book" IN SHARE MODE; COMMIT"#,
    ] {
        let held = filled().await;
        let book = dump(&held.sandbox.source_admin_url(), r#"SELECT isbn13 FROM "Book" WHERE id = 3"#);
        let book = book_of_the_application(String::from_utf8(book).unwrap().trim());
        let change = if change.is_empty() { &book } else { change };
        // All the time the batch is held.
        let change = format!("SET lock_timeout = '{}s'; {change}", PATIENCE.as_secs());
        execute(&held.sandbox.target_admin_url(), &change).await;
        held.until_staged("6");
        ends_well(held, &change).await;
    }
}

/// It comes before later batches, so that these wait for what is filled as well.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_a_table_of_the_batches_comes_between_them() {
    for table in ["dewey_sync.stage", "dewey_sync.stage_checkpoint", "dewey_sync.run"] {
        let held = filled().await;
        let (target, rewrite) = (held.sandbox.target_admin_url(), format!("VACUUM FULL {table}"));
        let rewriting = tokio::spawn(async move { execute(&target, &rewrite).await });
        let waits =
            format!("SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND NOT granted");
        held.until(&waits, |waiting| waiting == "1");
        ends_well(held, table).await;
        tokio::time::timeout(PATIENCE, rewriting).await.expect("it hangs").unwrap();
    }
}

#[tokio::test]
async fn batches_are_staged_while_the_users_are_locked() {
    let mut held = filled().await;
    let mut other = connect(&held.sandbox.target_admin_url()).await;
    let lock = format!(
        r#"SET lock_timeout = '{}s'; BEGIN; LOCK TABLE "User" IN ACCESS EXCLUSIVE MODE"#,
        PATIENCE.as_secs()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut other).await.unwrap();
    held.let_go(2).await;
    held.until_staged("10");
    other.close().await.unwrap();
    ends_well(held, "locked").await;
}

#[tokio::test]
async fn users_that_are_emptied_meanwhile_end_the_run() {
    let held = filled().await;
    let empty = format!(r#"SET lock_timeout = '{}s'; TRUNCATE "User" CASCADE"#, PATIENCE.as_secs());
    execute(&held.sandbox.target_admin_url(), &empty).await;
    let (code, end, sandbox) = held.go_on().await;
    assert_eq!((code, &end["outcome"]), (Some(2), &json!("failed")), "{end}");
    assert!(end["error"]["causes"][0].as_str().unwrap().contains("the user was removed"), "{end}");
    assert_eq!(dump(&sandbox.target_admin_url(), BOOKS), b"");
}

/// Without that, the server would end one of the two that wait for each other, and as a rule the one that came last.
#[tokio::test]
async fn an_application_that_has_the_next_book_does_not_lose_its_transaction() {
    let mut held = Held::with(&stop_stage(), &["1"]).await;
    let [first, next] = [3, 150].map(|id| {
        let isbn13 = format!(r#"SELECT isbn13 FROM "Book" WHERE id = {id}"#);
        let isbn13 = String::from_utf8(dump(&held.sandbox.source_admin_url(), &isbn13)).unwrap();
        book_of_the_application(isbn13.trim())
    });
    let mut application = connect(&held.sandbox.target_admin_url()).await;
    let book = format!("BEGIN; {}", next.replace("'own'", "'next'"));
    sqlx::raw_sql(sqlx::AssertSqlSafe(book)).execute(&mut application).await.unwrap();
    held.let_go(1).await;
    let has_met = r#"SELECT count(*) FILTER (WHERE l.locktype = 'transactionid' AND NOT l.granted) > 0
          OR count(*) FILTER (WHERE l.relation = '"Book"'::regclass) = 0
        FROM pg_locks l JOIN pg_stat_activity USING (pid)
        WHERE datname = current_database() AND application_name LIKE 'dewey-sync%'"#;
    held.until(has_met, |met| met == "t");
    let book = format!("{first}; COMMIT");
    sqlx::raw_sql(sqlx::AssertSqlSafe(book)).execute(&mut application).await.unwrap();
    let (code, end, sandbox) = held.go_on().await;
    let outcome = (code, &end["outcome"], &end["counts"]["updated"]);
    assert_eq!(outcome, (Some(0), &json!("verified"), &json!(2)), "{end}");
    is_as_the_source(&sandbox);
}
