//! A guard that refuses says why, exits with 3 and has written nothing, to the tuple and to the catalogue, on either
//! side.

use std::collections::BTreeMap;

use sqlx::Row;

use crate::support::inspect::{BOOKS, dump, statements, tuples};
use crate::support::redact::masked;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, connect, execute};

/// Runs a call that a guard must refuse; what it says.
async fn check(sandbox: &Sandbox, call: &[&str]) -> String {
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
async fn synced() -> Sandbox {
    let sandbox = Sandbox::new().await;
    passes(&sandbox, &["sync", "--yes"]).await;
    execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    sandbox
}

/// Makes something to do.
const OTHER_TITLES: &str = r#"UPDATE "Book" SET title = title || '!'"#;

/// The strategies that remove every book.
const REPLACING: [&str; 2] = ["atomic", "batched"];

/// Removes from production the first book of the target.
async fn production_loses_a_book(sandbox: &Sandbox) {
    let first = r#"SELECT isbn13 FROM "Book" ORDER BY id LIMIT 1"#;
    let isbn13 = String::from_utf8(dump(&sandbox.target_admin_url(), first)).unwrap();
    let lost = format!(r#"DELETE FROM "Book" WHERE isbn13 = '{}'"#, isbn13.trim_end());
    execute(&sandbox.source_admin_url(), &lost).await;
}

/// Runs a call that `staged` must refuse when it knows what would go: no table of the application is written; what it
/// says in the end.
async fn check_staged(sandbox: &Sandbox, call: &[&str]) -> String {
    let url = sandbox.target_admin_url();
    let application = async || {
        let mut tuples = tuples(&url).await;
        tuples.retain(|name, _| !name.starts_with("dewey_sync.") && !name.starts_with("pg_"));
        tuples
    };
    let before = application().await;
    let run = sandbox.run(call).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), ""), "{call:?}: {run:?}");
    assert_eq!(application().await, before, "{call:?}");
    let said = sandbox.redacted(&run.stderr);
    masked(&said[said.find("error:").unwrap()..], "--resume ")
}

async fn passes(sandbox: &Sandbox, call: &[&str]) -> Run {
    let run = sandbox.run(call).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

/// A book that nobody synced, so that the target has something to lose and is not marked.
async fn add_a_book(sandbox: &Sandbox) {
    let sql = r#"INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal",
                   publisher, "datePublished", binding, "pageCount", "ownerId", "updatedAt")
                 SELECT '0000000000', '0000000000000', 'My own', '', '', '', '', '', '', '', '', 1, id, now() FROM "User""#;
    execute(&sandbox.target_admin_url(), sql).await;
}

async fn count(sandbox: &Sandbox, what: &str) -> i64 {
    let mut connection = connect(&sandbox.target_admin_url()).await;
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {what}"));
    sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap().get(0)
}

