//! What the settings of a server, a database and a role do to a sync, on this machine's servers. `just versions --settings`
//! plays the same on others.

use crate::guards::{OTHER_TITLES, passes};
use crate::support::inspect::{dump, no_session_left};
use crate::support::running::{Running, until_it_waits_for_table};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{DEVELOPER, SERVERS, as_role, connect, execute};
use crate::support::settings::pair::Pair;
use crate::support::settings::{decided, hostile};

#[tokio::test]
async fn every_setting_is_decided() {
    for server in [&SERVERS.source, &SERVERS.target] {
        decided::check_all_known(server).await;
    }
}

#[tokio::test]
async fn every_transaction_has_the_settings_that_are_decided() {
    decided::check_set(&Pair::new(&SERVERS.source, &SERVERS.target, "decided").await).await;
}

#[tokio::test]
async fn hostile_settings_end_in_an_equal_copy_or_a_refusal_that_names_one() {
    let mut pair = Pair::new(&SERVERS.source, &SERVERS.target, "hostile").await;
    hostile::check(&mut pair).await;
}

/// A login that acts for the target's owner from its start, as services give them out whose passwords change; its URL.
async fn acting(sandbox: &Sandbox) -> String {
    let (login, database) = (format!("{}_login", sandbox.database), &sandbox.database);
    let make = format!(
        "CREATE ROLE {login} LOGIN PASSWORD '{login}' NOINHERIT; GRANT {DEVELOPER} TO {login};
         ALTER ROLE {login} SET role = '{DEVELOPER}'; ALTER ROLE {login} IN DATABASE {database} SET role = '{DEVELOPER}'"
    );
    execute(&SERVERS.target.url("postgres"), &make).await;
    as_role(&sandbox.target_admin_url(), &login)
}

#[tokio::test]
async fn a_login_that_acts_for_another_role_writes_as_that_one() {
    let sandbox = Sandbox::with_books(40).await;
    sandbox.set_urls(&sandbox.source_url(), &acting(&sandbox).await);
    passes(&sandbox, &["sync", "--yes"]).await;
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'dewey_sync'";
    assert_eq!(dump(&sandbox.target_admin_url(), owners), format!("{DEVELOPER}\n").into_bytes());
    execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    for call in [&["sync", "--yes"][..], &["undo", "--yes"], &["migrate", "up"], &["doctor"]] {
        passes(&sandbox, call).await;
    }
}

/// The sessions of a run that stands still are the login's, and only it may end them.
#[tokio::test]
async fn a_login_that_acts_for_another_role_takes_over_from_a_run_that_stands_still() {
    let sandbox = Sandbox::with_books(40).await;
    sandbox.set_urls(&sandbox.source_url(), &acting(&sandbox).await);
    let mut holder = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql(r#"BEGIN; LOCK TABLE "Book" IN SHARE MODE"#).execute(&mut holder).await.unwrap();
    let still = Running::start(&sandbox, &["sync", "--yes", "--no-rehearsal", "--strategy", "atomic"]);
    until_it_waits_for_table(&sandbox, r#""Book""#);
    still.signal("STOP");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let lock = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
                WHERE datname = current_database() AND locktype = 'advisory' AND granted";
    execute(&sandbox.target_admin_url(), lock).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    no_session_left(&sandbox.target_admin_url()).await;
}

/// A library that a superuser has every session load, and that is not there.
#[tokio::test]
async fn a_setting_that_ends_every_session_is_named() {
    let sandbox = Sandbox::with_books(1).await;
    let alter = format!("ALTER DATABASE {} SET session_preload_libraries = 'nowhere'", sandbox.database);
    execute(&SERVERS.target.url("postgres"), &alter).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(sandbox.redacted(&run.stderr), @r#"
    error: could not connect to the target, DB at 127.0.0.1:TARGET
    caused by: could not access file "nowhere": No such file or directory (SQLSTATE 58P01)

    hint: the server cannot load a library that `session_preload_libraries` or `local_preload_libraries` names for the role or the database: run `ALTER ROLE "developer" RESET session_preload_libraries`, or the same for `ALTER DATABASE`
    "#);
}
