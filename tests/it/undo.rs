//! `undo` brings back the books as they were before the last sync, byte for byte, or says why it cannot and changes
//! nothing.

use serde_json::{Value, json};

use crate::apply::{DEPENDENT_ROWS, DEPENDENTS, applies, copy_of, rows, staged, synced, takes};
use crate::support::inspect::{no_session_left, tuples};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

pub(crate) const BOOK_ROWS: &str = r#"SELECT * FROM "Book" ORDER BY id"#;

/// Everything that an undo brings back.
fn all_rows(sandbox: &Sandbox) -> Vec<String> {
    let queries = [BOOK_ROWS].into_iter().chain(DEPENDENT_ROWS);
    queries.map(|query| rows(sandbox, query)).collect()
}

/// One book new, three changed, two of which swapped their `isbn10`, two removed, one of them with dependents.
const CHANGE: &str = r#"UPDATE "Book" SET title = 'changed', authors = '{NULL,""}' WHERE id = 9;
                        DELETE FROM "Book" WHERE id IN (6, 96);"#;

/// A sandbox that [`CHANGE`] was synced into, and its rows before.
async fn changed() -> (Sandbox, Vec<String>) {
    let sandbox = synced(40).await;
    execute(&sandbox.target_url(), DEPENDENTS).await;
    let before = all_rows(&sandbox);
    change(&sandbox).await;
    (sandbox, before)
}

async fn change(sandbox: &Sandbox) {
    let change = takes(&[(99, 102), (102, 99)]) + &copy_of(105, 1000, "new") + CHANGE;
    execute(&sandbox.source_admin_url(), &change).await;
    assert_eq!(applies(sandbox).await, [1, 3, 2, 35]);
}

/// Runs an undo that must be refused, and sees that nothing was written; the last line of its output.
pub(crate) async fn refused(sandbox: &Sandbox, flags: &[&str], code: i32) -> Value {
    let before = tuples(&sandbox.target_admin_url()).await;
    let run = sandbox.run(&[&["undo", "--output", "json"][..], flags].concat()).await;
    assert_eq!(run.code, Some(code), "{run:?}");
    let mut after = tuples(&sandbox.target_admin_url()).await;
    // What a rolled back undo wrote is dead, but may move nothing.
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before);
    let end = run.json_end();
    assert_eq!(end["error"]["state"], "`\"Book\"` is unchanged", "{end}");
    end
}

pub(crate) fn cause(end: &Value) -> &str {
    end["error"]["causes"][0].as_str().unwrap()
}

#[tokio::test]
async fn what_a_sync_replaced_comes_back_byte_for_byte_and_only_once() {
    let (sandbox, before) = changed().await;
    let run = sandbox.run(&["undo", "--yes", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all_rows(&sandbox), before);
    let end = run.json_end();
    assert_eq!(
        end["counts"],
        json!({ "exported": 0, "inserted": 2, "updated": 3, "deleted": 1, "unchanged": 35, "skipped": 0, "failed": 0 })
    );
    assert_eq!(end["changes"], json!({ "added": 2, "changed": 3, "deleted": 1, "unchanged": 35 }));
    assert_eq!((&end["outcome"], &end["lost"]), (&json!("undone"), &json!([])), "{end}");
    let regained =
        |table, fate, rows| json!({ "table": format!("public.\"{table}\""), "fate": fate, "rows": rows });
    let expected = [
        regained("BookInReadingList", "removed", 2),
        regained("Loan", "detached", 1),
        regained("Note", "removed", 6),
    ];
    assert_eq!(end["regained"], json!(expected));
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM dewey_sync.replaced"), "0\n");
    let history = sandbox.run(&["history", "--output", "json"]).await;
    let newest: Value = serde_json::from_str(history.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&newest["action"], &newest["state"], &newest["inserted"]),
        (&json!("undo"), &json!("verified"), &json!(2))
    );

    let again = refused(&sandbox, &["--yes"], 2).await;
    assert_eq!(again["error"]["message"], "there is nothing to undo");
    no_session_left(&sandbox.target_admin_url()).await;
    // And the sync brings production's books again.
    assert_eq!(applies(&sandbox).await, [1, 3, 2, 35]);
}

#[tokio::test]
async fn a_sync_that_changed_nothing_keeps_what_can_be_undone() {
    let (sandbox, before) = changed().await;
    assert_eq!(applies(&sandbox).await, [0, 0, 0, 39]);
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all_rows(&sandbox), before);
}