/// Every command that writes, with every flag that agrees to something.
const WRITING: [&[&str]; 7] = [
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
    error: could not take the target for a database of its own
    caused by: source and target are the same database

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
        assert!(said.contains("caused by: source and target are the same database"), "{call:?}: {said}");
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
    error: could not take the source for production
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
    error: could not take the source for production
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
    error: could not take DB at 127.0.0.1:TARGET for a development database
    caused by: it was never marked as a development database, and `--yes` does not do that

    state: `"Book"` is unchanged
    hint: if it really is one, run once with `--mark-development DB`, or on a terminal without `--yes`
    "#);
    let wrong = check(&sandbox, &["sync", "--yes", "--mark-development", "production"]).await;
    insta::assert_snapshot!(wrong, @r#"
    error: could not take DB at 127.0.0.1:TARGET for a development database
    caused by: `--mark-development` names another database than `DB`

    state: `"Book"` is unchanged
    hint: give the name of the target's database, if it really is a development database
    "#);
    for call in WRITING.iter().filter(|call| !call.contains(&"down")) {
        let said = check(&sandbox, call).await;
        assert!(said.contains("it was never marked as a development database"), "{call:?}: {said}");
    }
    passes(&sandbox, &["sync", "--yes", "--mark-development", &sandbox.database]).await;
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
    passes(&copy, &["sync", "--yes", "--mark-development", to]).await;
    // The old mark is replaced, not kept beside it.
    assert_eq!(count(&copy, "dewey_sync.identity").await, 1);
}

/// Gives the target's only user a reading list with the first three books.
const READING_LIST: &str = r#"
    INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'mine', now() FROM "User";
    INSERT INTO "BookInReadingList" ("bookId", "readingListId")
        SELECT b.id, l.id FROM (SELECT id FROM "Book" ORDER BY id LIMIT 3) b, "ReadingList" l"#;

#[tokio::test]
async fn what_hangs_on_the_books_is_lost_only_with_the_flag() {
    let sandbox = synced().await;
    let target = sandbox.target_url();
    execute(&target, READING_LIST).await;
    for strategy in REPLACING {
        let said = check(&sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        insta::allow_duplicates!(insta::assert_snapshot!(said, @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    note: `--strategy staged` would keep 3 of the 3 rows that hang on books
    error: could not agree to the loss of what hangs on the old books
    caused by: the books would take along 3 rows of `public."BookInReadingList"`

    state: `"Book"` is unchanged
    hint: add `--allow-cascade`, or leave `--yes` out and answer the question
    "#));
    }
    passes(&sandbox, &["sync", "--yes", "--allow-cascade", "--strategy", "atomic"]).await;
    assert_eq!(count(&sandbox, r#""BookInReadingList""#).await, 0);
    assert_eq!(count(&sandbox, r#""ReadingList""#).await, 1);
}

#[tokio::test]
async fn staged_keeps_what_hangs_on_books_that_stay_and_agrees_to_the_rest_only_with_the_flag() {
    let sandbox = synced().await;
    execute(&sandbox.target_url(), READING_LIST).await;
    let entries = || dump(&sandbox.target_url(), r#"SELECT * FROM "BookInReadingList" ORDER BY id"#);
    let before = entries();
    passes(&sandbox, &["sync", "--yes"]).await;
    assert_eq!(entries(), before);

    production_loses_a_book(&sandbox).await;
    insta::assert_snapshot!(check_staged(&sandbox, &["sync", "--yes"]).await, @r#"
    error: could not agree to the loss of what hangs on the old books
    caused by: the books would take along 1 row of `public."BookInReadingList"`

    state: `"Book"` is unchanged
    hint: add `--allow-cascade`, or leave `--yes` out and answer the question
    "#);
    passes(&sandbox, &["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(count(&sandbox, r#""BookInReadingList""#).await, 2);
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
}

#[tokio::test]
async fn cascades_are_counted_however_deep_and_through_set_null() {
    let sandbox = synced().await;
    let target = sandbox.target_url();
    execute(&target, READING_LIST).await;
    let hanging = r#"
        CREATE TABLE note (entry int REFERENCES "BookInReadingList" ON DELETE CASCADE, id int PRIMARY KEY);
        CREATE TABLE reply (note int REFERENCES note ON DELETE CASCADE);
        CREATE TABLE wish (book int REFERENCES "Book" ON DELETE SET NULL, id int PRIMARY KEY);
        CREATE TABLE comment (wish int REFERENCES wish ON DELETE CASCADE);
        INSERT INTO note SELECT id, id FROM "BookInReadingList" ORDER BY "bookId" LIMIT 2;
        INSERT INTO reply SELECT id FROM note, generate_series(1, 2);
        INSERT INTO wish SELECT id, id FROM "Book" ORDER BY id LIMIT 5;
        INSERT INTO wish VALUES (NULL, -1000);
        INSERT INTO comment SELECT id FROM wish"#;
    execute(&target, hanging).await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes", "--strategy", "atomic"]).await, @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    note: `--strategy staged` would keep 14 of the 14 rows that hang on books
    error: could not agree to the loss of what hangs on the old books
    caused by: the books would take along 3 rows of `public."BookInReadingList"`, 2 rows of `public.note`, 4 rows of `public.reply`, the reference of 5 rows of `public.wish`

    state: `"Book"` is unchanged
    hint: add `--allow-cascade`, or leave `--yes` out and answer the question
    "#);
    production_loses_a_book(&sandbox).await;
    let said = check_staged(&sandbox, &["sync", "--yes"]).await;
    insta::assert_snapshot!(said.lines().nth(1).unwrap(), @r#"caused by: the books would take along 1 row of `public."BookInReadingList"`, 1 row of `public.note`, 2 rows of `public.reply`, the reference of 1 row of `public.wish`"#);
    passes(&sandbox, &["sync", "--yes", "--allow-cascade"]).await;
    let left = [count(&sandbox, "reply").await, count(&sandbox, "wish WHERE book IS NOT NULL").await];
    assert_eq!(left, [2, 4]);

    execute(&target, OTHER_TITLES).await;
    passes(&sandbox, &["sync", "--yes", "--allow-cascade", "--strategy", "atomic"]).await;
    let left = [
        count(&sandbox, "reply").await,
        count(&sandbox, "wish").await,
        count(&sandbox, "wish WHERE book IS NOT NULL").await,
        count(&sandbox, "comment").await,
    ];
    assert_eq!(left, [0, 6, 0, 6]);
}

#[tokio::test]
async fn rows_that_forbid_the_removal_stop_whatever_was_agreed() {
    let mut said = Vec::new();
    for action in ["RESTRICT", "NO ACTION"] {
        let sandbox = synced().await;
        let loan = format!(
            r#"CREATE TABLE loan (book int REFERENCES "Book" ON DELETE {action});
               INSERT INTO loan SELECT id FROM "Book" ORDER BY id LIMIT 2"#
        );
        execute(&sandbox.target_url(), &loan).await;
        for strategy in REPLACING {
            let call = ["sync", "--yes", "--allow-cascade", "--strategy", strategy];
            said.push(check(&sandbox, &call).await);
        }
        // `staged` removes no book that is lent.
        passes(&sandbox, &["sync", "--yes"]).await;
        production_loses_a_book(&sandbox).await;
        let staged = check_staged(&sandbox, &["sync", "--yes", "--allow-cascade"]).await;
        insta::allow_duplicates!(insta::assert_snapshot!(staged, @r#"
    error: could not plan the removal of the old books
    caused by: 1 row of `public.loan` forbids the removal of the book that it refers to

    state: `"Book"` is unchanged
    hint: remove those rows of `public.loan`, or give its foreign key an ON DELETE action
    "#));
        execute(&sandbox.target_url(), "DELETE FROM loan").await;
        passes(&sandbox, &["sync", "--yes"]).await;
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    insta::assert_snapshot!(said[0], @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    error: could not plan the removal of the old books
    caused by: 2 rows of `public.loan` forbid the removal of the books that they refer to

    state: `"Book"` is unchanged
    hint: remove those rows of `public.loan`, or give its foreign key an ON DELETE action
    "#);
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
