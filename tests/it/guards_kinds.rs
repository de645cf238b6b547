//! What bears the name `"Book"` may be no table, or be part of others: it is copied exactly, or refused by its kind before
//! anything else is looked at.

use std::fmt::Write;

use crate::guards::{check, passes, synced};
use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::running::{Running, until_it_waits_for_table};
use crate::support::sandbox::{Sandbox, ways};
use crate::support::servers::{connect, execute};

/// A wrapper of nothing; a superuser makes it.
const FOREIGN: &str =
    "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing";

/// The kind, and what makes a synced target's table one.
const REFUSED_TARGETS: [(&str, &str); 10] = [
    ("view", r#"ALTER TABLE "Book" RENAME TO books; CREATE VIEW "Book" AS SELECT * FROM books"#),
    (
        "materialized view",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE MATERIALIZED VIEW "Book" AS SELECT * FROM books"#,
    ),
    (
        "foreign table",
        r#"ALTER TABLE "Book" RENAME TO books;
           CREATE FOREIGN TABLE "Book" (id integer, isbn13 varchar(13), title text) SERVER elsewhere"#,
    ),
    ("a table with a child", r#"CREATE TABLE audio (narrator text) INHERITS ("Book")"#),
    (
        "a table that inherits",
        r#"CREATE TABLE medium (id integer NOT NULL, title text NOT NULL); ALTER TABLE "Book" INHERIT medium"#,
    ),
    (
        "a partition",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE TABLE shelf (LIKE books INCLUDING DEFAULTS) PARTITION BY LIST (visibility);
           CREATE TABLE "Book" PARTITION OF shelf DEFAULT; INSERT INTO "Book" SELECT * FROM books"#,
    ),
    (
        "partitioned by something else",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE TABLE "Book" (LIKE books INCLUDING DEFAULTS) PARTITION BY RANGE (id);
           CREATE TABLE rest PARTITION OF "Book" DEFAULT; INSERT INTO "Book" SELECT * FROM books"#,
    ),
    (
        "with a foreign partition",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE TABLE "Book" (LIKE books INCLUDING DEFAULTS) PARTITION BY HASH (isbn13);
           CREATE FOREIGN TABLE far PARTITION OF "Book" FOR VALUES WITH (MODULUS 1, REMAINDER 0) SERVER elsewhere"#,
    ),
    ("no unique key", r#"DROP INDEX "Book_isbn13_key""#),
    (
        "a unique key for some",
        r#"DROP INDEX "Book_isbn13_key"; CREATE UNIQUE INDEX ON "Book" (isbn13) WHERE visibility <> 'PRIVATE'"#,
    ),
];

#[tokio::test]
async fn a_target_that_is_no_table_of_its_own_is_refused_by_its_kind() {
    let mut said = String::new();
    for (kind, make) in REFUSED_TARGETS {
        let sandbox = synced().await;
        execute(
            &sandbox.target_admin_url(),
            &format!("{FOREIGN}; GRANT USAGE ON FOREIGN SERVER elsewhere TO public"),
        )
        .await;
        execute(&sandbox.target_url(), make).await;
        let refusal = check(&sandbox, &["sync", "--yes"]).await;
        write!(said, "{kind}\n{}\n", &refusal[refusal.find("error:").unwrap()..]).unwrap();
        check(&sandbox, &["sync", "--dry-run"]).await;
        let before = tuples(&sandbox.target_admin_url()).await;
        let doctor = sandbox.run(&["doctor"]).await;
        assert_eq!(doctor.code, Some(3), "{kind}: {doctor:?}");
        let cause = refusal.lines().find_map(|line| line.strip_prefix("caused by: ")).unwrap();
        assert!(doctor.stdout.contains(cause), "{kind}: {cause}: {doctor:?}");
        assert_eq!(tuples(&sandbox.target_admin_url()).await, before, "{kind}");
        if !kind.contains("key") {
            check(&sandbox, &["verify"]).await;
            check(&sandbox, &["undo", "--yes"]).await;
            check(&sandbox, &["migrate", "up"]).await;
        }
    }
    insta::assert_snapshot!(said, @r#"
    view
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` is a view; foreign keys and triggers are those of the table behind it

    state: `"Book"` is unchanged
    hint: let `schema=` in `DIR/.env` name the schema of the table itself, or give the table its name back

    materialized view
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` is a materialized view, which holds the rows of its last refresh

    state: `"Book"` is unchanged
    hint: let `schema=` in `DIR/.env` name the schema of the table itself

    foreign table
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` is a foreign table, whose rows another server has

    state: `"Book"` is unchanged
    hint: name that server in `DIR/.env`

    a table with a child
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` has the child `public.audio`, whose rows are books with more columns, which would be lost

    state: `"Book"` is unchanged
    hint: run `ALTER TABLE public.audio NO INHERIT "public"."Book"`

    a table that inherits
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` inherits from `public.medium`, which has its rows as well

    state: `"Book"` is unchanged
    hint: run `ALTER TABLE "public"."Book" NO INHERIT public.medium`

    a partition
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` is a partition of `public.shelf`

    state: `"Book"` is unchanged
    hint: give the name `"Book"` to the partitioned table

    partitioned by something else
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` is a partitioned table without a unique key on `isbn13`, by which books are told apart

    state: `"Book"` is unchanged
    hint: partition it by `isbn13` at every level, and run `CREATE UNIQUE INDEX "Book_isbn13_key" ON "public"."Book" ("isbn13")`

    with a foreign partition
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` has the part `public.far`, which is a foreign table, whose rows another server has

    state: `"Book"` is unchanged
    hint: run `ALTER TABLE "public"."Book" DETACH PARTITION public.far`

    no unique key
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` has no unique key on `isbn13`, by which books are told apart

    state: `"Book"` is unchanged
    hint: run `CREATE UNIQUE INDEX "Book_isbn13_key" ON "public"."Book" ("isbn13")`

    a unique key for some
    error: could not write books to the target, DB at 127.0.0.1:TARGET
    caused by: its `"Book"` has no unique key on `isbn13`, by which books are told apart

    state: `"Book"` is unchanged
    hint: run `CREATE UNIQUE INDEX "Book_isbn13_key" ON "public"."Book" ("isbn13")`
    "#);
}

/// The kind, and what makes a source's table one.
const REFUSED_SOURCES: [(&str, &str); 6] = [
    (
        "materialized view",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE MATERIALIZED VIEW "Book" AS SELECT * FROM books"#,
    ),
    (
        "foreign table",
        r#"ALTER TABLE "Book" RENAME TO books;
           CREATE FOREIGN TABLE "Book" (id integer, isbn13 varchar(13), title text) SERVER elsewhere"#,
    ),
    (
        "view that repeats a book",
        r#"ALTER TABLE "Book" RENAME TO books;
           CREATE VIEW "Book" AS SELECT b.* FROM books b CROSS JOIN generate_series(1, CASE id % 100 WHEN 1 THEN 2 ELSE 1 END)"#,
    ),
    (
        "view with a book without id",
        r#"ALTER TABLE "Book" RENAME TO books; ALTER TABLE books ALTER id DROP NOT NULL;
           CREATE VIEW "Book" AS SELECT * FROM books"#,
    ),
    (
        "children with the parent's ids",
        r#"CREATE TABLE audio (narrator text) INHERITS ("Book");
           INSERT INTO audio SELECT * FROM ONLY "Book" ORDER BY id LIMIT 2; UPDATE audio SET isbn10 = 'a' || id, isbn13 = 'a' || id"#,
    ),
    (
        "no key on the id",
        r#"ALTER TABLE "Book" DROP CONSTRAINT "Book_pkey" CASCADE;
           UPDATE "Book" SET id = (SELECT min(id) FROM "Book") WHERE id = (SELECT max(id) FROM "Book")"#,
    ),
];

#[tokio::test]
async fn a_source_that_may_not_have_every_book_once_is_refused() {
    let mut said = String::new();
    for (kind, make) in REFUSED_SOURCES {
        let sandbox = Sandbox::with_books(357).await;
        passes(&sandbox, &["sync", "--yes"]).await;
        let url = sandbox.source_admin_url();
        let drop_key = r#"ALTER TABLE "BookInReadingList" DROP CONSTRAINT "BookInReadingList_bookId_fkey""#;
        execute(&url, &format!("{FOREIGN}; {drop_key}")).await;
        if kind.contains("without id") {
            execute(&url, r#"ALTER TABLE "Book" DROP CONSTRAINT "Book_pkey""#).await;
        }
        execute(&url, &format!(r#"{make}; GRANT SELECT ON "Book" TO reader"#)).await;
        if kind.contains("without id") {
            execute(&url, "UPDATE books SET id = NULL WHERE id = (SELECT max(id) FROM books)").await;
        }
        let refusal = check(&sandbox, &["sync", "--yes"]).await;
        write!(said, "{kind}\n{}\n", &refusal[refusal.find("error:").unwrap()..]).unwrap();
        check(&sandbox, &["verify"]).await;
        let doctor = sandbox.run(&["doctor"]).await;
        assert_eq!(doctor.code, Some(3), "{kind}: {doctor:?}");
    }
    insta::assert_snapshot!(said, @r#"
        materialized view
        error: could not read the books of the source, DB at 127.0.0.1:SOURCE
        caused by: its `"Book"` is a materialized view, which holds the rows of its last refresh

        state: `"Book"` is unchanged
        hint: make a plain view `"Book"` in a schema of its own, and name it with `schema=`

        foreign table
        error: could not read the books of the source, DB at 127.0.0.1:SOURCE
        caused by: its `"Book"` is a foreign table, whose rows another server has

        state: `"Book"` is unchanged
        hint: name that server in `DIR/.env.production`

        view that repeats a book
        error: could not read every book of the source once
        caused by: its `"Book"` is a view, and books with these ids are there more than once: 201, 501, 1801

        state: `"Book"` is unchanged
        hint: let the view have every book once, for instance by `DISTINCT ON ("isbn13")`

        view with a book without id
        error: could not read every book of the source once
        caused by: its `"Book"` is a view, and 1 of its books have no `id`

        state: `"Book"` is unchanged
        hint: let the view have every book once, for instance by `DISTINCT ON ("isbn13")`

        children with the parent's ids
        error: could not read every book of the source once
        caused by: its `"Book"` has children with keys of their own, and books with these ids are there more than once: -7, 3

        state: `"Book"` is unchanged
        hint: give those books other values, on either side of the inheritance

        no key on the id
        error: could not read every book of the source once
        caused by: its `"Book"` has no unique key on `id`, and books with these ids are there more than once: -7

        state: `"Book"` is unchanged
        hint: give those books ids of their own, and the table a primary key
        "#);
}

/// Whoever reads the parent's books reads those, too.
#[tokio::test]
async fn a_foreign_table_among_the_children_is_refused() {
    let sandbox = Sandbox::with_books(40).await;
    let child = format!(r#"{FOREIGN}; CREATE FOREIGN TABLE far () INHERITS ("Book") SERVER elsewhere"#);
    execute(&sandbox.source_admin_url(), &child).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains("has the part `public.far`, which is a foreign table"), "{run:?}");
    let run = sandbox.run(&["doctor"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
}

/// What can be read exactly, though it is no ordinary table.
const SOURCES: [(&str, &str); 5] = [
    (
        "view",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE VIEW "Book" AS SELECT * FROM books WHERE id % 3 > 0"#,
    ),
    (
        "parent",
        r#"CREATE TABLE audio (narrator text) INHERITS ("Book");
           WITH moved AS (DELETE FROM ONLY "Book" WHERE id % 3 = 0 RETURNING *) INSERT INTO audio SELECT * FROM moved"#,
    ),
    (
        "child",
        r#"CREATE TABLE medium (id integer NOT NULL, title text NOT NULL); ALTER TABLE "Book" INHERIT medium"#,
    ),
    (
        "partition",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE TABLE shelf (LIKE books INCLUDING DEFAULTS) PARTITION BY LIST (visibility);
           CREATE TABLE "Book" PARTITION OF shelf DEFAULT; INSERT INTO "Book" SELECT * FROM books"#,
    ),
    (
        "partitioned by something else",
        r#"ALTER TABLE "Book" RENAME TO books; CREATE TABLE "Book" (LIKE books INCLUDING DEFAULTS) PARTITION BY LIST (visibility);
           CREATE TABLE rest PARTITION OF "Book" DEFAULT; INSERT INTO "Book" SELECT * FROM books"#,
    ),
];

#[tokio::test]
async fn a_source_that_has_every_book_once_is_copied_whatever_it_is() {
    for (case, (kind, make)) in SOURCES.into_iter().enumerate() {
        let sandbox = Sandbox::new().await;
        execute(&sandbox.source_admin_url(), &format!(r#"{make}; GRANT SELECT ON "Book" TO reader"#)).await;
        for (strategy, engine) in ways(case) {
            let call = ["sync", "--yes", "--strategy", strategy, "--engine", engine, "--batch-size", "50"];
            passes(&sandbox, &call).await;
            assert!(
                dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS),
                "{kind} {call:?}"
            );
            execute(&sandbox.target_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        }
    }
}

#[tokio::test]
async fn an_unlogged_table_is_written_and_the_run_says_that_it_is_one() {
    let sandbox = Sandbox::with_books(40).await;
    let unlogged = r#"ALTER TABLE "BookInReadingList" SET UNLOGGED; ALTER TABLE "Book" SET UNLOGGED"#;
    execute(&sandbox.target_url(), unlogged).await;
    let run = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(run.stderr.contains("is UNLOGGED"), "{run:?}");
}

/// Somebody puts a view in the place of the table while a run waits for its lock, which it gets on the view then.
#[tokio::test]
async fn books_are_written_to_the_table_that_the_guards_saw_or_to_none() {
    let agreed = "--allow-cascade";
    for [strategy, flag] in [["staged", agreed], ["staged", "-v"], ["atomic", agreed], ["batched", agreed]] {
        let sandbox = synced().await;
        let before = dump(&sandbox.target_url(), BOOKS);
        let mut holder = connect(&sandbox.target_url()).await;
        sqlx::raw_sql(r#"BEGIN; LOCK TABLE "Book" IN SHARE MODE"#).execute(&mut holder).await.unwrap();
        let mut running =
            Running::start(&sandbox, &["sync", "--yes", "--no-rehearsal", flag, "--strategy", strategy]);
        until_it_waits_for_table(&sandbox, r#""Book""#);
        let replace =
            r#"ALTER TABLE "Book" RENAME TO books; CREATE VIEW "Book" AS SELECT * FROM books; COMMIT"#;
        sqlx::raw_sql(replace).execute(&mut holder).await.unwrap();
        let (code, end, said) = running.end().await;
        assert_eq!(code, Some(3), "{strategy}: {end} {said}");
        assert!(end.to_string().contains("was replaced by another table or view"), "{strategy}: {end}");
        assert!(dump(&sandbox.target_url(), BOOKS) == before, "{strategy}");
    }
}