#[tokio::test]
async fn only_the_last_sync_can_be_undone() {
    let (sandbox, _) = changed().await;
    let before = all_rows(&sandbox);
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = 'again' WHERE id IN (9, 12)"#).await;
    assert_eq!(applies(&sandbox).await, [0, 2, 0, 37]);
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all_rows(&sandbox), before);
    refused(&sandbox, &["--yes"], 2).await;
}

#[tokio::test]
async fn a_first_fill_is_undone_with_what_hangs_on_it_by_now_if_that_is_agreed_to() {
    let sandbox = synced(40).await;
    execute(&sandbox.target_url(), DEPENDENTS).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert_eq!(
        cause(&end),
        r#"replacing the books would also lose 20 rows of `public."BookInReadingList"`, the reference of 10 rows of `public."Loan"`, 60 rows of `public."Note"`"#
    );
    let run = sandbox.run(&["undo", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout, "undone    run 1: 0 restored, 0 changed back, 40 deleted\n");
    let left = r#"SELECT (SELECT count(*) FROM "Book"), (SELECT count(*) FROM "BookInReadingList"), (SELECT count(*) FROM "Note")"#;
    assert_eq!(rows(&sandbox, left), "0\t0\t0\n");
}

#[tokio::test]
async fn books_that_were_changed_since_are_not_overwritten() {
    let (sandbox, before) = changed().await;
    let left = all_rows(&sandbox);
    for (change, back, expected) in [
        (
            r#"UPDATE "Book" SET title = title || '!' WHERE id = 20"#,
            r#"UPDATE "Book" SET title = left(title, -1) WHERE id = 20"#,
            r#"`"Book"` was changed since: its rows or columns are not as the sync left them"#,
        ),
        (
            r#"UPDATE "Book" SET id = 2000 WHERE id = 20"#,
            r#"UPDATE "Book" SET id = 20 WHERE id = 2000"#,
            r#"`"Book"` was changed since: its rows or columns are not as the sync left them"#,
        ),
        (
            r#"CREATE TABLE aside AS SELECT * FROM "Book" WHERE id = 20; DELETE FROM "Book" WHERE id = 20"#,
            r#"INSERT INTO "Book" SELECT * FROM aside; DROP TABLE aside"#,
            r#"`"Book"` was changed since: the sync left 39 books and there are 38"#,
        ),
        (
            r#"ALTER TABLE "Book" ADD rating integer"#,
            r#"ALTER TABLE "Book" DROP rating"#,
            r#"the columns of `"Book"` are not those that it had then"#,
        ),
        (
            r#"ALTER TABLE "BookInReadingList" ALTER notes TYPE varchar(100)"#,
            r#"ALTER TABLE "BookInReadingList" ALTER notes TYPE text"#,
            r#"the columns of `public."BookInReadingList"` are not those that it had then"#,
        ),
    ] {
        execute(&sandbox.target_url(), change).await;
        assert_eq!(cause(&refused(&sandbox, &["--yes"], 3).await), expected, "{change}");
        execute(&sandbox.target_url(), back).await;
    }
    assert_eq!(all_rows(&sandbox), left);
    assert_eq!(sandbox.run(&["undo", "--yes"]).await.code, Some(0));
    assert_eq!(all_rows(&sandbox), before);
}

#[tokio::test]
async fn a_book_whose_owner_is_gone_does_not_come_back() {
    let sandbox = synced(40).await;
    let other = r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES (9, 'x', 'x@example.org', now());
                   UPDATE "Book" SET "ownerId" = 9 WHERE id = 20"#;
    execute(&sandbox.target_url(), other).await;
    let run = staged(&sandbox, &["--user-id", "1"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    execute(&sandbox.target_url(), r#"DELETE FROM "User" WHERE id = 9"#).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert!(cause(&end).starts_with(r#"rows of `public."User"` are gone, to which rows belong"#), "{end}");
}

#[tokio::test]
async fn an_entry_whose_list_is_gone_or_that_was_made_anew_does_not_come_back() {
    let (sandbox, _) = changed().await;
    execute(&sandbox.target_url(), r#"DELETE FROM "ReadingList" WHERE id = 2"#).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert!(
        cause(&end).starts_with(r#"rows of `public."ReadingList"` are gone, to which rows belong"#),
        "{end}"
    );

    let (sandbox, _) = changed().await;
    let taken = r#"INSERT INTO "BookInReadingList" (id, "bookId", "readingListId")
                   SELECT (SELECT min(n) FROM generate_series(1, 20) n WHERE n NOT IN (SELECT id FROM "BookInReadingList")), 20, 1"#;
    execute(&sandbox.target_url(), taken).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert!(cause(&end).starts_with("rows with the same key were added since"), "{end}");
}

#[tokio::test]
async fn a_row_that_forbids_the_removal_of_an_inserted_book_stops_the_undo() {
    let (sandbox, _) = changed().await;
    let hold = r#"CREATE TABLE "Hold" ("bookId" integer REFERENCES "Book");
                  INSERT INTO "Hold" SELECT id FROM "Book" WHERE isbn10 = 'new'"#;
    execute(&sandbox.target_url(), hold).await;
    let end = refused(&sandbox, &["--yes", "--allow-cascade"], 3).await;
    assert_eq!(cause(&end), r#"1 row of `public."Hold"` forbids the removal of the book that it refers to"#);
}

#[tokio::test]
async fn a_reference_comes_back_by_the_primary_key_unless_it_was_given_anew() {
    let (sandbox, before) = changed().await;
    let loans = r#"SELECT id FROM "Loan" WHERE "bookId" IS NULL"#;
    let lost = rows(&sandbox, loans);
    assert_eq!(lost.lines().count(), 1);
    execute(&sandbox.target_url(), r#"ALTER TABLE "Loan" DROP CONSTRAINT "Loan_pkey""#).await;
    let end = refused(&sandbox, &["--yes"], 3).await;
    assert_eq!(cause(&end), r#"`public."Loan"` has no primary key by which its rows could be found"#);
    execute(&sandbox.target_url(), r#"ALTER TABLE "Loan" ADD PRIMARY KEY (id)"#).await;
    execute(&sandbox.target_url(), r#"UPDATE "Loan" SET "bookId" = 20, who = 'bob' WHERE "bookId" IS NULL"#)
        .await;
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let given = format!(r#"SELECT "bookId", who FROM "Loan" WHERE id = {lost}"#);
    assert_eq!(rows(&sandbox, &given), "20\tbob\n");
    assert_eq!(all_rows(&sandbox)[..3], before[..3]);
}

#[tokio::test]
async fn what_a_trigger_alters_is_found_and_nothing_is_put_back() {
    let (sandbox, _) = changed().await;
    for trigger in [
        r#"CREATE TRIGGER alter_row BEFORE INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION alter_book()"#,
        r#"DROP TRIGGER alter_row ON "Book";
           CREATE TRIGGER alter_row BEFORE INSERT ON "BookInReadingList" FOR EACH ROW EXECUTE FUNCTION alter_entry()"#,
    ] {
        let functions = "CREATE OR REPLACE FUNCTION alter_book() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := 'x'; RETURN NEW; END $$;
            CREATE OR REPLACE FUNCTION alter_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.notes := 'x'; RETURN NEW; END $$;";
        execute(&sandbox.target_url(), &(functions.to_owned() + trigger)).await;
        let end = refused(&sandbox, &["--yes"], 4).await;
        assert_eq!(end["error"]["message"], "what was put back is not equal to what there was", "{end}");
    }
}

#[tokio::test]
async fn without_a_terminal_the_question_names_its_flag() {
    let (sandbox, _) = changed().await;
    let end = refused(&sandbox, &[], 8).await;
    assert_eq!(end["error"]["hint"], "add `--yes` to answer beforehand");
}

#[tokio::test]
async fn there_is_nothing_to_undo_without_a_staged_sync() {
    let sandbox = Sandbox::with_books(40).await;
    assert_eq!(sandbox.run(&["undo", "--yes"]).await.code, Some(2), "no ledger");
    let run = sandbox.run(&["migrate", "up"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    refused(&sandbox, &["--yes"], 2).await;
    for strategy in ["atomic", "batched"] {
        execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        applies(&sandbox).await;
        execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let end = refused(&sandbox, &["--yes"], 2).await;
        assert_eq!(end["error"]["message"], "there is nothing to undo", "{strategy}");
    }
}

#[tokio::test]
async fn a_ledger_that_came_with_a_dump_undoes_nothing() {
    let (sandbox, _) = changed().await;
    execute(&sandbox.target_admin_url(), "UPDATE dewey_sync.identity SET database_oid = 1").await;
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
}

#[tokio::test]
async fn the_source_is_not_asked() {
    let (sandbox, before) = changed().await;
    for source in ["postgres://reader@127.0.0.1:1/books", "no URL at all"] {
        sandbox.set_urls(source, &sandbox.target_url());
        let run = sandbox.run(&["undo"]).await;
        assert_eq!(run.code, Some(8), "{source}: {run:?}");
    }
    let run = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all_rows(&sandbox), before);
}
