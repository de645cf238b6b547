//! Guard: rows that reference books are lost only when that was agreed to, and what forbids their removal stops the run.
//! `atomic` and `batched` refuse before the first write; `staged` when it knows which books go.

use crate::guards::{OTHER_TITLES, check, count, passes, synced};
use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::redact::masked;
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

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
    note: `--strategy staged` would keep 3 of the 3 rows that reference books
    error: refusing to lose rows that reference books without `--allow-cascade`
    caused by: replacing the books would also lose 3 rows of `public."BookInReadingList"`

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
    error: refusing to lose rows that reference books without `--allow-cascade`
    caused by: replacing the books would also lose 1 row of `public."BookInReadingList"`

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
    note: `--strategy staged` would keep 14 of the 14 rows that reference books
    error: refusing to lose rows that reference books without `--allow-cascade`
    caused by: replacing the books would also lose 3 rows of `public."BookInReadingList"`, 2 rows of `public.note`, 4 rows of `public.reply`, the reference of 5 rows of `public.wish`

    state: `"Book"` is unchanged
    hint: add `--allow-cascade`, or leave `--yes` out and answer the question
    "#);
    production_loses_a_book(&sandbox).await;
    let said = check_staged(&sandbox, &["sync", "--yes"]).await;
    insta::assert_snapshot!(said.lines().nth(1).unwrap(), @r#"caused by: replacing the books would also lose 1 row of `public."BookInReadingList"`, 1 row of `public.note`, 2 rows of `public.reply`, the reference of 1 row of `public.wish`"#);
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
