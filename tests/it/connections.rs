//! The ways to a server that people have besides TCP to a plain name, and passwords of any characters.

use std::fmt::Write as _;
use std::net::TcpListener;

use dewey_sync::demo::books::{SCHEMA, add_developer};
use dewey_sync::demo::server::Server;

use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::say;
use crate::support::servers::{DEVELOPER, DEVELOPER_EMAIL, READER, SERVERS, connect, execute, options};

/// Syncs, and sees that it did.
async fn check(sandbox: &Sandbox, introduced: &str) {
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let said = sandbox.redacted(&run.stderr);
    assert!(said.contains(introduced), "{said}");
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
}

#[tokio::test]
async fn either_side_may_be_behind_a_socket() {
    let sandbox = Sandbox::new().await;
    let database = &sandbox.database;
    let socket = |server: &Server| server.directory().display().to_string();
    let source = format!(
        "postgres://{READER}@/{database}?host={}&port={}",
        socket(&SERVERS.source),
        SERVERS.source.port()
    );
    let target = format!(
        "postgres://{DEVELOPER}:{DEVELOPER}@{}:{}/{database}?sslmode=require",
        socket(&SERVERS.target).replace('/', "%2F"),
        SERVERS.target.port()
    );
    sandbox.set_urls(&source, &target);
    check(&sandbox, &format!("target  DB at {}:TARGET  PostgreSQL N", socket(&SERVERS.target))).await;
}

#[tokio::test]
async fn a_host_may_be_an_address_of_ipv6() {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        return say(&format!("not tested: this machine has no IPv6: {error}"));
    }
    let server = Server::start(&options().setting("listen_addresses", "127.0.0.1, ::1")).unwrap();
    let admin = server.url("postgres");
    execute(&admin, SCHEMA).await;
    add_developer(&mut connect(&admin).await, DEVELOPER_EMAIL).await.unwrap();
    let sandbox = Sandbox::new().await;
    sandbox.set_urls(&sandbox.source_url(), &admin.replace("127.0.0.1", "[::1]"));
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains(&format!("postgres at [::1]:{}", server.port())), "{run:?}");
    assert_eq!(dump(&admin, BOOKS), dump(&sandbox.source_url(), BOOKS));
}

/// Characters that URLs, shells, SQL and env files give a meaning, and those that SCRAM's preparation maps to others.
const PASSWORDS: [&str; 8] = [
    r#"p@ss:w/o?r#d%20&=+$HOME'"\`{}[]|^~;,<>!*()"#,
    " spaces around ",
    "-- 'x'; DROP ROLE",
    "ünïcödé-日本語-пароль",
    "no\u{a0}break and soft\u{ad}hyphen",
    "\u{fb01}ligature, \u{ff21}fullwidth, \u{2168}",
    "e\u{301} is \u{e9}",
    "%25%40%2F",
];

fn percent_encoded(password: &str) -> String {
    password.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").unwrap();
        text
    })
}

/// Lets `role` log in with `password`, which the server keeps as SCRAM does.
async fn set_password(sandbox: &Sandbox, role: &str, password: &str) {
    let sql = format!("ALTER ROLE {role} PASSWORD '{}'", password.replace('\'', "''"));
    execute(&sandbox.source_admin_url(), &sql).await;
    let kept = format!("SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = '{role}'");
    assert_eq!(dump(&sandbox.source_admin_url(), &kept), b"SCRAM-SHA-256$\n");
}

#[tokio::test]
async fn a_password_may_have_any_characters() {
    let sandbox = Sandbox::with_books(1).await;
    let role = format!("{}_odd", sandbox.database);
    let create = format!(r#"CREATE ROLE {role} LOGIN; GRANT SELECT ON "Book" TO {role}"#);
    execute(&sandbox.source_admin_url(), &create).await;
    let at = format!("127.0.0.1:{}/{}", SERVERS.source.port(), sandbox.database);
    let long = "long ".repeat(200);
    for password in PASSWORDS.into_iter().chain([long.as_str()]) {
        set_password(&sandbox, &role, password).await;
        let url = format!("postgres://{role}:{}@{at}", percent_encoded(password));
        sandbox.set_urls(&url, &sandbox.target_url());
        let run = sandbox.run(&["sync", "--dry-run"]).await;
        assert_eq!(run.code, Some(0), "{password}: {run:?}");
    }
    // PostgreSQL takes such a password as it is, the driver does not.
    set_password(&sandbox, &role, "crab \u{1f980}").await;
    sandbox.set_urls(&format!("postgres://{role}:crab%20%F0%9F%A6%80@{at}"), &sandbox.target_url());
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(sandbox.redacted(&run.stderr), @"
    error: could not connect to the source, DB at 127.0.0.1:SOURCE
    caused by: user or password have a character that the driver cannot send, such as an emoji

    hint: check the URL in `DIR/.env.production`
    ");
}
