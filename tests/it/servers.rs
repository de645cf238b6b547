//! What the tests stand on holds: servers that leave nothing behind, books that are awkward enough, counts that
//! are exact.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dewey_sync::demo::server::Server;
use sqlx::{Connection, Row};

use crate::support::deadline::Deadline;
use crate::support::inspect::{self, dump, no_session_left, psql, sessions, statements, tuples};
use crate::support::proxy::Proxy;
use crate::support::sandbox::{BOOKS, Run, Sandbox};
use crate::support::say;
use crate::support::servers::{SERVERS, connect, execute, options};

/// Makes the test below hold its server until it is killed.
const HOLD: &str = "DEWEY_TEST_HOLD";

#[test]
fn a_server_answers_until_it_is_dropped_and_leaves_nothing() {
    let server = Server::start(&options()).unwrap();
    let directory = server.directory().to_owned();
    assert_eq!(psql(&server.url("postgres"), "COPY (SELECT 1) TO STDOUT"), b"1\n");

    #[expect(clippy::disallowed_methods, reason = "how `a_killed_process_leaves_no_server` tells its child")]
    if std::env::var_os(HOLD).is_some() {
        say(&format!("\nheld {} {}", server.port(), directory.display()));
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_killed_process_leaves_no_server() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::a_server_answers_until_it_is_dropped_and_leaves_nothing"])
        .env(HOLD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held =
        lines.map(Result::unwrap).find_map(|line| Some(line.strip_prefix("held ")?.to_owned())).unwrap();
    let (port, directory) = held.split_once(' ').unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();

    child.kill().unwrap();
    child.wait().unwrap();

    client.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    // Closed or reset: the server is gone; a time-out would mean that it still listens to its client.
    let ended = client.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(ended, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    assert_vanishes(Path::new(directory));
}

#[test]
fn a_kept_server_lives_until_it_is_shut_down() {
    let server = Server::start(&options()).unwrap();
    let url = server.url("postgres");
    let kept = server.keep().unwrap();
    assert_eq!(psql(&url, "COPY (SELECT 1) TO STDOUT"), b"1\n");
    assert!(Command::new("kill").args(["-INT", &kept.pid.to_string()]).status().unwrap().success());
    assert_vanishes(&kept.directory);
}

#[test]
fn a_killed_server_is_dead_at_once() {
    let mut server = Server::start(&options()).unwrap();
    server.kill().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
}

fn assert_vanishes(directory: &Path) {
    let deadline = Deadline::new();
    while directory.exists() {
        deadline.pause(format_args!("{} is left", directory.display()));
    }
}

#[test]
fn the_two_servers_have_other_defaults_and_are_dumped_alike() {
    let (source, target) = (SERVERS.source.url("postgres"), SERVERS.target.url("postgres"));
    let alike = "SELECT timestamptz '2024-05-06 07:08:09Z', 1.1::float8 / 3, bytea 'x'";
    assert_eq!(dump(&source, alike), dump(&target, alike));
    // What a session has that sets nothing itself, as neither psql here nor sqlx is.
    let defaults = "SELECT max(setting) FILTER (WHERE name = 'timezone'),
                           max(setting) FILTER (WHERE name = 'datestyle')
                    FROM pg_file_settings WHERE applied";
    assert_eq!(dump(&source, defaults), b"UTC\tiso, mdy\n");
    assert_eq!(dump(&target, defaults), b"Australia/Lord_Howe\tGerman\n");
}

#[tokio::test]
async fn the_generated_books_hold_every_awkward_value() {
    let sandbox = Sandbox::with_long_text(BOOKS).await;
    let mut connection = connect(&sandbox.source_url()).await;
    for awkward in [
        r#"title LIKE '%''%"%`%'"#,
        r"strpos(title, '\N, \., \\x41') > 0 AND right(title, 1) = '\'",
        r"title LIKE E'%\n%\r\n%\t%'",
        r"title ~ E'\x01' AND title ~ E'\x7f'",
        r"title ~ E'\u200d' AND title ~ E'\U0001f1e9\U0001f1ea'",
        r"title ~ E'\u202e' AND title ~ E'\u05e9'",
        r"title <> normalize(title, NFC) AND title ~ E'\u00e9'",
        r"title ~ E'\u0130' AND title ~ E'\u0131'",
        r"title ~ E'^\ufeff'",
        r"title ~ E'\uffff' AND title ~ E'\u2028'",
        r"title ~ E'\U0010ffff'",
        "title LIKE '  %  '",
        "title = 'NULL'",
        "title = '' AND publisher = '' AND edition = '' AND synopsis = ''",
        "synopsis = '' AND image = '' AND binding = '' AND language = '' AND \"datePublished\" = ''",
        "authors IS NULL",
        "authors = '{}'",
        "authors = '{NULL}'",
        "subjects = '{\"NULL\"}'",
        "authors[2] IS NULL AND authors[3] IS NOT NULL",
        r#"authors::text = '{"a \"quoted\" name","back\\slash","comma, brace {}"}'"#,
        "authors::text = '[0:1]={NULL,x}'",
        "array_ndims(authors) = 2",
        "edition IS NULL",
        "\"readDate\" IS NULL",
        "\"readDate\" = 'infinity'",
        "\"readDate\" = '-infinity'",
        "\"readDate\" = '294276-12-31 23:59:59.999'",
        "\"readDate\" = '4713-01-01 BC'",
        "\"updatedAt\" = 'infinity'",
        "octet_length(synopsis) = 1 << 20",
        "id < 0",
        "visibility = 'PRIVATE'",
        "visibility = 'PUBLIC'",
        "visibility = 'FRIENDS'",
        "visibility = 'UNLISTED'",
    ] {
        let sql = format!(r#"SELECT count(*) FROM "Book" WHERE {awkward}"#);
        let row = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert!(row.get::<i64, _>(0) > 0, "no book with {awkward}");
    }
}

#[tokio::test]
async fn the_generated_isbns_are_valid_and_the_bulk_is_of_the_usual_size() {
    let sandbox = Sandbox::new().await;
    let mut connection = connect(&sandbox.source_url()).await;
    let row = sqlx::raw_sql(
        r#"SELECT count(*), count(DISTINCT "ownerId"), max(id) - count(*) > 1000,
                  bool_and((SELECT sum(d::int * (1 + 2 * ((n + 1) % 2))) % 10 = 0
                            FROM string_to_table(isbn13, NULL) WITH ORDINALITY t (d, n))),
                  bool_and((SELECT sum(CASE d WHEN 'X' THEN 10 ELSE d::int END * (11 - n)) % 11 = 0
                            FROM string_to_table(isbn10, NULL) WITH ORDINALITY t (d, n))),
                  avg(pg_column_size(b)) FILTER (WHERE id > 90) BETWEEN 1600 AND 1800
           FROM "Book" b"#,
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (357, 7));
    let facts: Vec<bool> = (2..6).map(|column| row.get(column)).collect();
    assert_eq!(facts, [true; 4], "gaps, isbn13, isbn10, size");
}

#[tokio::test]
async fn the_first_books_of_two_fills_are_equal() {
    let (few, many) = tokio::join!(Sandbox::with_long_text(40), Sandbox::with_long_text(BOOKS));
    let few = dump(&few.source_url(), r#"SELECT * FROM "Book" ORDER BY id"#);
    let many = dump(&many.source_url(), r#"SELECT * FROM "Book" WHERE id <= 120 ORDER BY id"#);
    assert!(few.len() > 1 << 20);
    assert!(few == many);
    let empty = Sandbox::with_books(1).await;
    assert_eq!(dump(&empty.target_url(), inspect::BOOKS), b"");
}

#[tokio::test]
async fn the_source_role_reads_books_only_and_the_log_tells_what_it_ran() {
    let sandbox = Sandbox::with_books(1).await;
    let mut connection = connect(&sandbox.source_url()).await;
    sqlx::raw_sql("BEGIN READ ONLY; SELECT ';'").execute(&mut connection).await.unwrap();
    sqlx::query(r#"SELECT id FROM "Book" WHERE id = $1"#).bind(3).fetch_all(&mut connection).await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
    for refused in [r#"SELECT FROM "User""#, r#"UPDATE "Book" SET id = id"#, "CREATE TABLE x ()"] {
        let error = sqlx::raw_sql(refused).execute(&mut connection).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{refused}");
    }
    execute(&sandbox.source_admin_url(), "SELECT 'not the tool'").await;
    assert_eq!(
        statements(&sandbox.database)[..5],
        [
            "BEGIN READ ONLY",
            "SELECT ';'",
            r#"SELECT id FROM "Book" WHERE id = $1"#,
            "ROLLBACK",
            r#"SELECT FROM "User""#
        ]
    );
}

#[tokio::test]
async fn tuples_tell_every_write_even_of_the_same_value() {
    let sandbox = Sandbox::with_books(1).await;
    let url = sandbox.target_admin_url();
    let before = tuples(&url).await;
    execute(&url, "ANALYZE").await;
    assert_eq!(tuples(&url).await, before);
    for (write, where_seen) in [
        (r#"UPDATE "User" SET id = id"#, r#""User""#),
        (r#"SELECT nextval('"Book_id_seq"')"#, r#""Book_id_seq""#),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "pg_proc"),
        (r#"ALTER TABLE "Book" ALTER edition SET NOT NULL"#, "pg_attribute"),
        (r#"ALTER TYPE "BookVisibility" ADD VALUE 'LENT'"#, "pg_enum"),
        ("CREATE SCHEMA s", "pg_namespace"),
    ] {
        let before = tuples(&url).await;
        execute(&url, write).await;
        assert_ne!(tuples(&url).await.get(where_seen), before.get(where_seen), "{write}");
    }
}

#[tokio::test]
async fn a_session_of_the_tool_is_counted_until_it_ends() {
    let sandbox = Sandbox::with_books(1).await;
    let ours = connect(&format!("{}?application_name=dewey-sync-test", sandbox.target_url())).await;
    assert_eq!(sessions(&sandbox.target_admin_url()).await, 1);
    drop(ours);
    no_session_left(&sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn the_proxy_counts_a_known_exchange_exactly() {
    let proxy = Proxy::start(SERVERS.source.port()).await;
    let url = proxy.through(&SERVERS.source.url("postgres"));
    let mut connection = connect(&format!("{url}?sslmode=disable")).await;
    // TCP, the start-up, and the two exchanges of SCRAM.
    assert_eq!((proxy.connections(), proxy.round_trips()), (1, 4));
    let messages = proxy.messages();
    sqlx::raw_sql("SELECT 1; SELECT 2").execute(&mut connection).await.unwrap();
    // Query; twice RowDescription, DataRow, CommandComplete; ReadyForQuery.
    assert_eq!((proxy.messages() - messages, proxy.round_trips()), (8, 5));
    connection.close().await.unwrap();

    // `prefer` asks for TLS first: one exchange more.
    connect(&format!("{url}?sslmode=prefer")).await.ping().await.unwrap();
    assert_eq!(proxy.connections(), 2);
    assert_eq!(proxy.round_trips(), 5 + 5 + 1);
}

#[tokio::test]
async fn the_proxy_cuts_before_the_message_and_serves_the_next_connection() {
    let sandbox = Sandbox::with_books(1).await;
    let proxy = Proxy::start(SERVERS.target.port()).await;
    let url = proxy.through(&sandbox.target_url());
    let insert = r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") VALUES (1, 'x', now())"#;
    // Cut before the query arrives, then before its first answer does.
    for (message, rows_stored) in [(1, b"0\n"), (2, b"1\n")] {
        let mut connection = connect(&url).await;
        proxy.cut_at(proxy.messages() + message);
        let error = sqlx::raw_sql(insert).execute(&mut connection).await.unwrap_err();
        assert!(matches!(error, sqlx::Error::Io(_)), "{error}");
        assert_eq!(dump(&sandbox.target_url(), r#"SELECT count(*) FROM "ReadingList""#), rows_stored);
    }
}

#[tokio::test]
async fn the_tool_runs_in_a_sandbox_with_its_two_env_files() {
    let sandbox = Sandbox::with_books(1).await;
    let file = |name| std::fs::read_to_string(sandbox.directory().join(name)).unwrap();
    assert_eq!(file(".env.production").trim_end(), format!("DEWEY_DB_DATABASE_URL={}", sandbox.source_url()));
    assert_eq!(file(".env").trim_end(), format!("DEWEY_DB_DATABASE_URL={}", sandbox.target_url()));
    let run = sandbox.run(&["--version"]).await;
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_end_of_a_json_run_is_its_last_line() {
    let stdout = "{\"event\":\"batch\"}\n{\"event\":\"end\",\"rows\":3}\n".to_owned();
    let run = Run { code: Some(0), stdout, stderr: String::new() };
    assert_eq!(run.json_end()["rows"], 3);
}
