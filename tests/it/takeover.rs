//! Taking over does not wait for those who go on writing: their claims overlap, and would for ever be there first.

use sqlx::{PgConnection, Row};

use crate::support::deadline::Deadline;
use crate::support::sandbox::Sandbox;
use crate::support::servers::{connect, execute};

const CLAIM: &str = "SELECT FROM dewey_sync.run WHERE run_id = 1 FOR SHARE";

#[tokio::test]
async fn a_claim_that_comes_after_a_take_over_waits_for_it() {
    let sandbox = Sandbox::with_books(40).await;
    assert_eq!(sandbox.run(&["sync", "--yes"]).await.code, Some(0));
    let url = sandbox.target_admin_url();
    execute(&url, r#"UPDATE dewey_sync.run SET state = 'running'; UPDATE "Book" SET title = 'old'"#).await;
    let mut writer = connect(&url).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; {CLAIM}"))).execute(&mut writer).await.unwrap();
    let next = tokio::spawn(async move { (sandbox.run(&["sync", "--yes"]).await, sandbox) });
    let mut other = connect(&url).await;
    waits_for_a_lock(&mut other).await;

    let claim = format!("SET lock_timeout = '300ms'; {CLAIM}");
    let claimed = sqlx::raw_sql(sqlx::AssertSqlSafe(claim)).execute(&mut other).await;

    let error = claimed.expect_err("the claim got in before the one who takes over");
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("55P03"));
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    let (run, sandbox) = next.await.unwrap();
    assert_eq!(run.code, Some(0), "{run:?}");
    let history = sandbox.run(&["history", "1"]).await;
    assert!(history.stdout.contains("superseded"), "{history:?}");
}

#[tokio::test]
async fn an_undo_does_not_wait_for_a_stopped_run_that_lost_its_lock() {
    let sandbox = Sandbox::with_books(40).await;
    assert_eq!(sandbox.run(&["sync", "--yes"]).await.code, Some(0));
    let stopped = "INSERT INTO dewey_sync.run (action, state, os_user, host, tool_version, target, target_identity, session, epoch)
        SELECT 'undo', 'running', os_user, host, tool_version, target, target_identity, 'dewey-sync stopped', epoch + 1
        FROM dewey_sync.run";
    execute(&sandbox.target_admin_url(), stopped).await;
    let mut url = url::Url::parse(&sandbox.target_url()).unwrap();
    url.query_pairs_mut().append_pair("application_name", "dewey-sync stopped.1");
    let mut session = connect(url.as_str()).await;
    let holds = r#"BEGIN; LOCK TABLE "Book" IN SHARE ROW EXCLUSIVE MODE"#;
    sqlx::raw_sql(holds).execute(&mut session).await.unwrap();

    let run = sandbox.run(&["undo", "--yes", "--batch-timeout", "500ms", "--max-retries", "0"]).await;

    assert_eq!(run.code, Some(0), "{run:?}");
    let goes_on = sqlx::raw_sql("COMMIT").execute(&mut session).await;
    goes_on.expect_err("the stopped session goes on");
}

/// Until a session of the tool does.
async fn waits_for_a_lock(connection: &mut PgConnection) {
    let deadline = Deadline::new();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name LIKE 'dewey-sync%' AND wait_event_type = 'Lock'";
    while sqlx::query(waiting).fetch_one(&mut *connection).await.unwrap().get::<i64, _>(0) == 0 {
        deadline.pause("nothing waits");
    }
}
