//! What bears the names of our statements elsewhere than in the URL's schema: in a session that a pooler lent to somebody
//! else before, or among functions and operators that somebody gave the names of PostgreSQL's own.

use futures_util::future::join_all;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::guards::passes;
use crate::support::inspect::{BOOKS, dump};
use crate::support::pooler::Pooler;
use crate::support::sandbox::{Sandbox, WAYS};
use crate::support::servers::{SERVERS, execute};

const OTHER_TITLES: &str = r#"UPDATE "Book" SET title = title || '!'"#;

/// A session's own tables and types, with the names of those that a sync reads and writes.
const OF_A_SESSION: &str = r#"
    CREATE TEMP TABLE "Book" (LIKE public."Book" INCLUDING ALL);
    CREATE TEMP TABLE "User" (id integer, email text, name text);
    CREATE TYPE pg_temp."BookVisibility" AS ENUM ('NOBODY');
    CREATE TEMP TABLE stage (run_id bigint); CREATE TEMP TABLE run (run_id bigint);
    CREATE TEMP TABLE replaced (run_id bigint); CREATE TEMP TABLE identity (id integer);
    CREATE TEMP TABLE pg_class (oid oid, relname name); CREATE TEMP TABLE pg_stat_activity (pid integer);
    CREATE TEMP TABLE pg_constraint (oid oid); CREATE TEMP TABLE ledger_migration (version text)"#;

