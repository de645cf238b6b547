//! What an answer covers: the numbers of its question, and no more.

use sqlx::Connection;

use crate::guards::synced;
use crate::support::deadline::Deadline;
use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{connect, execute};
use crate::support::terminal::Terminal;

const QUESTION: &str = "? [y/N] ";

/// A synced sandbox whose production has lost the three first books, one of which is on a reading list.
async fn three_go() -> Sandbox {
    let sandbox = synced().await;
    let list =
        r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'mine', now() FROM "User""#;
    execute(&sandbox.target_admin_url(), &format!("{list}; {}", on_the_list(1))).await;
    let gone = r#"DELETE FROM "Book" WHERE id IN (SELECT id FROM "Book" ORDER BY isbn13 LIMIT 3)"#;
    execute(&sandbox.source_admin_url(), gone).await;
    sandbox
}

/// Puts the book at this place on the reading list.
fn on_the_list(place: u32) -> String {
    format!(
        r#"INSERT INTO "BookInReadingList" ("bookId", "readingListId") SELECT b.id, l.id
           FROM "ReadingList" l, (SELECT id FROM "Book" ORDER BY isbn13 OFFSET {place} - 1 LIMIT 1) b"#
    )
}

/// Makes a table of marks, with one on the book at this place.
fn mark(place: u32) -> String {
    format!(
        r#"CREATE TABLE "Mark" ("bookId" integer REFERENCES "Book" ON DELETE CASCADE);
           GRANT ALL ON "Mark" TO PUBLIC;
           INSERT INTO "Mark" SELECT id FROM "Book" ORDER BY isbn13 OFFSET {place} - 1 LIMIT 1"#
    )
}

const ANOTHER_BOOK: &str = r#"
    INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal", publisher,
                        "datePublished", binding, "pageCount", "ownerId", "updatedAt")
    SELECT 'mine', 'mine', '', '', '', '', '', '', '', '', '', 1, id, now() FROM "User""#;

/// Changes the target while the question waits, and sees whether it is asked anew; what the second question says.
async fn check(sandbox: &Sandbox, meanwhile: &str) -> Option<String> {
    let mut terminal = Terminal::start(sandbox, &["sync"]);
    terminal.until(QUESTION).await;
    no_session_left(&sandbox.target_admin_url()).await;
    execute(&sandbox.target_admin_url(), meanwhile).await;
    terminal.answer("y\n").await;
    let Some(again) = terminal.until_either(QUESTION, "applied").await else {
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(0), "{said}");
        return None;
    };
    assert!(again.contains("the target changed since the question"), "{again}");
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
    Some(again)
}

#[tokio::test]
async fn more_that_would_go_is_asked_about_anew() {
    for (meanwhile, said) in [
        (on_the_list(2), "Also lost: 2 rows of `public.\"BookInReadingList\"`."),
        (ANOTHER_BOOK.to_owned(), "4 to delete (not in production)"),
        // What the question was about was reached through other foreign keys.
        (mark(1), "1 row of `public.\"Mark\"`"),
    ] {
        let sandbox = three_go().await;
        let again = check(&sandbox, &meanwhile).await.expect("the answer did not cover that");
        assert!(again.contains(said), "{meanwhile}: {again}");
    }
}

#[tokio::test]
async fn less_or_something_else_is_covered_by_the_answer() {
    for meanwhile in [
        r#"DELETE FROM "BookInReadingList""#.to_owned(),
        r#"DELETE FROM "Book" WHERE isbn13 = (SELECT min(isbn13) FROM "Book")"#.to_owned(),
        on_the_list(100),
        mark(100),
        r#"DROP TABLE "BookInReadingList""#.to_owned(),
    ] {
        assert_eq!(check(&three_go().await, &meanwhile).await, None, "{meanwhile}");
    }
}

#[tokio::test]
async fn whoever_reads_the_stage_is_not_waited_for_while_the_books_are_locked() {
    let sandbox = three_go().await;
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    terminal.until(QUESTION).await;
    let mut reader = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE dewey_sync.stage IN ACCESS SHARE MODE")
        .execute(&mut reader)
        .await
        .unwrap();
    terminal.answer("y\n").await;
    let expected = dump(&sandbox.source_url(), BOOKS);
    let deadline = Deadline::new();
    while dump(&sandbox.target_url(), BOOKS) != expected {
        deadline.pause("the books are not applied");
    }
    reader.close().await.unwrap();
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(dump(&sandbox.target_admin_url(), "SELECT count(*) FROM dewey_sync.stage"), b"0\n");
}

#[tokio::test]
async fn without_anybody_to_ask_no_loss_comes_unseen() {
    // The entry comes when the books are counted and the apply begins, through the run's own plan.
    let sandbox = synced().await;
    let late = format!(
        r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'mine', now() FROM "User";
           CREATE FUNCTION dewey_sync.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.state = 'verified' THEN {}; END IF; RETURN NEW; END $$;
           CREATE TRIGGER late AFTER UPDATE ON dewey_sync.run FOR EACH ROW EXECUTE FUNCTION dewey_sync.late()"#,
        on_the_list(1)
    );
    execute(&sandbox.target_url(), &format!("SET search_path = public; {late}")).await;
    let gone = r#"DELETE FROM "Book" WHERE id IN (SELECT id FROM "Book" ORDER BY isbn13 LIMIT 3)"#;
    execute(&sandbox.source_admin_url(), gone).await;
    let before = dump(&sandbox.target_url(), BOOKS);
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(
        run.stderr.contains("the target changed meanwhile") || run.stderr.contains("`--allow-cascade`"),
        "{run:?}"
    );
    assert!(dump(&sandbox.target_url(), BOOKS) == before);
}
