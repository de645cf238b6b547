//! A pooler, as hosted services put in front of a database: it refuses start-up options, and most lend the session to
//! somebody else after each transaction.

use dewey_sync::demo::server::Server;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use crate::support::gate::Gate;
use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::pooler::Pooler;
use crate::support::running::{Running, is_batch, until};
use crate::support::sandbox::{Sandbox, WAYS};
use crate::support::servers::{SERVERS, execute};

/// Syncs again and again, each time other titles, so that prepared statements and settings of one client meet those of the next.
async fn check(sandbox: &Sandbox) {
    for call in [
        &["sync", "--yes"][..],
        &["sync", "--yes", "--batch-size", "50"],
        &["sync", "--yes", "--batch-size", "50"],
        &["sync", "--yes", "--strategy", "atomic"],
        &["sync", "--yes", "--strategy", "atomic", "--batch-size", "50"],
        &["sync", "--yes", "--strategy", "batched", "--batch-size", "50"],
        &["sync", "--yes", "--strategy", "batched", "--batch-size", "50", "--engine", "copy"],
        &["verify"],
        &["migrate", "up"],
        &["migrate", "up"],
    ] {
        if call.contains(&"sync") {
            execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        }
        let run = sandbox.run(call).await;
        assert_eq!(run.code, Some(0), "{call:?}: {run:?}");
        assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS), "{call:?}");
    }
}

/// One pooler of this mode in front of each side, for both URLs.
struct Poolers([Pooler; 2]);

impl Poolers {
    fn start(mode: &str, settings: &str) -> Self {
        Self([&SERVERS.source, &SERVERS.target].map(|server| Pooler::start(server, mode, settings)))
    }

    fn urls(&self, sandbox: &Sandbox) -> [String; 2] {
        [self.0[0].through(&sandbox.source_url()), self.0[1].through(&sandbox.target_url())]
    }
}

/// What a session holds that its next client would find. The pooler itself sets the others for each client, and each
/// transaction its own.
const LEFT: &str = "SELECT concat_ws('; ',
    (SELECT string_agg(name || ' = ' || setting, ', ') FROM pg_settings WHERE source = 'session'
       AND name NOT LIKE 'transaction\\_%'
       AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')),
    (SELECT string_agg(name, ', ') FROM pg_prepared_statements))";

/// Nothing is left in the sessions that the pooler keeps open for `url`, where the server has `admin_url`.
async fn nothing_left(url: &str, admin_url: &str) {
    let ours = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let busy = format!(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE {ours} AND state <> 'idle')
           + (SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
              WHERE datname = current_database() AND locktype = 'advisory')"
    );
    until(admin_url, &busy, |busy| busy == "0");
    let sessions = dump(admin_url, &format!("SELECT count(*) FROM pg_stat_activity WHERE {ours}"));
    let sessions: usize = String::from_utf8(sessions).unwrap().trim().parse().unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None).application_name("");
    // As many transactions at once as there are sessions are in all of them.
    let mut clients = Vec::new();
    for _ in 0..sessions {
        let mut client = options.connect().await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut client).await.unwrap();
        let left: String = sqlx::raw_sql(LEFT).fetch_one(&mut client).await.unwrap().get(0);
        assert_eq!(left, "");
        clients.push(client);
    }
    for client in clients {
        client.close().await.unwrap();
    }
}

/// No session that the pooler keeps has a name of ours, by which it could be ended when it is somebody else's.
fn no_name_left(admin_url: &str) {
    let named = "SELECT application_name FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'dewey-sync%'";
    assert_eq!(String::from_utf8(dump(admin_url, named)).unwrap(), "");
}

#[tokio::test]
async fn the_source_may_be_behind_a_pooler() {
    let sandbox = Sandbox::new().await;
    let pooler = Pooler::start(&SERVERS.source, "transaction", "");
    let source = pooler.through(&sandbox.source_url());
    sandbox.set_urls(&source, &sandbox.target_url());
    let run = sandbox.run(&["-v", "sync", "--dry-run"]).await;
    assert!(run.stderr.contains("the source refuses start-up options"), "{run:?}");
    check(&sandbox).await;
    no_name_left(&sandbox.source_admin_url());
    nothing_left(&source, &sandbox.source_admin_url()).await;
}

