//! References by keys of every kind come back with an undo, and those that others made or lost since are asked for.

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
