//! Users are listed and added, and `setup` makes a whole development database.

use serde_json::{Value, json};

use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::redact::masked;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

async fn check(sandbox: &Sandbox, call: &[&str], code: i32) -> Run {
    let run = sandbox.run(call).await;
    assert_eq!(run.code, Some(code), "{call:?}: {run:?}");
    run
}

fn users(sandbox: &Sandbox) -> String {
    let users = r#"SELECT id, email, "clerkId", name FROM "User" ORDER BY id"#;
    String::from_utf8(dump(&sandbox.target_admin_url(), users)).unwrap()
}

#[tokio::test]
async fn users_are_listed_for_people_and_programs() {
    let sandbox = Sandbox::new().await;
    check(&sandbox, &["users", "add", "--email", "bob@example.org", "--name", "Bob"], 0).await;
    insta::assert_snapshot!(check(&sandbox, &["users"], 0).await.stdout, @"
         1  ada@example.org
         2  bob@example.org  Bob
    ");
    let for_programs = check(&sandbox, &["users", "--output", "json"], 0).await.stdout;
    insta::assert_snapshot!(masked(&for_programs, "duration_ms\":"), @r#"
    {"email":"ada@example.org","event":"user","id":1,"name":null}
    {"email":"bob@example.org","event":"user","id":2,"name":"Bob"}
    {"event":"end","command":"users","outcome":"listed","exit_code":0,"duration_ms":N,"error":null,"users":2}
    "#);
}

#[tokio::test]
async fn an_added_user_has_the_given_clerk_id_or_one_named_as_made_up() {
    let sandbox = Sandbox::new().await;
    let given = ["users", "add", "--email", "bob@example.org", "--clerk-id", "user_bob"];
    insta::assert_snapshot!(check(&sandbox, &given, 0).await.stdout, @"added user 2, bob@example.org, clerk id user_bob");
    let made_up = check(&sandbox, &["users", "add", "--email", "eve@example.org"], 0).await.stdout;
    let (said, clerk_id) = made_up.split_once("clerk id ").unwrap();
    assert_eq!(said, "added user 3, eve@example.org, ");
    let (clerk_id, warning) = clerk_id.split_once(", ").unwrap();
    assert_eq!(warning, "a made-up one: nobody can log in with it\n");
    assert!(
        users(&sandbox)
            .ends_with(&format!("2\tbob@example.org\tuser_bob\t\\N\n3\teve@example.org\t{clerk_id}\t\\N\n"))
    );

    let by_program = ["users", "add", "--email", "joe@example.org", "--clerk-id", "joe", "--output", "json"];
    let user = json!({ "id": 4, "email": "joe@example.org", "clerk_id": "joe", "clerk_id_generated": false });
    assert_eq!(check(&sandbox, &by_program, 0).await.json_end()["user"], user);
}

#[tokio::test]
async fn an_email_that_is_taken_is_a_usage_error() {
    let sandbox = Sandbox::new().await;
    let before = users(&sandbox);
    let call = ["users", "add", "--email", "ada@example.org"];
    insta::assert_snapshot!(sandbox.redacted(&check(&sandbox, &call, 2).await.stderr), @r#"
    target  DB at 127.0.0.1:TARGET  DIR/.env
    error: could not add the user
    caused by: duplicate key value violates unique constraint "User_email_key" (SQLSTATE 23505)

    state: no user was added
    "#);
    assert_eq!(users(&sandbox), before);
    let end = check(&sandbox, &[&call[..], &["--output", "json"]].concat(), 2).await.json_end();
    assert_eq!((&end["outcome"], &end["exit_code"]), (&Value::from("failed"), &2.into()));
}

#[tokio::test]
async fn a_target_without_users_says_how_to_get_one() {
    let sandbox = Sandbox::new().await;
    execute(&sandbox.target_admin_url(), r#"DELETE FROM "User""#).await;
    let listed = check(&sandbox, &["users"], 0).await.stdout;
    assert!(listed.starts_with("no users yet: log in once in the application, or run"), "{listed}");
}

#[tokio::test]
async fn setup_makes_an_empty_database_ready_and_can_be_repeated() {
    let sandbox = Sandbox::new().await;
    let target = sandbox.target_admin_url();
    execute(&target, "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION developer").await;
    check(&sandbox, &["setup", "--yes", "--email", "eve@example.org"], 0).await;
    assert_eq!(dump(&target, BOOKS), dump(&sandbox.source_url(), BOOKS));
    let made = users(&sandbox);
    assert!(made.starts_with("1\teve@example.org\tdewey_sync_"), "{made}");

    let run = check(&sandbox, &["setup", "--yes", "--output", "json"], 0).await;
    assert_eq!(users(&sandbox), made);
    assert_eq!(dump(&target, BOOKS), dump(&sandbox.source_url(), BOOKS));
    let ends = run.stdout.lines().filter(|line| line.contains(r#""event":"end""#)).count();
    assert_eq!(ends, 1, "{run:?}");
    assert_eq!(run.json_end()["outcome"], "unchanged");
}

#[tokio::test]
async fn a_dry_setup_writes_nothing() {
    let sandbox = Sandbox::new().await;
    let before = tuples(&sandbox.target_admin_url()).await;
    let run = check(&sandbox, &["setup", "--dry-run"], 0).await;
    assert!(run.stdout.contains("Nothing was written."), "{run:?}");
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);
}
