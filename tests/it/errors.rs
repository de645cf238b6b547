//! What goes wrong before the first write: the message, its cause, the state, the hint and the exit code, at once and
//! without a secret.

use std::fs;
use std::time::Duration;

use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{READER, SERVERS, as_role, connect, execute};

/// Stands where a password stands; in no other text.
const SECRET: &str = "hunter2-hunter2";

/// A retry would outlast every test.
const AT_ONCE: [&str; 5] = ["sync", "--retry-delay", "1h", "--connect-timeout", "20s"];

/// Runs `sync` with `arguments` for people and for programs. Both end with `code`; what people see on stderr.
async fn check(sandbox: &Sandbox, arguments: &[&str], code: i32) -> String {
    let arguments = [&AT_ONCE, arguments].concat();
    let json = [&arguments[..], &["--output", "json"]].concat();
    let (for_people, for_programs) = tokio::join!(run(sandbox, &arguments), run(sandbox, &json));
    assert_eq!(
        (for_people.code, for_programs.code),
        (Some(code), Some(code)),
        "{for_people:?}\n{for_programs:?}"
    );
    assert_eq!(for_people.stdout, "");
    for said in [&for_people.stderr, &for_programs.stderr, &for_programs.stdout] {
        assert!(!said.contains(SECRET), "{said}");
    }
    assert!(!for_programs.stdout.contains(r#""event":"retry""#), "{for_programs:?}");
    assert_eq!(for_programs.stdout.matches(r#""event":"end""#).count(), 1, "{for_programs:?}");
    let end = for_programs.json_end();
    assert_eq!(end["exit_code"], code);
    assert_eq!(end["outcome"], outcome(code));
    assert!(end["retries"].is_null() || end["retries"] == 0, "{end}");
    // What a program is told is what people see.
    let told = [&end["error"]["message"], &end["error"]["hint"], &end["error"]["state"]];
    for text in
        told.into_iter().chain(end["error"]["causes"].as_array().unwrap()).filter_map(|text| text.as_str())
    {
        assert!(for_people.stderr.contains(text), "{text} is not in {}", for_people.stderr);
    }
    sandbox.redacted(&for_people.stderr)
}

async fn run(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    tokio::time::timeout(Duration::from_mins(1), sandbox.run(arguments)).await.unwrap()
}

fn outcome(code: i32) -> &'static str {
    match code {
        2 => "failed",
        3 => "refused",
        6 => "unreachable",
        8 => "declined",
        other => panic!("no error of this module ends with {other}"),
    }
}

/// The same URL with another password.
fn with_password(url: &str, password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

#[tokio::test]
async fn a_wrong_password() {
    let sandbox = Sandbox::with_books(1).await;
    sandbox.set_urls(&with_password(&sandbox.source_url(), SECRET), &sandbox.target_url());
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @r#"
    error: could not connect to the source, DB at 127.0.0.1:SOURCE
    caused by: password authentication failed for user "reader" (SQLSTATE 28P01)

    hint: check user and password in `DIR/.env.production`
    "#);
    sandbox.set_urls(&sandbox.source_url(), &with_password(&sandbox.target_url(), SECRET));
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @r#"
    error: could not connect to the target, DB at 127.0.0.1:TARGET
    caused by: password authentication failed for user "developer" (SQLSTATE 28P01)

    hint: check user and password in `DIR/.env`
    "#);
}

#[tokio::test]
async fn an_unknown_host() {
    let sandbox = Sandbox::with_books(1).await;
    let url = format!("postgres://reader:{SECRET}@no-such-host.invalid/penumbra");
    sandbox.set_urls(&url, &sandbox.target_url());
    let said = check(&sandbox, &[], 6).await;
    // The resolver has its own words.
    let (before, after) = said.split_once("unknown host: ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    insta::assert_snapshot!(format!("{before}unknown host: WHY\n{after}"), @"
    error: could not connect to the source, penumbra at no-such-host.invalid
    caused by: unknown host: WHY

    hint: check host and port in `DIR/.env.production`, and that the server runs and is reachable
    ");
}

#[tokio::test]
async fn nothing_listening() {
    let sandbox = Sandbox::with_books(1).await;
    sandbox.set_urls(&sandbox.source_url(), &format!("postgres://developer:{SECRET}@127.0.0.1:1/penumbra"));
    insta::assert_snapshot!(check(&sandbox, &[], 6).await, @"
    error: could not connect to the target, penumbra at 127.0.0.1:1
    caused by: connection refused

    hint: check host and port in `DIR/.env`, and that the server runs and is reachable
    ");
}

#[tokio::test]
async fn a_missing_database() {
    let sandbox = Sandbox::with_books(1).await;
    let elsewhere = as_role(&SERVERS.source.url("no_such_database"), READER);
    sandbox.set_urls(&elsewhere, &sandbox.target_url());
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @r#"
    error: could not connect to the source, no_such_database at 127.0.0.1:SOURCE
    caused by: database "no_such_database" does not exist (SQLSTATE 3D000)

    hint: check the database's name in `DIR/.env.production`
    "#);
}

#[tokio::test]
async fn a_missing_table() {
    let sandbox = Sandbox::with_books(1).await;
    execute(&sandbox.target_admin_url(), r#"DROP TABLE "Book" CASCADE"#).await;
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @r#"
    error: could not use the target, DB at 127.0.0.1:TARGET
    caused by: there is no table `"Book"` in its schema `public`

    state: nothing was written
    hint: bring the schema up to date with the application's migrations (`prisma migrate deploy`)
    "#);
    execute(&sandbox.source_admin_url(), r#"DROP TABLE "Book" CASCADE"#).await;
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @r#"
    error: could not use the source, DB at 127.0.0.1:SOURCE
    caused by: there is no table `"Book"` in its schema `public`

    state: `"Book"` is unchanged
    hint: check that the URL names production's database, and its `schema` parameter
    "#);
}

#[tokio::test]
async fn a_role_that_may_not_read_books() {
    let sandbox = Sandbox::with_books(1).await;
    execute(&sandbox.source_admin_url(), r#"REVOKE SELECT ON "Book" FROM reader"#).await;
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @r#"
    error: could not look at the source, DB at 127.0.0.1:SOURCE
    caused by: permission denied for table Book (SQLSTATE 42501)

    state: `"Book"` is unchanged
    hint: grant the role `reader` SELECT on `"Book"`; the README has the SQL for a role that may only that
    "#);
}

#[tokio::test]
async fn a_missing_env_file_or_key() {
    let sandbox = Sandbox::with_books(1).await;
    fs::write(sandbox.directory().join(".env"), format!("OTHER={SECRET}\n")).unwrap();
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @"
    error: could not read the target's URL from `DIR/.env`
    caused by: it has no `DEWEY_DB_DATABASE_URL`, or an empty one

    hint: add `DEWEY_DB_DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env`, or set `DEWEY_TARGET_DATABASE_URL`
    ");
    fs::remove_file(sandbox.directory().join(".env.production")).unwrap();
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @"
    error: could not read `DIR/.env.production`
    caused by: there is no such file

    hint: add `DEWEY_DB_DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env.production`, or set `DEWEY_SOURCE_DATABASE_URL`
    ");
}

#[tokio::test]
async fn urls_that_are_spoken_to_over_http() {
    let sandbox = Sandbox::with_books(1).await;
    sandbox.set_urls(&format!("http://reader:{SECRET}@db.example.org/penumbra"), &sandbox.target_url());
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @"
    error: could not use the source's URL from `DIR/.env.production`
    caused by: it is a `http:` URL

    hint: write `postgres://USER:PASSWORD@HOST:5432/DATABASE`
    ");
    let prisma = format!("prisma+postgres://accelerate.prisma-data.net/?api_key={SECRET}");
    sandbox.set_urls(&prisma, &sandbox.target_url());
    insta::assert_snapshot!(check(&sandbox, &[], 2).await, @"
    error: could not use the source's URL from `DIR/.env.production`
    caused by: it is a Prisma URL, which is spoken to over HTTP

    hint: add `DEWEY_DB_DIRECT_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env.production`
    ");
}

#[tokio::test]
async fn a_password_with_a_raw_at_sign_works_as_with_prisma() {
    let sandbox = Sandbox::with_books(1).await;
    let role = format!("{}_at", sandbox.database);
    let grant = format!(
        r#"CREATE ROLE {role} LOGIN PASSWORD 'with@{SECRET}@sign'; GRANT SELECT ON "Book" TO {role}"#
    );
    execute(&sandbox.source_admin_url(), &grant).await;
    let address = format!("127.0.0.1:{}/{}", SERVERS.source.port(), sandbox.database);
    let url = |password: &str| format!("postgres://{role}:{password}@{address}");

    sandbox.set_urls(&url(&format!("with@{SECRET}@sign")), &sandbox.target_url());
    let synced = run(&sandbox, &["sync", "--yes"]).await;
    assert_eq!(synced.code, Some(0), "{synced:?}");

    sandbox.set_urls(&url(&format!("with@{SECRET}@sigh")), &sandbox.target_url());
    let said = check(&sandbox, &["--yes"], 2).await;
    assert!(!said.contains("with") && !said.contains("sigh"), "{said}");
    insta::assert_snapshot!(said, @r#"
    error: could not connect to the source, DB at 127.0.0.1:SOURCE
    caused by: password authentication failed for user "DB_at" (SQLSTATE 28P01)

    hint: check user and password in `DIR/.env.production`
    "#);
}

#[tokio::test]
async fn a_user_that_is_no_user() {
    let sandbox = Sandbox::with_books(1).await;
    insta::assert_snapshot!(check(&sandbox, &["--user-id", "0"], 2).await, @"
    error: invalid value '0' for '--user-id <N>': 0 is not in 1..=2147483647

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&sandbox, &["--user-id", "-1"], 2).await, @"
    error: invalid value '-1' for '--user-id <N>': -1 is not in 1..=2147483647

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&sandbox, &["--user-id", "abc"], 2).await, @"
    error: invalid value 'abc' for '--user-id <N>': invalid digit found in string

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&sandbox, &["--user-id", "4711"], 2).await, @r#"
    error: could not give the books to the user with id 4711
    caused by: the target has no such user

    state: `"Book"` is unchanged
    hint: `dewey-sync users` lists the users, `dewey-sync users add` creates one
    "#);
    insta::assert_snapshot!(check(&sandbox, &["--user-email", "nobody@example.org"], 2).await, @r#"
    error: could not give the books to the user with e-mail `nobody@example.org`
    caused by: the target has no such user

    state: `"Book"` is unchanged
    hint: `dewey-sync users` lists the users, `dewey-sync users add` creates one
    "#);
    let url = format!("postgres://reader:{SECRET}@db.example.org/penumbra");
    insta::assert_snapshot!(check(&sandbox, &["--user-id", &url], 2).await, @"
    error: invalid value 'postgres://…' for '--user-id <N>': invalid digit found in string

    For more information, try '--help'.
    ");
    execute(&sandbox.target_url(), r#"DELETE FROM "User""#).await;
    insta::assert_snapshot!(check(&sandbox, &["--yes"], 2).await, @r#"
    error: could not find an owner for the books
    caused by: the target has no users

    state: `"Book"` is unchanged
    hint: log in once in the application, or run `dewey-sync users add --email you@example.org`
    "#);
}

#[tokio::test]
async fn several_users_and_nobody_to_ask() {
    let sandbox = Sandbox::with_books(1).await;
    let mut connection = connect(&sandbox.target_url()).await;
    dewey_sync::demo::books::add_developer(&mut connection, "bob@example.org").await.unwrap();
    insta::assert_snapshot!(check(&sandbox, &["--yes"], 8).await, @r#"
    error: could not choose among the target's users
    caused by: there are 2 of them and nobody can be asked

    state: `"Book"` is unchanged
    hint: add `--user-id N` or `--user-email EMAIL`; `dewey-sync users` lists them
    "#);
}

#[tokio::test]
async fn a_question_and_nobody_to_ask() {
    let sandbox = Sandbox::with_books(1).await;
    insta::assert_snapshot!(check(&sandbox, &[], 8).await, @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    error: could not ask whether to change the target's books
    caused by: there is no terminal to ask on

    state: `"Book"` is unchanged
    hint: add `--yes` to answer beforehand, or `--dry-run` to look first
    "#);
}

#[tokio::test]
async fn a_time_that_no_server_takes_is_refused_before_anything_is_removed() {
    let sandbox = Sandbox::new().await;
    for (option, time) in [("--batch-timeout", "7d"), ("--batch-timeout", "0s"), ("--connect-timeout", "1us")]
    {
        let run = sandbox.run(&["sync", "--yes", option, time]).await;
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("not between 100ms and 1h"), "{run:?}");
    }
}
