//! Books that refer to books, directly or through other tables, are lost only by agreement and come back.

use serde_json::json;

use crate::apply::{copy_of, rows, staged, synced};
use crate::losses::{OWN, agreed, all, comes_back, loss, undone};
use crate::support::servers::execute;

/// Series of books: the first volume, which only development has, is the parent of two that both sides have, by a chain.
#[tokio::test]
async fn books_that_a_book_would_take_along_are_announced_and_come_again_and_back() {
    let sandbox = synced(20).await;
    let series = format!(
        r#"{OWN}; ALTER TABLE "Book" ADD volume_of integer REFERENCES "Book" ON DELETE CASCADE;
        UPDATE "Book" SET volume_of = (SELECT id FROM "Book" WHERE isbn13 = 'own') WHERE id = 4;
        UPDATE "Book" SET volume_of = 4 WHERE id = 7;
        CREATE TABLE shelf (book integer REFERENCES "Book" ON DELETE CASCADE); INSERT INTO shelf VALUES (7), (9)"#
    );
    execute(&sandbox.target_url(), &series).await;
    let (cause, end) = comes_back(&sandbox, &["shelf"]).await;
    assert_eq!(
        cause,
        r#"replacing the books would also lose 2 rows of `public."Book"`, 1 row of `public.shelf`"#
    );
    assert_eq!(end["losses"], json!([loss(r#"public."Book""#, 2, 0), loss("public.shelf", 1, 0)]));
    assert_eq!(end["not_undone"], json!([]));
}

#[tokio::test]
async fn a_reference_from_book_to_book_that_is_lost_is_announced_and_comes_back() {
    let sandbox = synced(20).await;
    let series = format!(
        r#"{OWN}; ALTER TABLE "Book" ADD volume_of integer REFERENCES "Book" ON DELETE SET NULL;
        UPDATE "Book" SET volume_of = (SELECT id FROM "Book" WHERE isbn13 = 'own') WHERE id IN (4, 5)"#
    );
    execute(&sandbox.target_url(), &series).await;
    let (cause, _) = comes_back(&sandbox, &[]).await;
    assert_eq!(cause, r#"replacing the books would also lose the reference of 2 rows of `public."Book"`"#);
}

/// A trigger takes the reference away by which the book would have gone.
#[tokio::test]
async fn a_book_that_a_trigger_sets_free_becomes_productions() {
    let sandbox = synced(20).await;
    let series = format!(
        r#"{OWN}; ALTER TABLE "Book" ADD volume_of integer REFERENCES "Book" ON DELETE CASCADE;
        UPDATE "Book" SET volume_of = (SELECT id FROM "Book" WHERE isbn13 = 'own') WHERE id = 4;
        CREATE FUNCTION set_free() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
          UPDATE "Book" SET volume_of = NULL WHERE volume_of IS NOT NULL; RETURN NULL; END';
        CREATE TRIGGER set_free AFTER UPDATE ON "Book" WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION set_free()"#
    );
    execute(&sandbox.target_url(), &series).await;
    let fourth = rows(&sandbox, r#"SELECT isbn13 FROM "Book" WHERE id = 4"#);
    let change = format!(r#"UPDATE "Book" SET title = 'changed' WHERE isbn13 = '{}'"#, fourth.trim());
    execute(&sandbox.source_admin_url(), &change).await;
    assert_eq!(agreed(&sandbox).await["losses"], json!([]));
    assert_eq!(rows(&sandbox, r#"SELECT title FROM "Book" WHERE id = 4"#), "changed\n");
}

/// The value that a new book gets by default is still that of the book which goes, or of one that stays.
#[tokio::test]
async fn a_value_that_only_development_has_is_free_when_its_book_is_gone() {
    for (holder, deferrable, code) in
        [("isbn13 = 'own'", "", 0), ("isbn13 = 'own'", "DEFERRABLE", 3), ("id = 4", "", 3)]
    {
        let sandbox = synced(20).await;
        let series = format!(
            r#"{OWN}; ALTER TABLE "Book" ADD volume_of integer REFERENCES "Book" ON DELETE SET NULL,
              ADD place integer, ADD UNIQUE (place) {deferrable}; ALTER TABLE "Book" ALTER place SET DEFAULT 7;
            UPDATE "Book" SET place = 7 WHERE {holder}"#
        );
        execute(&sandbox.target_url(), &series).await;
        execute(&sandbox.source_admin_url(), &copy_of(3, 1000, "x")).await;
        let before = all(&sandbox, &[]);
        let run = staged(&sandbox, &["--allow-cascade"]).await;
        assert_eq!(run.code, Some(code), "{holder} {deferrable}: {run:?}");
        if code == 0 {
            assert_eq!(rows(&sandbox, r#"SELECT isbn10 FROM "Book" WHERE place = 7"#), "x\n");
        } else {
            assert_eq!(all(&sandbox, &[]), before, "{holder} {deferrable}");
        }
    }
}

/// By way of another table: a book is on a shelf that is named after a book.
#[tokio::test]
async fn a_circle_through_another_table_ends_at_the_books() {
    let sandbox = synced(20).await;
    let circle = format!(
        r#"{OWN}; CREATE TABLE shelf (id integer PRIMARY KEY, book integer REFERENCES "Book" ON DELETE CASCADE);
        ALTER TABLE "Book" ADD shelf integer REFERENCES shelf ON DELETE CASCADE;
        INSERT INTO shelf SELECT 1, id FROM "Book" WHERE isbn13 = 'own';
        UPDATE "Book" SET shelf = 1 WHERE id IN (3, 8)"#
    );
    execute(&sandbox.target_url(), &circle).await;
    let (cause, _) = comes_back(&sandbox, &["shelf"]).await;
    assert_eq!(
        cause,
        r#"replacing the books would also lose 2 rows of `public."Book"`, 1 row of `public.shelf`"#
    );
}

/// The parent that production gives the book is new, and the old one is only in development.
#[tokio::test]
async fn a_book_that_production_gives_another_parent_is_not_lost_with_the_old_one() {
    let sandbox = synced(20).await;
    let key = r#"ALTER TABLE "Book" ADD CONSTRAINT part FOREIGN KEY (edition) REFERENCES "Book" (isbn13) ON DELETE CASCADE"#;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET edition = NULL"#).await;
    assert_eq!(agreed(&sandbox).await["outcome"], "verified");
    let parents = format!(r#"{OWN}; {key}; UPDATE "Book" SET edition = 'own' WHERE id = 5"#);
    execute(&sandbox.target_url(), &parents).await;
    let fifth = rows(&sandbox, r#"SELECT isbn13 FROM "Book" WHERE id = 5"#);
    let moved = copy_of(6, 1000, "own")
        + &format!(r#"UPDATE "Book" SET edition = 'copy 1000' WHERE isbn13 = '{}'"#, fifth.trim());
    execute(&sandbox.source_admin_url(), &moved).await;
    let before = all(&sandbox, &[]);
    let run = staged(&sandbox, &[]).await;
    assert_eq!((run.code, &run.json_end()["losses"]), (Some(0), &json!([])), "{run:?}");
    assert_eq!(
        rows(&sandbox, r#"SELECT id, edition FROM "Book" WHERE edition IS NOT NULL"#),
        "5\tcopy 1000\n"
    );
    let run = undone(&sandbox, &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all(&sandbox, &[]), before);
}