/// Makes them in so many of a pooler's sessions: transactions that are open at once are in different ones.
async fn leave_in_sessions(url: &str, sessions: usize) {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None).application_name("");
    let clients = join_all((0..sessions).map(async |_| {
        let mut client = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {OF_A_SESSION}"))).execute(&mut client).await.unwrap();
        client
    }));
    for mut client in clients.await {
        sqlx::raw_sql("COMMIT").execute(&mut client).await.unwrap();
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn tables_and_types_of_a_pools_sessions_are_neither_read_nor_written() {
    const SESSIONS: usize = 4;
    let pool = format!("default_pool_size = {SESSIONS}");
    let sandbox = Sandbox::new().await;
    let poolers =
        [&SERVERS.source, &SERVERS.target].map(|server| Pooler::start(server, "transaction", &pool));
    let [source, target] =
        [poolers[0].through(&sandbox.source_url()), poolers[1].through(&sandbox.target_url())];
    leave_in_sessions(&source, SESSIONS).await;
    leave_in_sessions(&target, SESSIONS).await;
    sandbox.set_urls(&source, &target);
    for (strategy, engine) in WAYS {
        let call = ["sync", "--yes", "--strategy", strategy, "--engine", engine, "--batch-size", "100"];
        passes(&sandbox, &call).await;
        assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS), "{call:?}");
        passes(&sandbox, &["verify"]).await;
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    }
    let before = dump(&sandbox.target_url(), BOOKS);
    passes(&sandbox, &["sync", "--yes"]).await;
    passes(&sandbox, &["undo", "--yes"]).await;
    assert!(dump(&sandbox.target_url(), BOOKS) == before);
    passes(&sandbox, &["users", "add", "--email", "new@example.org"]).await;
    let users = dump(&sandbox.target_url(), r#"SELECT count(*) FROM public."User""#);
    assert_eq!(users, b"2\n");
    for call in [&["migrate", "up"][..], &["migrate", "status"], &["history"]] {
        passes(&sandbox, call).await;
    }
    // They are there all the same, and as empty as they were.
    let mut left = PgConnectOptions::connect(
        &target.parse::<PgConnectOptions>().unwrap().extra_float_digits(None).application_name(""),
    )
    .await
    .unwrap();
    let books: i64 = sqlx::query_scalar(r#"SELECT count(*) FROM pg_temp."Book""#)
        .persistent(false)
        .fetch_one(&mut left)
        .await
        .unwrap();
    assert_eq!(books, 0);
}

/// Functions and operators of somebody's with the names of PostgreSQL's own. A better match would be taken although it is
/// found later: books are `varchar`, for which PostgreSQL itself has no operators.
const OF_SOMEBODY: &str = r"
    CREATE FUNCTION public.wrong(varchar, varchar) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.wrong(varchar, text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.wrong(text, varchar) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION public.wrong(text, text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false';
    CREATE OPERATOR public.= (FUNCTION = public.wrong, LEFTARG = varchar, RIGHTARG = varchar);
    CREATE OPERATOR public.= (FUNCTION = public.wrong, LEFTARG = varchar, RIGHTARG = text);
    CREATE OPERATOR public.= (FUNCTION = public.wrong, LEFTARG = text, RIGHTARG = varchar);
    CREATE OPERATOR public.= (FUNCTION = public.wrong, LEFTARG = text, RIGHTARG = text);
    CREATE FUNCTION public.sha256(bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$ SELECT '\x00'::bytea $$;
    CREATE FUNCTION public.md5(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'no' $$;
    CREATE FUNCTION public.current_setting(text, bool) RETURNS text STABLE LANGUAGE sql AS $$ SELECT 'no' $$;
    CREATE FUNCTION public.to_regclass(text) RETURNS regclass STABLE LANGUAGE sql AS $$ SELECT NULL::regclass $$;
    CREATE FUNCTION public.textsend(text) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$ SELECT '\x00'::bytea $$;
    CREATE VIEW public.pg_class AS SELECT 1 AS nothing; CREATE VIEW public.pg_constraint AS SELECT 1 AS nothing";

#[tokio::test]
async fn postgresqls_own_functions_and_operators_are_found_first() {
    let sandbox = Sandbox::new().await;
    for url in [sandbox.source_admin_url(), sandbox.target_admin_url()] {
        execute(&url, OF_SOMEBODY).await;
    }
    for (strategy, engine) in WAYS {
        passes(&sandbox, &["sync", "--yes", "--strategy", strategy, "--engine", engine]).await;
        assert!(
            dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS),
            "{strategy} {engine}"
        );
        passes(&sandbox, &["verify"]).await;
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    }
    // Only what differs is written, by keys that are equal.
    execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!' WHERE id % 7 = 0"#).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    passes(&sandbox, &["undo", "--yes"]).await;
}

/// Both sides' tables in another schema, behind one of the same names that is empty.
#[tokio::test]
async fn the_search_path_of_the_urls_options_is_its_schema() {
    let sandbox = Sandbox::new().await;
    let moved = r#"
        CREATE SCHEMA "my books"; ALTER TABLE "Book" SET SCHEMA "my books"; ALTER TABLE "User" SET SCHEMA "my books";
        ALTER TYPE "BookVisibility" SET SCHEMA "my books"; CREATE TABLE "Book" (LIKE "my books"."Book");
        GRANT USAGE ON SCHEMA "my books" TO public"#;
    execute(&sandbox.source_admin_url(), moved).await;
    execute(&sandbox.target_url(), moved).await;
    let books = BOOKS.replace(r#"FROM "Book""#, r#"FROM "my books"."Book""#);
    for (in_source, in_target) in [
        ("options=-c%20search_path%3D%22my%5C%20books%22", "schema=my%20books"),
        ("schema=my%20books", "options=--search_path%3D%22my%5C%20books%22%20-c%20work_mem%3D8MB"),
        (
            "options[search_path]=%22my%20books%22",
            "schema=my%20books&options=-csearch-path%3D%22my%5C%20books%22",
        ),
    ] {
        let [source, target] = [(sandbox.source_url(), in_source), (sandbox.target_url(), in_target)]
            .map(|(url, more)| format!("{url}?{more}"));
        sandbox.set_urls(&source, &target);
        passes(&sandbox, &["sync", "--yes", "--mark-development", &sandbox.target_name()]).await;
        assert!(dump(&sandbox.target_url(), &books) == dump(&sandbox.source_url(), &books));
        execute(&sandbox.target_url(), r#"UPDATE "my books"."Book" SET title = title || '!'"#).await;
    }
    assert_eq!(dump(&sandbox.target_url(), r#"SELECT count(*) FROM public."Book""#), b"0\n");
}

#[tokio::test]
async fn options_that_would_be_sent_and_overridden_are_refused() {
    let sandbox = Sandbox::with_books(1).await;
    let mut said = String::new();
    for options in [
        "options=-c%20search_path%3Da,b",
        "schema=a&options=-c%20search_path%3Db",
        "options=-c%20default_transaction_read_only%3Don",
        "options=-c%20TimeZone%3DEurope/Berlin",
        "search_path=a",
    ] {
        sandbox.set_urls(&sandbox.source_url(), &format!("{}?{options}", sandbox.target_url()));
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(2), "{options}: {run:?}");
        said += &sandbox.redacted(&run.stderr);
    }
    insta::assert_snapshot!(said, @r#"
    error: could not use the target's URL from `DIR/.env`
    caused by: its `options` set `search_path` to no schema, or to more than one

    hint: write `schema=NAME` for the schema that has the application's tables, and remove `search_path`
    error: could not use the target's URL from `DIR/.env`
    caused by: its `schema` and the `search_path` of its `options` name different schemas

    hint: keep `schema=NAME`, and remove `search_path` from `options`
    error: could not use the target's URL from `DIR/.env`
    caused by: its `options` set `default_transaction_read_only` otherwise than a sync does

    hint: remove `default_transaction_read_only` from `options`; every transaction of a sync sets it
    error: could not use the target's URL from `DIR/.env`
    caused by: its `options` set `TimeZone` otherwise than a sync does

    hint: remove `TimeZone` from `options`; every transaction of a sync sets it
    error: could not use the target's URL from `DIR/.env`
    caused by: its parameter `search_path` is not supported

    hint: write `schema=NAME` instead of `search_path=`
    "#);
}
