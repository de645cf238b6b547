//! A guard that refuses says why, exits with 3 and has written nothing, to the tuple and to the catalogue, on either
//! side.

use std::collections::BTreeMap;

use sqlx::Row;

use crate::support::inspect::{BOOKS, dump, statements, tuples};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, connect, execute};

/// Runs a call that a guard must refuse; what it says.
pub(crate) async fn check(sandbox: &Sandbox, call: &[&str]) -> String {
    check_with(sandbox, call, &[]).await
}

/// The same with variables in the environment.
async fn check_with(sandbox: &Sandbox, call: &[&str], environment: &[(&str, &str)]) -> String {
    let before = both(sandbox).await;
    let output = sandbox.command().args(call).envs(environment.iter().copied()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{call:?}: {output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{call:?}");
    assert_eq!(both(sandbox).await, before, "{call:?}");
    sandbox.redacted(&String::from_utf8(output.stderr).unwrap())
}

async fn both(sandbox: &Sandbox) -> [BTreeMap<String, String>; 2] {
    let (source, target) = (sandbox.source_admin_url(), sandbox.target_admin_url());
    tokio::join!(tuples(&source), tuples(&target)).into()
}

/// A sandbox whose target is marked and holds the source's books under other titles.
pub(crate) async fn synced() -> Sandbox {
    let sandbox = Sandbox::new().await;
    passes(&sandbox, &["sync", "--yes"]).await;
    execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    sandbox
}

/// Makes something to do.
pub(crate) const OTHER_TITLES: &str = r#"UPDATE "Book" SET title = title || '!'"#;

pub(crate) async fn passes(sandbox: &Sandbox, call: &[&str]) -> Run {
    let run = sandbox.run(call).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

/// A book that nobody synced, so that the target has something to lose and is not marked.
pub(crate) async fn add_a_book(sandbox: &Sandbox) {
    let sql = r#"INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal",
                   publisher, "datePublished", binding, "pageCount", "ownerId", "updatedAt")
                 SELECT '0000000000', '0000000000000', 'My own', '', '', '', '', '', '', '', '', 1, id, now() FROM "User""#;
    execute(&sandbox.target_admin_url(), sql).await;
}

pub(crate) async fn count(sandbox: &Sandbox, what: &str) -> i64 {
    let mut connection = connect(&sandbox.target_admin_url()).await;
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {what}"));
    sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap().get(0)
}

/// Every command that writes, with every flag that agrees to something.
pub(crate) const WRITING: [&[&str]; 7] = [
    &["sync", "--yes", "--allow-cascade"],
    &["sync", "--yes", "--allow-cascade", "--strategy", "atomic"],
    &["sync", "--yes", "--allow-cascade", "--strategy", "batched"],
    &["migrate", "up"],
    &["migrate", "down", "--yes"],
    &["setup", "--yes", "--allow-cascade"],
    &["users", "add", "--email", "new@example.org"],
];

#[tokio::test]
async fn the_same_database_is_refused_by_whatever_name_it_is_reached() {
    let sandbox = Sandbox::new().await;
    let production = sandbox.source_admin_url();
    let localhost = production.replace("127.0.0.1", "localhost");
    let socket = format!(
        "postgres://postgres@/{}?host={}&port={}",
        sandbox.database,
        SERVERS.source.directory().display(),
        SERVERS.source.port()
    );
    let development = sandbox.target_url();
    let mut said = Vec::new();
    for name in [&production, &localhost, &socket, &sandbox.source_url()] {
        sandbox.set_urls(&production, name);
        said.push(check(&sandbox, &["sync", "--yes"]).await);
    }
    sandbox.set_urls(&production, &development);
    for (key, url) in [
        ("DEWEY_DB_DATABASE_URL", &production),
        ("DEWEY_TARGET_DATABASE_URL", &localhost),
        ("DEWEY_SOURCE_DATABASE_URL", &development),
    ] {
        said.push(check_with(&sandbox, &["sync", "--yes"], &[(key, url)]).await);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    insta::assert_snapshot!(said[0], @r#"
    error: source and target are the same database

    state: `"Book"` is unchanged
    hint: check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets
    "#);
}

#[tokio::test]
async fn every_writing_command_refuses_the_same_database() {
    let sandbox = Sandbox::new().await;
    let production = sandbox.source_admin_url();
    sandbox.set_urls(&production, &production);
    let named = ["--mark-development", &sandbox.database];
    for call in WRITING {
        let said = check(&sandbox, call).await;
        assert!(said.contains("error: source and target are the same database"), "{call:?}: {said}");
    }
    for call in [&["sync", "--yes"][..], &["migrate", "up"]] {
        check(&sandbox, &[call, &named].concat()).await;
    }
}

#[tokio::test]
async fn swapped_urls_are_refused_by_every_writing_command() {
    let sandbox = synced().await;
    sandbox.set_urls(&sandbox.target_url(), &sandbox.source_admin_url());
    let said = check(&sandbox, &["sync", "--yes"]).await;
    insta::assert_snapshot!(said, @r#"
    error: the source does not look like production
    caused by: it is marked as a development database

    state: `"Book"` is unchanged
    hint: swap the two URLs; if that database was promoted to production, run `DROP SCHEMA dewey_sync CASCADE` in it
    "#);
    for call in WRITING {
        let said = check(&sandbox, call).await;
        assert!(said.contains("caused by: it is marked as a development database"), "{call:?}: {said}");
    }
}

#[tokio::test]
async fn a_source_whose_mark_cannot_be_read_is_refused() {
    let sandbox = Sandbox::new().await;
    let hidden =
        "CREATE SCHEMA dewey_sync CREATE TABLE identity (system_identifier text, database_oid bigint)";
    execute(&sandbox.source_admin_url(), hidden).await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: the source does not look like production
    caused by: it has a schema `dewey_sync`, whose mark this role may not read

    state: `"Book"` is unchanged
    hint: grant USAGE on schema `dewey_sync` and SELECT on `dewey_sync.identity`, or drop that schema
    "#);
}

#[tokio::test]
async fn the_mark_of_another_database_in_the_source_is_a_notice() {
    let sandbox = Sandbox::new().await;
    let dumped =
        "CREATE SCHEMA dewey_sync CREATE TABLE identity (system_identifier text, database_oid bigint);
                  INSERT INTO dewey_sync.identity VALUES ('1', 1);
                  GRANT USAGE ON SCHEMA dewey_sync TO reader; GRANT SELECT ON dewey_sync.identity TO reader";
    execute(&sandbox.source_admin_url(), dumped).await;
    let run = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(run.stderr.contains("note: the source carries the ledger of another database"), "{run:?}");
}

#[tokio::test]
async fn a_target_with_books_is_written_only_when_its_own_name_marks_it() {
    let sandbox = Sandbox::new().await;
    add_a_book(&sandbox).await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    error: DB at 127.0.0.1:TARGET is not marked as a development database
    caused by: it was never marked as a development database, and `--yes` does not do that; 1 book of 1 user would be replaced

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:TARGET`, only if this is not production, or on a terminal without `--yes`
    "#);
    let wrong = check(&sandbox, &["sync", "--yes", "--mark-development", "production"]).await;
    insta::assert_snapshot!(wrong, @r#"
    error: DB at 127.0.0.1:TARGET is not marked as a development database
    caused by: `--mark-development` names another database than `DB@127.0.0.1:TARGET`

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:TARGET`, only if this is not production
    "#);
    for call in WRITING.iter().filter(|call| !call.contains(&"down")) {
        let said = check(&sandbox, call).await;
        assert!(said.contains("it was never marked as a development database"), "{call:?}: {said}");
    }
    passes(&sandbox, &["sync", "--yes", "--mark-development", &sandbox.target_name()]).await;
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
    // Marked for good.
    execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    passes(&sandbox, &["sync", "--yes"]).await;
}

#[tokio::test]
async fn an_empty_target_is_harmless_only_on_this_machine() {
    let sandbox = Sandbox::new().await;
    // To a connecting client this address is this machine as well, but it does not look so.
    let elsewhere = format!("{}?sslmode=disable", sandbox.target_url().replace("127.0.0.1", "0.0.0.0"));
    sandbox.set_urls(&sandbox.source_url(), &elsewhere);
    let said = check(&sandbox, &["sync", "--yes"]).await;
    assert!(said.contains("it was never marked as a development database"), "{said}");
    sandbox.set_urls(&sandbox.source_url(), &sandbox.target_url());
    passes(&sandbox, &["sync", "--yes"]).await;
}

#[tokio::test]
async fn a_mark_that_came_with_a_dump_marks_nothing() {
    let original = synced().await;
    let copy = Sandbox::new().await;
    let (from, to) = (&original.database, &copy.database);
    execute(&SERVERS.target.url("postgres"), &format!("DROP DATABASE {to}")).await;
    let restore = format!("CREATE DATABASE {to} TEMPLATE {from} OWNER developer");
    execute(&SERVERS.target.url("postgres"), &restore).await;
    let said = check(&copy, &["sync", "--yes"]).await;
    assert!(said.contains("it was never marked as a development database"), "{said}");
    passes(&copy, &["sync", "--yes", "--mark-development", &copy.target_name()]).await;
    // The old mark is replaced, not kept beside it.
    assert_eq!(count(&copy, "dewey_sync.identity").await, 1);
}

#[tokio::test]
async fn the_source_is_read_by_read_only_sessions_in_read_only_transactions() {
    let sandbox = Sandbox::new().await;
    // The books tell the log how they are read, and by a role that could also write them.
    let telling = r#"
        CREATE FUNCTION told() RETURNS bool STABLE LANGUAGE plpgsql AS $$ BEGIN
            RAISE LOG 'told %, %', current_setting('default_transaction_read_only'),
                                   current_setting('transaction_read_only');
            RETURN true;
        END $$;
        ALTER TABLE "Book" RENAME TO books;
        CREATE VIEW "Book" AS SELECT * FROM books WHERE told();
        GRANT ALL ON "Book", books TO reader"#;
    execute(&sandbox.source_admin_url(), telling).await;
    for call in [
        &["sync", "--dry-run"][..],
        &["sync", "--yes"],
        &["sync", "--yes", "--strategy", "atomic"],
        &["sync", "--yes", "--strategy", "batched"],
        &["verify"],
    ] {
        passes(&sandbox, call).await;
        if call != ["sync", "--yes", "--strategy", "batched"] {
            execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
        }
    }
    let log = std::fs::read_to_string(SERVERS.source.log_path()).unwrap();
    let by_database = format!("|{}|reader|", sandbox.database);
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(&by_database))
        .filter_map(|line| Some(line.split_once("LOG:  told ")?.1))
        .collect();
    assert!(told.len() > 4 && told.iter().all(|told| *told == "on, on"), "{told:?}");
    let statements = statements(&sandbox.database);
    let begun = statements.iter().filter(|statement| statement.starts_with("BEGIN"));
    let begun: Vec<&String> = begun.collect();
    assert!(begun.len() > 4 && begun.iter().all(|begin| begin.ends_with(" READ ONLY")), "{begun:?}");
}
