//! References by keys of every kind come back with an undo, and those that others made or lost since are asked for.

use serde_json::json;

use crate::apply::{copy_of, rows, synced};
use crate::support::servers::execute;
use crate::undo::{BOOK_ROWS, cause, refused};

/// A reference by a value that books of a sync may have in common, in columns whose names others would trip over.
#[tokio::test]
async fn a_reference_by_value_comes_back_whatever_its_book_had_to_give_up() {
    const SHELF: &str = r"SELECT * FROM shelf ORDER BY id";
    for (on_delete, on_update) in
        [("SET NULL", "CASCADE"), ("SET NULL", "SET NULL"), ("SET DEFAULT", "SET DEFAULT")]
    {
        let sandbox = synced(40).await;
        let shelf = format!(
            r#"CREATE TABLE shelf (id int PRIMARY KEY, weight float8, "{{table}}" varchar(10) REFERENCES "Book" (isbn10)
                 ON DELETE {on_delete} ON UPDATE {on_update}, CHECK (weight IS NOT NULL));
               INSERT INTO shelf SELECT id, 0.1, isbn10 FROM "Book""#
        );
        execute(&sandbox.target_url(), &shelf).await;
        let before = [rows(&sandbox, BOOK_ROWS), rows(&sandbox, SHELF)];
        execute(
            &sandbox.source_admin_url(),
            r#"UPDATE "Book" SET isbn13 = 'another' WHERE id = 9; DELETE FROM "Book" WHERE id = 6"#,
        )
        .await;
        let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_ne!(rows(&sandbox, SHELF), before[1], "{on_delete}, {on_update}");
        let run = sandbox.run(&["undo", "--yes"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!([rows(&sandbox, BOOK_ROWS), rows(&sandbox, SHELF)], before, "{on_delete}, {on_update}");
    }
}

/// A row that refers to a book which the sync brought, added since, loses the reference when the book goes again.
#[tokio::test]
async fn a_reference_by_value_that_was_made_since_is_asked_for() {
    for on_update in ["CASCADE", "SET NULL", "NO ACTION"] {
        let sandbox = synced(40).await;
        let shelf = format!(
            r#"CREATE TABLE shelf (id int PRIMARY KEY, isbn varchar(10) REFERENCES "Book" (isbn10) ON DELETE SET NULL ON UPDATE {on_update});
               INSERT INTO shelf SELECT id, isbn10 FROM "Book""#
        );
        execute(&sandbox.target_url(), &shelf).await;
        let change = copy_of(105, 1000, "new") + r#"DELETE FROM "Book" WHERE id = 6"#;
        execute(&sandbox.source_admin_url(), &change).await;
        let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let since = r#"INSERT INTO shelf SELECT 1000, isbn10 FROM "Book" ORDER BY id DESC LIMIT 1"#;
        execute(&sandbox.target_url(), since).await;
        let end = refused(&sandbox, &["--yes"], 3).await;
        assert!(cause(&end).contains("the reference of 1 row of `public.shelf`"), "{on_update}: {end}");
        let run = sandbox.run(&["undo", "--yes", "--allow-cascade"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
    }
}

/// Rows that others added to a table whose own rows follow books back, and what a trigger changes in one of these.
#[tokio::test]
async fn rows_of_others_that_follow_the_books_back_are_asked_for_each() {
    let sandbox = synced(40).await;
    let loans = r#"CREATE TABLE loan (id int PRIMARY KEY, book varchar(10) REFERENCES "Book" (isbn10) ON UPDATE CASCADE, seen int DEFAULT 0);
        INSERT INTO loan SELECT id, isbn10 FROM "Book""#;
    execute(&sandbox.target_url(), loans).await;
    let change = r#"UPDATE "Book" SET isbn10 = 'new ' || id WHERE id IN (6, 9, 12)"#;
    execute(&sandbox.source_admin_url(), change).await;
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let since = r"INSERT INTO loan SELECT 1000 + number, book FROM loan, generate_series(1, 2) number WHERE book = 'new 6'";
    execute(&sandbox.target_url(), since).await;
    let of_two = "the reference of 2 rows of `public.loan`";
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert!(cause(&end).contains(of_two), "{end}");
    let trigger = "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE loan SET seen = 1 WHERE id = (SELECT id FROM loan WHERE book = 'new 9'); RETURN NULL; END $$;
        CREATE TRIGGER see BEFORE UPDATE ON \"Book\" FOR EACH STATEMENT EXECUTE FUNCTION see()";
    execute(&sandbox.target_url(), trigger).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert!(cause(&end).contains(&of_two.replace('2', "3")), "{end}");
    let run = sandbox.run(&["undo", "--yes", "--allow-cascade", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let regained = json!([{ "table": "public.loan", "fate": "detached", "rows": 3 }]);
    assert_eq!(run.json_end()["regained"], regained);
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM loan WHERE book LIKE 'new%'"), "0\n");
}

/// A trigger of the target changes another row of a table whose references come back, while books follow their own keys.
#[tokio::test]
async fn what_a_trigger_changes_beside_a_reference_that_comes_back_is_asked_for() {
    let sandbox = synced(40).await;
    let notes = r#"
        ALTER TABLE "Book" ADD sequel varchar(13) REFERENCES "Book" (isbn13) ON UPDATE CASCADE;
        CREATE TABLE note (id int PRIMARY KEY, of int REFERENCES "Book" ON DELETE SET NULL, seen int DEFAULT 0);
        INSERT INTO note SELECT id, id FROM "Book"; INSERT INTO note VALUES (1000, NULL)"#;
    execute(&sandbox.target_url(), notes).await;
    execute(&sandbox.source_admin_url(), r#"DELETE FROM "Book" WHERE id = 6"#).await;
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let trigger = "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE note SET seen = seen + 1 WHERE id = 1000; RETURN NULL; END $$;
        CREATE TRIGGER see AFTER INSERT ON \"Book\" FOR EACH STATEMENT EXECUTE FUNCTION see()";
    execute(&sandbox.target_url(), trigger).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert!(end["error"].to_string().contains("public.note"), "{end}");
    let run = sandbox.run(&["undo", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// One key empties the column, the other one follows the column that is emptied.
#[tokio::test]
async fn a_column_of_two_foreign_keys_comes_back_once() {
    let sandbox = synced(40).await;
    let shelves = r#"CREATE TABLE place (id int PRIMARY KEY, of varchar(10) UNIQUE REFERENCES "Book" (isbn10) ON DELETE SET NULL);
        CREATE TABLE shelf (id int PRIMARY KEY, of varchar(10) REFERENCES place (of) ON UPDATE CASCADE
          REFERENCES "Book" (isbn10) ON DELETE SET NULL ON UPDATE CASCADE);
        INSERT INTO place SELECT id, isbn10 FROM "Book"; INSERT INTO shelf SELECT id, isbn10 FROM "Book""#;
    execute(&sandbox.target_url(), shelves).await;
    let all = || [BOOK_ROWS, "SELECT * FROM place, shelf ORDER BY 1, 3"].map(|query| rows(&sandbox, query));
    let before = all();
    execute(&sandbox.source_admin_url(), r#"DELETE FROM "Book" WHERE id = 6"#).await;
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all(), before);
}

/// Its column may not be empty, and the key's action empties it.
#[tokio::test]
async fn a_reference_made_since_that_cannot_be_lost_forbids_the_undo() {
    let sandbox = synced(40).await;
    let shelf =
        r#"CREATE TABLE shelf (id int PRIMARY KEY, book int NOT NULL REFERENCES "Book" ON DELETE SET NULL)"#;
    execute(&sandbox.target_url(), shelf).await;
    execute(&sandbox.source_admin_url(), &copy_of(105, 1000, "new")).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    execute(&sandbox.target_url(), r#"INSERT INTO shelf SELECT 1, max(id) FROM "Book""#).await;
    let end = refused(&sandbox, &["--yes", "--allow-cascade"], 3).await;
    assert!(cause(&end).contains("null value in column \"book\" of relation \"shelf\""), "{end}");
}

/// Three references of `shelf` that a sync took away or changed, one of which somebody gave another book since.
async fn one_of_three_given_anew(shelf: &str, change: &str) {
    let sandbox = synced(40).await;
    execute(&sandbox.target_url(), shelf).await;
    let before = rows(&sandbox, SHELF);
    execute(&sandbox.source_admin_url(), change).await;
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let detached = rows(&sandbox, "SELECT id FROM shelf WHERE book IS DISTINCT FROM was ORDER BY id");
    assert_eq!(detached.lines().count(), 3, "{shelf}");
    let anew = detached.lines().next().unwrap();
    let give = format!("UPDATE shelf SET book = (SELECT book FROM shelf WHERE id = 40) WHERE id = {anew}");
    execute(&sandbox.target_url(), &give).await;
    let run = sandbox.run(&["undo", "--yes", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let now = rows(&sandbox, "SELECT id FROM shelf WHERE book IS DISTINCT FROM was");
    let given = format!("SELECT book = (SELECT was FROM shelf WHERE id = 40) FROM shelf WHERE id = {anew}");
    assert_eq!((now.trim(), rows(&sandbox, &given).trim()), (anew, "t"), "{shelf}");
    let regained = json!([{ "table": "public.shelf", "fate": "detached", "rows": 2 }]);
    assert_eq!(run.json_end()["regained"], regained, "{shelf}");
    execute(&sandbox.target_url(), &format!("UPDATE shelf SET book = was WHERE id = {anew}")).await;
    assert_eq!(rows(&sandbox, SHELF), before, "{shelf}");
}

const SHELF: &str = "SELECT * FROM shelf ORDER BY id";

const DELETED: &str = r#"DELETE FROM "Book" WHERE id IN (6, 9, 12)"#;

#[tokio::test]
async fn a_reference_given_anew_stays_where_a_deletion_emptied_it() {
    let shelf = r#"CREATE TABLE shelf (id int PRIMARY KEY, was int, book int REFERENCES "Book" ON DELETE SET NULL);
        INSERT INTO shelf SELECT id, id, id FROM "Book""#;
    one_of_three_given_anew(shelf, DELETED).await;
}

#[tokio::test]
async fn a_reference_given_anew_stays_where_a_deletion_set_the_default() {
    let shelf = r#"CREATE TABLE shelf (id int PRIMARY KEY, was int, book int DEFAULT 39 REFERENCES "Book" ON DELETE SET DEFAULT);
        INSERT INTO shelf SELECT id, id, id FROM "Book""#;
    one_of_three_given_anew(shelf, DELETED).await;
}

#[tokio::test]
async fn a_reference_given_anew_stays_where_it_had_followed_its_book() {
    let change = r#"UPDATE "Book" SET isbn10 = 'new ' || id WHERE id IN (6, 9, 12)"#;
    for primary_key in ["id", "id, book"] {
        let shelf = format!(
            r#"CREATE TABLE shelf (id int, was varchar(10), book varchar(10) REFERENCES "Book" (isbn10) ON UPDATE CASCADE,
              PRIMARY KEY ({primary_key}));
            INSERT INTO shelf SELECT id, isbn10, isbn10 FROM "Book""#
        );
        one_of_three_given_anew(&shelf, change).await;
    }
}

/// It is given the book that the undo changes back, whose old value is another one then.
#[tokio::test]
async fn a_reference_given_anew_follows_the_book_that_it_was_given() {
    let sandbox = synced(40).await;
    let shelf = r#"CREATE TABLE shelf (id int PRIMARY KEY, book varchar(10) REFERENCES "Book" (isbn10) ON DELETE SET NULL ON UPDATE CASCADE);
        INSERT INTO shelf SELECT id, isbn10 FROM "Book""#;
    execute(&sandbox.target_url(), shelf).await;
    let before = rows(&sandbox, BOOK_ROWS);
    let change = r#"DELETE FROM "Book" WHERE id IN (6, 9); UPDATE "Book" SET isbn10 = 'new' WHERE id = 12"#;
    execute(&sandbox.source_admin_url(), change).await;
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let give = "UPDATE shelf SET book = 'new' WHERE id = (SELECT min(id) FROM shelf WHERE book IS NULL)";
    execute(&sandbox.target_url(), give).await;
    let run = sandbox.run(&["undo", "--yes", "--allow-cascade", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(rows(&sandbox, BOOK_ROWS), before);
    let shared = "SELECT count(*), count(DISTINCT book), count(book) FROM shelf";
    assert_eq!(rows(&sandbox, shared), "40\t39\t40\n");
    let regained = json!([{ "table": "public.shelf", "fate": "detached", "rows": 2 }]);
    assert_eq!(run.json_end()["regained"], regained);
}

/// Two references of one row are two decisions; the names are chosen to end a quotation.
#[tokio::test]
async fn each_reference_of_a_row_is_decided_by_itself() {
    let sandbox = synced(40).await;
    let shelf = r#"CREATE TABLE "$dewey_left$ '%I" (id int PRIMARY KEY, "a' $dewey_left$" int REFERENCES "Book" ON DELETE SET NULL,
          "b}}" int REFERENCES "Book" ON DELETE SET DEFAULT);
        INSERT INTO "$dewey_left$ '%I" SELECT id, id, id FROM "Book""#;
    execute(&sandbox.target_url(), shelf).await;
    execute(&sandbox.source_admin_url(), DELETED).await;
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let give = r#"UPDATE "$dewey_left$ '%I" SET "b}}" = 40 WHERE "b}}" IS NULL"#;
    execute(&sandbox.target_url(), give).await;
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let both = r#"SELECT count(*) FILTER (WHERE "a' $dewey_left$" = id), count(*) FILTER (WHERE "b}}" = 40) FROM "$dewey_left$ '%I""#;
    assert_eq!(rows(&sandbox, both), "40\t4\n");
}

/// A key of a type whose operators the search path does not have, and a child's row that has the same key.
#[tokio::test]
async fn a_row_is_found_again_by_a_key_of_any_type_and_its_children_are_not_it() {
    let sandbox = synced(10).await;
    let note = r#"CREATE SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext; GRANT USAGE ON SCHEMA ext TO public;
        CREATE TABLE note (id ext.ltree PRIMARY KEY, book integer REFERENCES "Book" ON DELETE SET NULL);
        CREATE TABLE child () INHERITS (note); GRANT ALL ON note, child TO public;
        INSERT INTO note SELECT 'a', id FROM "Book" WHERE id = 2; INSERT INTO child VALUES ('a', 777)"#;
    execute(&sandbox.target_admin_url(), note).await;
    let all = || rows(&sandbox, "SELECT tableoid::regclass, id::text, book FROM note ORDER BY 1, 2");
    let before = all();
    let isbn13 = rows(&sandbox, r#"SELECT isbn13 FROM "Book" WHERE id = 2"#);
    let gone = format!(r#"DELETE FROM "Book" WHERE isbn13 = '{}'"#, isbn13.trim());
    execute(&sandbox.source_admin_url(), &gone).await;
    let sync = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(sync.code, Some(0), "{sync:?}");
    assert_ne!(all(), before);
    let undo = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(undo.code, Some(0), "{undo:?}");
    assert_eq!(all(), before);
}