#[tokio::test]
async fn the_target_may_be_behind_a_pooler() {
    let sandbox = Sandbox::new().await;
    let pooler = Pooler::start(&SERVERS.target, "transaction", "");
    let target = pooler.through(&sandbox.target_url());
    sandbox.set_urls(&sandbox.source_url(), &target);
    let run = sandbox.run(&["-v", "sync", "--dry-run"]).await;
    assert!(run.stderr.contains("the target refuses start-up options"), "{run:?}");
    check(&sandbox).await;
    no_name_left(&sandbox.target_admin_url());
    nothing_left(&target, &sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn both_sides_may_be_behind_poolers_that_the_url_tells_of() {
    let sandbox = Sandbox::new().await;
    let poolers = Poolers::start("transaction", "");
    let [source, target] = poolers.urls(&sandbox);
    sandbox.set_urls(&format!("{source}?pgbouncer=true"), &format!("{target}?pgbouncer=true"));
    check(&sandbox).await;
    no_name_left(&sandbox.target_admin_url());
    nothing_left(&target, &sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn both_sides_may_be_behind_poolers_that_do_not_show() {
    let sandbox = Sandbox::new().await;
    let poolers = Poolers::start("transaction", "ignore_startup_parameters = extra_float_digits,options");
    let [source, target] = poolers.urls(&sandbox);
    sandbox.set_urls(&source, &target);
    check(&sandbox).await;
    nothing_left(&source, &sandbox.source_admin_url()).await;
    nothing_left(&target, &sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn either_side_may_be_behind_a_pooler_of_sessions() {
    let sandbox = Sandbox::new().await;
    let poolers = Poolers::start("session", "");
    let [source, target] = poolers.urls(&sandbox);
    for (source, target) in
        [(&source, &sandbox.target_url()), (&sandbox.source_url(), &target), (&source, &target)]
    {
        sandbox.set_urls(source, target);
        execute(&sandbox.target_admin_url(), r#"DELETE FROM "Book""#).await;
        check(&sandbox).await;
    }
    nothing_left(&source, &sandbox.source_admin_url()).await;
    nothing_left(&target, &sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn a_killed_run_leaves_nothing_in_a_pooler() {
    for mode in ["transaction", "session"] {
        let sandbox = Sandbox::new().await;
        let poolers = Poolers::start(mode, "");
        let [source, target] = poolers.urls(&sandbox);
        sandbox.set_urls(&source, &target);
        let migrated = sandbox.run(&["migrate", "up"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let gate = Gate::shut(&sandbox, "dewey_sync.stage", 5, 10).await;
        let call = ["sync", "--yes", "--no-rehearsal", "--batch-size", "10", "--jobs", "1"];
        let mut running = Running::start(&sandbox, &call);
        running.until(is_batch).await;
        running.signal("KILL");
        running.child.wait().await.unwrap();
        gate.open().await;
        nothing_left(&source, &sandbox.source_admin_url()).await;
        nothing_left(&target, &sandbox.target_admin_url()).await;
        let run = sandbox.run(&["sync", "--yes", "--resume", "--lock-wait", "0s"]).await;
        assert_eq!(run.code, Some(0), "{mode}: {run:?}");
        assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS), "{mode}");
    }
}

/// What a run says when the pooler of `server` has these settings.
async fn refused(server: &Server, mode: &str, settings: &str, code: i32) -> String {
    let sandbox = Sandbox::with_books(40).await;
    let pooler = Pooler::start(server, mode, settings);
    if server.port() == SERVERS.source.port() {
        sandbox.set_urls(&pooler.through(&sandbox.source_url()), &sandbox.target_url());
    } else {
        sandbox.set_urls(&sandbox.source_url(), &pooler.through(&sandbox.target_url()));
    }
    let before = tuples(&sandbox.target_admin_url()).await;
    let run = sandbox.run(&["sync", "--yes", "--connect-timeout", "2s"]).await;
    assert_eq!(run.code, Some(code), "{mode} {settings}: {run:?}");
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before, "{mode} {settings}");
    sandbox.redacted(&run.stderr.replace(&pooler.port().to_string(), "POOLER"))
}

#[tokio::test]
async fn a_pooler_that_cannot_serve_a_run_is_found_out_before_any_write() {
    insta::assert_snapshot!(refused(&SERVERS.target, "statement", "", 2).await, @"
    error: could not work through the pooler of the target, DB at 127.0.0.1:POOLER
    caused by: transaction blocks not allowed in statement pooling mode (SQLSTATE 08P01)

    hint: a run needs 3 connections at once, each for a whole transaction: enlarge the pooler's pool, or name the server itself in `DIR/.env`
    ");
    insta::assert_snapshot!(refused(&SERVERS.target, "transaction", "default_pool_size = 2", 6).await, @"
    error: could not work through the pooler of the target, DB at 127.0.0.1:POOLER
    caused by: no answer within 2s

    hint: a run needs 3 connections at once, each for a whole transaction: enlarge the pooler's pool, or name the server itself in `DIR/.env`
    ");
    insta::assert_snapshot!(refused(&SERVERS.target, "session", "max_client_conn = 2", 2).await, @"
    error: could not work through the pooler of the target, DB at 127.0.0.1:POOLER
    caused by: no more connections allowed (max_client_conn) (SQLSTATE 08P01)

    hint: a run needs 3 connections at once, each for a whole transaction: enlarge the pooler's pool, or name the server itself in `DIR/.env`
    ");
    insta::assert_snapshot!(refused(&SERVERS.source, "session", "default_pool_size = 1", 6).await, @"
    error: could not work through the pooler of the source, DB at 127.0.0.1:POOLER
    caused by: no answer within 2s

    hint: a run needs 2 connections at once, each for a whole transaction: enlarge the pooler's pool, or name the server itself in `DIR/.env.production`
    ");
}

#[tokio::test]
async fn the_smallest_pools_suffice() {
    for mode in ["transaction", "session"] {
        let sandbox = Sandbox::new().await;
        let source = Pooler::start(&SERVERS.source, mode, "default_pool_size = 2");
        let target = Pooler::start(&SERVERS.target, mode, "default_pool_size = 3");
        sandbox.set_urls(&source.through(&sandbox.source_url()), &target.through(&sandbox.target_url()));
        for (strategy, engine) in WAYS {
            execute(&sandbox.target_admin_url(), r#"DELETE FROM "Book""#).await;
            let call = ["sync", "--yes", "--batch-size", "50", "--strategy", strategy, "--engine", engine];
            let run = sandbox.run(&call).await;
            assert_eq!(run.code, Some(0), "{mode} {strategy} {engine}: {run:?}");
            assert!(!run.stderr.contains("retry"), "{mode} {strategy} {engine}: {run:?}");
        }
    }
}
