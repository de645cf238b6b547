//! Every guard that one pair of servers can show, side by side: what it says, and that it exits with 3 and leaves both
//! databases as they are, to the tuple. Standbys and physical copies are in `standby` and `guards_copies`.

use std::fmt::Write;

use crate::guards::{add_a_book, check, synced};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

/// Where a row's statements run.
enum On {
    Source(&'static str),
    Target(&'static str),
}

use On::{Source, Target};

const ATOMIC: &[&str] = &["sync", "--yes", "--strategy", "atomic"];
const SYNC: &[&str] = &["sync", "--yes"];

/// Guard, what breaks a pair that was synced once and has something to do, and the call.
const TABLE: [(&str, On, &[&str]); 11] = [
    (
        "swapped",
        Source(
            "CREATE SCHEMA dewey_sync; CREATE TABLE dewey_sync.identity AS SELECT system_identifier::text,
               (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid
               FROM pg_control_system();
             GRANT USAGE ON SCHEMA dewey_sync TO reader; GRANT SELECT ON dewey_sync.identity TO reader",
        ),
        SYNC,
    ),
    (
        "swapped, as far as can be seen",
        Source(
            "CREATE SCHEMA dewey_sync CREATE TABLE identity (system_identifier text, database_oid bigint)",
        ),
        SYNC,
    ),
    ("target identity", Target("UPDATE dewey_sync.identity SET database_oid = 1"), SYNC),
    (
        "target identity, another name",
        Target("UPDATE dewey_sync.identity SET database_oid = 1"),
        &["sync", "--yes", "--mark-development", "production"],
    ),
    (
        "dependents that are lost",
        Target(
            r#"CREATE TABLE loan (book int REFERENCES "Book" ON DELETE CASCADE); INSERT INTO loan SELECT id FROM "Book""#,
        ),
        ATOMIC,
    ),
    (
        "dependents that forbid it",
        Target(r#"CREATE TABLE loan (book int REFERENCES "Book"); INSERT INTO loan SELECT id FROM "Book""#),
        &["sync", "--yes", "--allow-cascade", "--strategy", "batched"],
    ),
    ("hidden rows of the source", Source(r#"ALTER TABLE "Book" ENABLE ROW LEVEL SECURITY"#), SYNC),
    (
        "hidden rows of the target",
        Target(
            r#"ALTER TABLE "User" ENABLE ROW LEVEL SECURITY; ALTER TABLE "User" FORCE ROW LEVEL SECURITY"#,
        ),
        SYNC,
    ),
    ("empty source", Source(r#"DELETE FROM "Book""#), SYNC),
    ("schema", Source(r#"ALTER TABLE "Book" RENAME "pageCount" TO pages"#), SYNC),
    ("schema, without a line that mends it", Target(r#"ALTER TABLE "Book" DROP title"#), SYNC),
];

#[tokio::test]
async fn every_guard_says_why_and_what_to_do_and_leaves_both_sides_alone() {
    let mut said = String::new();
    for (guard, breaking, call) in TABLE {
        let sandbox = synced().await;
        match breaking {
            Source(sql) => execute(&sandbox.source_admin_url(), sql).await,
            Target(sql) => execute(&sandbox.target_url(), sql).await,
        }
        write!(said, "{guard}: {}\n{}\n", call.join(" "), refusal(&check(&sandbox, call).await)).unwrap();
    }
    let sandbox = Sandbox::with_books(1).await;
    add_a_book(&sandbox).await;
    write!(said, "target identity, never marked\n{}\n", refusal(&check(&sandbox, SYNC).await)).unwrap();
    sandbox.set_urls(&sandbox.target_url(), &sandbox.target_admin_url());
    write!(said, "same database\n{}", refusal(&check(&sandbox, SYNC).await)).unwrap();
    insta::assert_snapshot!(said, @r#"
    swapped: sync --yes
    error: the source does not look like production
    caused by: it is marked as a development database

    state: `"Book"` is unchanged
    hint: swap the two URLs; if that database was promoted to production, run `DROP SCHEMA dewey_sync CASCADE` in it

    swapped, as far as can be seen: sync --yes
    error: the source does not look like production
    caused by: it has a schema `dewey_sync`, whose mark this role may not read

    state: `"Book"` is unchanged
    hint: grant USAGE on schema `dewey_sync` and SELECT on `dewey_sync.identity`, or drop that schema

    target identity: sync --yes
    error: DB at 127.0.0.1:TARGET is not marked as a development database
    caused by: it was never marked as a development database, and `--yes` does not do that; 357 books of 1 user would be replaced

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:TARGET`, only if this is not production, or on a terminal without `--yes`

    target identity, another name: sync --yes --mark-development production
    error: DB at 127.0.0.1:TARGET is not marked as a development database
    caused by: `--mark-development` names another database than `DB@127.0.0.1:TARGET`

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:TARGET`, only if this is not production

    dependents that are lost: sync --yes --strategy atomic
    error: refusing to lose rows that reference books without `--allow-cascade`
    caused by: replacing the books would also lose 357 rows of `public.loan`

    state: `"Book"` is unchanged
    hint: add `--allow-cascade`, or leave `--yes` out and answer the question

    dependents that forbid it: sync --yes --allow-cascade --strategy batched
    error: could not plan the removal of the old books
    caused by: 357 rows of `public.loan` forbid the removal of the books that they refer to

    state: `"Book"` is unchanged
    hint: remove those rows of `public.loan`, or give its foreign key an ON DELETE action

    hidden rows of the source: sync --yes
    error: could not read every row of the source, DB at 127.0.0.1:SOURCE
    caused by: row-level policies of `public."Book"` apply to the role `reader` and may hide rows from it

    state: `"Book"` is unchanged
    hint: run `ALTER ROLE reader BYPASSRLS` as a superuser, or use the tables' owner, unless their policies are forced on it; a policy that shows every row to `reader` is not enough

    hidden rows of the target: sync --yes
    error: could not read every row of the target, DB at 127.0.0.1:TARGET
    caused by: row-level policies of `public."User"` apply to the role `developer` and may hide rows from it

    state: `"Book"` is unchanged
    hint: run `ALTER ROLE developer BYPASSRLS` as a superuser, or use the tables' owner, unless their policies are forced on it; a policy that shows every row to `developer` is not enough

    empty source: sync --yes
    error: production has no books
    caused by: the target would lose 357 books

    state: `"Book"` is unchanged
    hint: check the source's URL and its `schema` parameter; if production has no books, add `--allow-empty-source`

    schema: sync --yes
    error: could not match the columns of `"Book"` on both sides
    caused by: production has `pages` and lacks `pageCount`, which may be the same

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [columns]
      pages = "pageCount"

    schema, without a line that mends it: sync --yes
    error: could not match the columns of `"Book"` on both sides
    caused by: development lacks `title`, which every book needs

    state: `"Book"` is unchanged
    hint: bring both databases to the same version of the application's schema

    target identity, never marked
    error: DB at 127.0.0.1:TARGET is not marked as a development database
    caused by: it was never marked as a development database, and `--yes` does not do that; 1 book of 1 user would be replaced

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:TARGET`, only if this is not production, or on a terminal without `--yes`

    same database
    error: source and target are the same database

    state: `"Book"` is unchanged
    hint: check `DEWEY_DB_DATABASE_URL` in `.env.production` and `.env`, and what the environment sets
    "#);
}

/// Without the screen before it.
fn refusal(said: &str) -> &str {
    &said[said.find("error:").unwrap()..]
}
