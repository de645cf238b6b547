//! Whoever waits says for whom: on the screen after five seconds, and in the error when it gives up.

use std::time::Duration;

use dewey_sync::demo::books::{SCHEMA, add_developer};
use dewey_sync::demo::server::Server;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use crate::support::deadline::Deadline;
use crate::support::gate::Gate;
use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::pooler::Pooler;
use crate::support::running::{Running, locks, until};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{DEVELOPER, DEVELOPER_EMAIL, SERVERS, connect, execute, options};
use crate::support::terminal::Terminal;

const APPLICATION: &str = "shelf keeper";

/// The server gives up before our own patience is over, and there is time to ask twice.
const BRIEF: [&str; 4] = ["--batch-timeout", "9s", "--max-retries", "0"];

/// A session that has done `sql` in its transaction, and its process.
async fn holder(url: &str, sql: &str) -> (PgConnection, i32) {
    let options: PgConnectOptions = url.parse().unwrap();
    let mut session = options.application_name(APPLICATION).connect().await.unwrap();
    let pid = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(&mut session).await.unwrap().get(0);
    sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {sql}"))).execute(&mut session).await.unwrap();
    (session, pid)
}

fn causes(run: &Run) -> String {
    let end = run.json_end();
    let causes = end["error"]["causes"].as_array().unwrap_or_else(|| panic!("no causes: {run:?}"));
    causes.iter().map(|cause| cause.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

async fn synced() -> Sandbox {
    let sandbox = Sandbox::with_books(40).await;
    let first = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    sandbox
}

async fn sync(sandbox: &Sandbox, strategy: &str, more: &[&str]) -> Run {
    let call = ["sync", "--yes", "--output", "json", "--no-rehearsal", "--strategy", strategy];
    sandbox.run(&[&call, more].concat()).await
}

#[tokio::test]
async fn the_error_of_a_lock_that_was_not_had_names_who_has_it() {
    let sandbox = synced().await;
    let lock = r#"LOCK TABLE "Book" IN SHARE MODE"#;
    // What may be seen of a session depends on whose it is.
    let (own, own_pid) = holder(&sandbox.target_url(), lock).await;
    for strategy in ["staged", "atomic", "batched"] {
        let run = sync(&sandbox, strategy, &BRIEF).await;
        assert_eq!(run.code, Some(5), "{run:?}");
        let causes = causes(&run);
        let named = format!(
            "it waited for a lock on `public.\"Book\"`, blocked by pid {own_pid}, application `{APPLICATION}`, \
             transaction since "
        );
        assert!(causes.contains(&named) && causes.contains(", idle since "), "{strategy}: {causes}");
        assert!(!causes.contains("GRANT"), "{causes}");
        let hint = &run.json_end()["error"]["hint"];
        assert_eq!(
            hint.as_str().is_some_and(|hint| hint.contains("--resume")),
            strategy == "staged",
            "{run:?}"
        );
    }
    own.close().await.unwrap();
    let (_other, other_pid) = holder(&sandbox.target_admin_url(), lock).await;
    let run = sync(&sandbox, "staged", &BRIEF).await;
    let named = format!(
        "blocked by pid {other_pid}, application `{APPLICATION}`; \
         `GRANT pg_read_all_stats TO \"{DEVELOPER}\"` shows since when"
    );
    assert!(causes(&run).contains(&named), "{}", causes(&run));
    execute(&sandbox.target_admin_url(), &format!("GRANT pg_read_all_stats TO {DEVELOPER}")).await;
    let run = sync(&sandbox, "staged", &BRIEF).await;
    execute(&sandbox.target_admin_url(), &format!("REVOKE pg_read_all_stats FROM {DEVELOPER}")).await;
    assert!(causes(&run).contains(", idle since "), "{}", causes(&run));
}

/// It has no session, and stays when its client and even the server have ended.
#[tokio::test]
async fn a_forgotten_prepared_transaction_is_named() {
    let sandbox = synced().await;
    let target = sandbox.target_admin_url();
    let gids = ["changes", "reads"].map(|name| format!("{name}\u{1b}{}", sandbox.database));
    for (gid, sql) in gids.iter().zip([
        r#"UPDATE "Book" SET title = 'mine' WHERE id = (SELECT min(id) FROM "Book")"#,
        r#"SELECT count(*) FROM "Book""#,
    ]) {
        execute(&target, &format!("BEGIN; {sql}; PREPARE TRANSACTION '{gid}'")).await;
    }
    for (strategy, what) in
        [("staged", "a lock on `public.\"Book\"`"), ("batched", "a row that another transaction has written")]
    {
        let run = sync(&sandbox, strategy, &BRIEF).await;
        assert_eq!(run.code, Some(5), "{run:?}");
        let named = format!(
            "it waited for {what}, blocked by prepared transaction `changes\\u{{1b}}{}` of user `postgres`, since ",
            sandbox.database
        );
        let causes = causes(&run);
        assert!(causes.contains(&named), "{named}: {causes}");
        assert!(!causes.contains("reads"), "it is in nobody's way: {causes}");
    }
    for gid in gids {
        execute(&target, &format!("ROLLBACK PREPARED '{gid}'")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_before_us_is_named_with_whom_they_wait_for() {
    let sandbox = synced().await;
    let target = sandbox.target_url();
    let (reader, reading) = holder(&target, r#"LOCK TABLE "Book" IN ACCESS SHARE MODE"#).await;
    let (mut migration, migrating) = holder(&target, "SELECT 1").await;
    let altering = tokio::spawn(async move {
        sqlx::raw_sql(r#"ALTER TABLE "Book" ADD shelf text"#).execute(&mut migration).await.map(drop)
    });
    let waits = locks(r#"relation = '"Book"'::regclass AND NOT granted"#);
    until(&sandbox.target_admin_url(), &waits, |waiting| waiting == "1");
    let run = sync(&sandbox, "staged", &[&BRIEF[..], &["--connect-timeout", "6s"]].concat()).await;
    reader.close().await.unwrap();
    altering.await.unwrap().unwrap();
    let causes = causes(&run);
    let (first, then) = causes.split_once(&format!("blocked by pid {migrating}, ")).expect(&causes);
    assert!(first.contains("it waited for a lock on "), "{causes}");
    assert!(then.contains(", query since "), "{causes}");
    assert!(then.contains(&format!(", which waits for pid {reading}, ")), "{causes}");
}

#[tokio::test]
async fn production_says_as_well_who_has_its_books() {
    let sandbox = Sandbox::with_books(40).await;
    let (_holder, pid) =
        holder(&sandbox.source_admin_url(), r#"LOCK TABLE "Book" IN ACCESS EXCLUSIVE MODE"#).await;
    let run = sync(&sandbox, "staged", &["--connect-timeout", "6s"]).await;
    let named = format!(
        "it waited for a lock on `public.\"Book\"`, blocked by pid {pid}, application `{APPLICATION}`"
    );
    assert!(causes(&run).contains(&named), "{}", causes(&run));
}

/// What else waits for a lock: each with who has it.
#[tokio::test]
async fn every_command_names_who_has_the_lock() {
    let cases: [(&str, &[&str]); 4] = [
        (r#"LOCK TABLE "User" IN SHARE MODE"#, &["users", "add", "--email", "bo@example.org"]),
        ("LOCK TABLE dewey_sync.run IN SHARE MODE", &["migrate", "up"]),
        (
            "LOCK TABLE dewey_sync.run IN SHARE MODE",
            &["sync", "--yes", "--no-rehearsal", "--max-retries", "0"],
        ),
        (
            r#"LOCK TABLE "Book" IN SHARE MODE"#,
            &["undo", "--yes", "--batch-timeout", "9s", "--max-retries", "0"],
        ),
    ];
    join_all(cases.map(async |(lock, call)| {
        let sandbox = synced().await;
        sandbox.set_urls(&sandbox.source_url(), &format!("{}?connect_timeout=6", sandbox.target_url()));
        let (_holder, pid) = holder(&sandbox.target_url(), lock).await;
        let run = sandbox.run(call).await;
        assert_ne!(run.code, Some(0), "{call:?}: {run:?}");
        let named = format!(", blocked by pid {pid}, application `{APPLICATION}`, transaction since ");
        assert!(run.stderr.contains("it waited for a lock on "), "{call:?}: {run:?}");
        assert!(run.stderr.contains(&named), "{call:?}: {run:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_program_and_a_person_are_told_while_it_waits() {
    let sandbox = synced().await;
    let (session, pid) = holder(&sandbox.target_url(), r#"LOCK TABLE "Book" IN SHARE MODE"#).await;
    let mut terminal = Terminal::start(&sandbox, &["sync", "--yes", "--no-rehearsal"]);
    terminal.until("note: the target has waited ").await;
    let told = terminal.until(&format!("application `{APPLICATION}`")).await;
    assert!(told.contains(&format!("blocked by pid {pid}")), "{told}");
    session.close().await.unwrap();
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");

    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    let (session, pid) = holder(&sandbox.target_url(), r#"LOCK TABLE "Book" IN SHARE MODE"#).await;
    let mut run = Running::start(&sandbox, &["sync", "--yes", "--no-rehearsal"]);
    let mut told = Value::Null;
    while told["event"] != "waiting" {
        told = run.event().await.expect("the run ended early");
    }
    assert_eq!(told["side"], "target", "{told}");
    assert!((5000..30_000).contains(&told["waited_ms"].as_u64().unwrap()), "{told}");
    assert!(told["awaited"].as_str().unwrap().contains(&format!("blocked by pid {pid}, ")), "{told}");
    session.close().await.unwrap();
    let (code, end, said) = run.end().await;
    assert_eq!((code, &end["retries"]), (Some(0), &json!(0)), "{end} {said}");
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
}

/// With two workers and the lock, all that this pool lends out is in use: then nobody is asked, and nothing is disturbed.
#[tokio::test]
async fn a_pooler_without_a_connection_to_spare_is_left_alone() {
    let sandbox = synced().await;
    let pools = format!("default_pool_size = 3\nadmin_users = {DEVELOPER}");
    let pooler = Pooler::start(&SERVERS.target, "transaction", &pools);
    let target = pooler.through(&sandbox.target_url());
    sandbox.set_urls(&sandbox.source_url(), &target);
    let gate = Gate::shut(&sandbox, r#""Book""#, 1, 10).await;
    let batches = ["--strategy", "batched", "--batch-size", "10", "--jobs", "2"];
    let call = [&["sync", "--yes", "--no-rehearsal"], &batches[..]].concat();
    let mut run = Running::start(&sandbox, &call);
    Gate::until_reached(&sandbox, 2);
    let mut console: PgConnectOptions = target.parse().unwrap();
    console = console.database("pgbouncer").extra_float_digits(None).application_name("");
    let mut console = console.connect().await.unwrap();
    // The question stands in the pooler's queue.
    let deadline = Deadline::new();
    loop {
        let pools = sqlx::raw_sql("SHOW POOLS").fetch_all(&mut console).await.unwrap();
        let text = |row: &PgRow, column: &str| row.try_get_raw(column).unwrap().as_str().unwrap().to_owned();
        let is_queued =
            |row: &PgRow| text(row, "database") == sandbox.database && text(row, "cl_waiting") != "0";
        if pools.iter().any(is_queued) {
            break;
        }
        deadline.pause("nobody asks");
    }
    gate.open().await;
    let mut told = 0;
    while let Some(event) = run.event().await {
        told += u32::from(event["event"] == "waiting");
        if event["event"] == "end" {
            assert_eq!((&event["exit_code"], &event["retries"]), (&json!(0), &json!(0)), "{event}");
        }
    }
    assert_eq!(told, 0);
    assert!(run.child.wait().await.unwrap().success());
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
}

/// A server that waits for a standby which is not there.
struct Alone {
    server: Server,
    sandbox: Sandbox,
}

impl Alone {
    async fn new() -> Self {
        let server = Server::start(&options()).unwrap();
        let admin = server.url("postgres");
        execute(&admin, SCHEMA).await;
        add_developer(&mut connect(&admin).await, DEVELOPER_EMAIL).await.unwrap();
        let sandbox = Sandbox::with_books(40).await;
        sandbox.set_urls(&sandbox.source_url(), &admin);
        let first = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(first.code, Some(0), "{first:?}");
        execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        execute(&admin, "ALTER SYSTEM SET synchronous_standby_names = 'missing'").await;
        execute(&admin, "SELECT pg_reload_conf()").await;
        let alone = Self { server, sandbox };
        // Until a COMMIT does, which is then left to wait.
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let deadline = Deadline::new();
        while dump(&admin, waits) == b"0\n" {
            let commit = execute(&admin, "CREATE TABLE IF NOT EXISTS waits (); DROP TABLE waits");
            tokio::time::timeout(Duration::from_millis(200), commit).await.ok();
            deadline.pause("no COMMIT waits");
        }
        alone
    }
}

#[tokio::test]
async fn a_standby_that_is_missing_is_named_and_not_waited_for_without_an_end() {
    const NAMED: &str =
        "a synchronous standby: none answers of `synchronous_standby_names`, which is `missing`";
    let alone = Alone::new().await;
    let admin = alone.server.url("postgres");
    let old = dump(&admin, BOOKS);
    let run = sync(&alone.sandbox, "staged", &["--max-retries", "0"]).await;
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(causes(&run).contains(&format!("it waited for {NAMED}")), "{}", causes(&run));
    let mut events = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = events.find(|event| event["event"] == "waiting").unwrap_or_else(|| panic!("{run:?}"));
    assert_eq!((&told["side"], &told["awaited"]), (&json!("target"), &json!(NAMED)), "{told}");
    assert!(dump(&admin, BOOKS) == old);
    // Its locks would stay with it.
    no_session_left(&admin).await;

    execute(&admin, "ALTER SYSTEM RESET synchronous_standby_names").await;
    execute(&admin, "SELECT pg_reload_conf()").await;
    let run = sync(&alone.sandbox, "staged", &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(dump(&admin, BOOKS) == dump(&alone.sandbox.source_url(), BOOKS));
}
