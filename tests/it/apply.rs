//! The transaction that makes the books equal to the verified stage: the fewest writes, every id kept, nothing lost that
//! was not announced.

use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

/// The rows of `query` in the target.
pub(crate) fn rows(sandbox: &Sandbox, query: &str) -> String {
    String::from_utf8(dump(&sandbox.target_admin_url(), query)).unwrap()
}

pub(crate) async fn staged(sandbox: &Sandbox, flags: &[&str]) -> Run {
    // A rehearsal burns ids, and these tests name books by theirs.
    let call = ["sync", "--yes", "--strategy", "staged", "--output", "json", "--no-rehearsal"];
    sandbox.run(&[&call[..], flags].concat()).await
}

/// A sandbox whose target holds the source's books.
pub(crate) async fn synced(books: u32) -> Sandbox {
    let sandbox = Sandbox::with_books(books).await;
    assert_eq!(applies(&sandbox).await, [books.into(), 0, 0, 0]);
    sandbox
}

/// Syncs, and sees both sides equal; the numbers of books new, changed, removed and unchanged.
pub(crate) async fn applies(sandbox: &Sandbox) -> [u64; 4] {
    let run = staged(sandbox, &["--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
    let counts = &run.json_end()["counts"];
    ["inserted", "updated", "deleted", "unchanged"].map(|name| counts[name].as_u64().unwrap())
}

/// SQL for the source: the first book of each pair takes the `isbn10` that the second one has.
pub(crate) fn takes(pairs: &[(i32, i32)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(id, from)| format!("({id}, {from})")).collect();
    format!(
        r#"CREATE TEMP TABLE had AS SELECT id, isbn10 FROM "Book";
        CREATE TEMP TABLE takes (id, source) AS VALUES {};
        UPDATE "Book" SET isbn10 = '~' || id WHERE id IN (SELECT source FROM takes);
        UPDATE "Book" b SET isbn10 = had.isbn10 FROM takes JOIN had ON had.id = source WHERE b.id = takes.id;
        DROP TABLE had, takes;"#,
        pairs.join(", ")
    )
}

/// SQL for the source: a copy of book `id` under another id and other keys.
pub(crate) fn copy_of(id: i32, copy: i32, isbn10: &str) -> String {
    format!(
        r#"CREATE TEMP TABLE copy AS SELECT * FROM "Book" WHERE id = {id};
        UPDATE copy SET id = {copy}, isbn10 = '{isbn10}', isbn13 = 'copy {copy}';
        INSERT INTO "Book" SELECT * FROM copy; DROP TABLE copy;"#
    )
}

const IDS: &str = r#"SELECT isbn13, id FROM "Book" ORDER BY isbn13 COLLATE "C""#;

#[tokio::test]
async fn a_first_fill_inserts_every_book_and_records_how_long_it_took() {
    let sandbox = synced(40).await;
    let recorded = "SELECT state, exported, inserted, updated, deleted, unchanged, apply_ms IS NOT NULL,
                      fingerprint_rows FROM dewey_sync.run";
    assert_eq!(rows(&sandbox, recorded), "verified\t40\t40\t0\t0\t0\tt\t40\n");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM dewey_sync.stage"), "0\n");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM dewey_sync.replaced"), "0\n", "an undo needs no list");
    let analyzed = "SELECT reltuples FROM pg_class WHERE oid = '\"Book\"'::regclass";
    assert_eq!(rows(&sandbox, analyzed), "40\n");
}

#[tokio::test]
async fn books_may_pass_their_isbn10_around_and_keep_their_ids() {
    let sandbox = synced(60).await;
    let fresh = |id: i32| format!(r#"UPDATE "Book" SET isbn10 = 'fresh {id}' WHERE id = {id};"#);
    let remove = |id: i32| format!(r#"DELETE FROM "Book" WHERE id = {id};"#);
    for (name, change, expected) in [
        ("swapped", takes(&[(93, 96), (96, 93)]), [0, 2, 0, 58]),
        ("rotated", takes(&[(99, 102), (102, 105), (105, 99)]), [0, 3, 0, 57]),
        ("a chain", takes(&[(108, 111), (111, 114)]) + &fresh(114), [0, 3, 0, 57]),
        (
            "a chain that begins at a removed one",
            takes(&[(120, 117), (123, 120)]) + &remove(117),
            [0, 2, 1, 57],
        ),
        (
            "a new one takes a changed one's",
            fresh(126) + &copy_of(126, 1001, "a gift") + &takes(&[(1001, 129)]) + &fresh(129),
            [1, 2, 0, 57],
        ),
        (
            "a new one takes a removed one's",
            copy_of(132, 1002, "x") + &takes(&[(1002, 132)]) + &remove(132),
            [1, 0, 1, 59],
        ),
    ] {
        let before = rows(&sandbox, IDS);
        execute(&sandbox.source_admin_url(), &change).await;
        assert_eq!(applies(&sandbox).await, expected, "{name}");
        let after = rows(&sandbox, IDS);
        let kept = before.lines().filter(|book| after.lines().any(|other| other == *book)).count() as u64;
        assert_eq!(kept, expected[1] + expected[3], "{name}");
    }
}

#[tokio::test]
async fn a_book_that_did_not_change_is_not_written() {
    let sandbox = synced(40).await;
    let tuples = r#"SELECT ctid, xmin, id FROM "Book" WHERE title NOT LIKE 'changed%' ORDER BY id"#;
    let before = rows(&sandbox, tuples);
    let change = r#"UPDATE "Book" SET title = 'changed' WHERE id = 96; UPDATE "Book" SET authors = '{}' WHERE id = 63"#;
    execute(&sandbox.source_admin_url(), change).await;
    assert_eq!(applies(&sandbox).await, [0, 2, 0, 38]);
    let after = rows(&sandbox, tuples);
    let same = before.lines().filter(|book| after.lines().any(|other| other == *book)).count();
    assert_eq!((before.lines().count(), after.lines().count(), same), (40, 39, 38));
}

#[tokio::test]
async fn the_ledger_tells_what_became_of_the_books() {
    let sandbox = synced(40).await;
    let changes = r#"DELETE FROM "Book" WHERE id IN (3, 6, 9); UPDATE "Book" SET title = title || '!' WHERE id IN (12, 15)"#;
    execute(&sandbox.source_admin_url(), changes).await;
    execute(
        &sandbox.target_admin_url(),
        &format!(r#"DELETE FROM "Book" WHERE id = {}"#, id_in_target(&sandbox, 18)),
    )
    .await;
    staged(&sandbox, &[]).await;
    let counted = "SELECT inserted, updated, deleted, unchanged, fingerprint_rows, apply_ms IS NOT NULL,
        snapshot_at BETWEEN started_at - interval '1 minute' AND finished_at FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    assert_eq!(rows(&sandbox, counted), "1\t2\t3\t34\t37\tt\tt\n");
}

#[tokio::test]
async fn another_owner_in_development_is_a_change() {
    let sandbox = synced(40).await;
    let other = r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES (9, 'x', 'x@example.org', now());
                   UPDATE "Book" SET "ownerId" = 9 WHERE id <= 3"#;
    execute(&sandbox.target_admin_url(), other).await;
    let run = staged(&sandbox, &["--user-id", "1"]).await;
    assert_eq!((run.code, &run.json_end()["counts"]["updated"]), (Some(0), &3.into()), "{run:?}");
    assert_eq!(rows(&sandbox, r#"SELECT count(*) FROM "Book" WHERE "ownerId" <> 1"#), "0\n");
}

#[tokio::test]
async fn a_sequence_is_raised_to_its_ids_and_never_lowered() {
    let sandbox = synced(40).await;
    for (number, (sequence, next)) in
        [("1, false", 41), ("41, true", 42), ("20, true", 43), ("100, true", 101), ("500, false", 500)]
            .iter()
            .enumerate()
    {
        execute(&sandbox.target_admin_url(), &format!(r#"SELECT setval('"Book_id_seq"', {sequence})"#)).await;
        let id = 1000 + i32::try_from(number).unwrap();
        execute(&sandbox.source_admin_url(), &copy_of(93, id, &id.to_string())).await;
        assert_eq!(applies(&sandbox).await[0], 1);
        let found = rows(&sandbox, &format!(r#"SELECT id FROM "Book" WHERE isbn13 = 'copy {id}'"#));
        assert_eq!(found, format!("{next}\n"), "{sequence}");
    }
}

#[tokio::test]
async fn an_id_without_a_sequence_of_its_own_is_no_obstacle() {
    let sandbox = synced(40).await;
    execute(
        &sandbox.target_admin_url(),
        r#"ALTER SEQUENCE "Book_id_seq" OWNED BY NONE; SELECT setval('"Book_id_seq"', 7)"#,
    )
    .await;
    execute(&sandbox.source_admin_url(), &copy_of(93, 1000, "x")).await;
    assert_eq!(applies(&sandbox).await, [1, 0, 0, 40]);
    assert_eq!(rows(&sandbox, r#"SELECT id FROM "Book" WHERE isbn13 = 'copy 1000'"#), "41\n");
    let identity = r#"ALTER TABLE "Book" ALTER id DROP DEFAULT; DROP SEQUENCE "Book_id_seq";
                      ALTER TABLE "Book" ALTER id ADD GENERATED ALWAYS AS IDENTITY"#;
    execute(&sandbox.target_admin_url(), identity).await;
    execute(&sandbox.source_admin_url(), &copy_of(93, 1001, "y")).await;
    assert_eq!(applies(&sandbox).await, [1, 0, 0, 41]);
}

#[tokio::test]
async fn what_a_trigger_alters_is_found_and_nothing_stays() {
    let sandbox = synced(40).await;
    let change = copy_of(93, 1000, "x") + r#"UPDATE "Book" SET title = 'changed' WHERE id = 96"#;
    execute(&sandbox.source_admin_url(), &change).await;
    let book = || rows(&sandbox, r#"SELECT ctid, xmin, * FROM "Book" ORDER BY id"#);
    let before = book();
    for (when, body, found) in [
        (
            "BEFORE UPDATE",
            "NEW.title := 'other'; RETURN NEW;",
            "missing: 0, extra: 0, with another value or owner: 1",
        ),
        ("BEFORE UPDATE", "RETURN NULL;", "missing: 0, extra: 0, with another value or owner: 1"),
        ("BEFORE INSERT", "RETURN NULL;", "missing: 1, extra: 0, with another value or owner: 0"),
        (
            "BEFORE INSERT",
            "NEW.isbn13 := 'other'; RETURN NEW;",
            "missing: 1, extra: 1, with another value or owner: 0",
        ),
    ] {
        let trigger = format!(
            r#"DROP FUNCTION IF EXISTS alter_book CASCADE;
            CREATE FUNCTION alter_book() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
            CREATE TRIGGER alter_book {when} ON "Book" FOR EACH ROW EXECUTE FUNCTION alter_book()"#
        );
        execute(&sandbox.target_admin_url(), &trigger).await;
        let run = staged(&sandbox, &[]).await;
        let end = run.json_end();
        assert_eq!(run.code, Some(4), "{when} {body}: {run:?}");
        assert_eq!(end["error"]["causes"][0], format!("books {found}"), "{when} {body}");
        assert_eq!(end["error"]["state"], "`\"Book\"` is unchanged", "{when} {body}");
        assert_eq!(book(), before, "{when} {body}");
    }
}

/// Rows that hang on the target's books in every way, ten books with two entries each, notes on the entries that answer
/// each other.
pub(crate) const DEPENDENTS: &str = r#"
    INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT 1, n, now() FROM generate_series(1, 2) n;
    INSERT INTO "BookInReadingList" ("bookId", "readingListId", notes)
      SELECT b.id, l.id, E'a "note", with\nlines' FROM "Book" b, "ReadingList" l WHERE b.id <= 10;
    CREATE TABLE "Note" (id serial PRIMARY KEY, "entryId" integer REFERENCES "BookInReadingList" ON DELETE CASCADE,
      answers integer REFERENCES "Note" ON DELETE CASCADE, length integer GENERATED ALWAYS AS (length(text)) STORED,
      text text, pages real DEFAULT 0.1::real / 3);
    INSERT INTO "Note" (id, "entryId", text) SELECT id, id, 'first' FROM "BookInReadingList";
    INSERT INTO "Note" (id, answers, text) SELECT id + 100, id, 'answer' FROM "Note";
    INSERT INTO "Note" (id, answers, text) SELECT id + 100, id, 'answer to it' FROM "Note" WHERE id > 100;
    CREATE TABLE "Loan" (id serial PRIMARY KEY, "bookId" integer REFERENCES "Book" ON DELETE SET NULL, who text);
    INSERT INTO "Loan" ("bookId", who) SELECT id, 'ada' FROM "Book" WHERE id <= 10;"#;

/// All that [`DEPENDENTS`] made.
pub(crate) const DEPENDENT_ROWS: [&str; 3] = [
    r#"SELECT * FROM "BookInReadingList" ORDER BY id"#,
    r#"SELECT * FROM "Note" ORDER BY id"#,
    r#"SELECT * FROM "Loan" ORDER BY id"#,
];

/// The number under which the target has a source's book.
fn id_in_target(sandbox: &Sandbox, source_id: i32) -> String {
    let key =
        dump(&sandbox.source_admin_url(), &format!(r#"SELECT isbn13 FROM "Book" WHERE id = {source_id}"#));
    let key = String::from_utf8(key).unwrap();
    rows(sandbox, &format!(r#"SELECT id FROM "Book" WHERE isbn13 = '{}'"#, key.trim_end())).trim_end().into()
}

#[tokio::test]
async fn what_hangs_on_a_removed_book_is_announced_and_the_rest_stays() {
    let sandbox = synced(40).await;
    execute(&sandbox.target_url(), DEPENDENTS).await;
    let removed = id_in_target(&sandbox, 6);
    let before: Vec<String> = DEPENDENT_ROWS.iter().map(|query| rows(&sandbox, query)).collect();
    let change = r#"DELETE FROM "Book" WHERE id = 6; UPDATE "Book" SET title = 'x' WHERE id IN (9, 12)"#;
    execute(&sandbox.source_admin_url(), change).await;

    let refused = staged(&sandbox, &[]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let cause = refused.json_end()["error"]["causes"][0].as_str().unwrap().to_owned();
    for lost in [
        r#"2 rows of `public."BookInReadingList"`"#,
        r#"6 rows of `public."Note"`"#,
        r#"the reference of 1 row of `public."Loan"`"#,
    ] {
        assert!(cause.contains(lost), "{cause}");
    }
    let now: Vec<String> = DEPENDENT_ROWS.iter().map(|query| rows(&sandbox, query)).collect();
    assert_eq!(now, before);

    assert_eq!(applies(&sandbox).await, [0, 2, 1, 37]);
    let left = |query: usize| {
        let now = rows(&sandbox, DEPENDENT_ROWS[query]);
        now.lines().filter(|row| before[query].lines().any(|old| old == *row)).count()
    };
    assert_eq!([0, 1, 2].map(left), [18, 54, 9]);
    assert_eq!(rows(&sandbox, r#"SELECT count(*), count("bookId") FROM "Loan""#), "10\t9\n");
    let kept =
        "SELECT action, place, table_name, count(*) FROM dewey_sync.replaced GROUP BY 1, 2, 3 ORDER BY 3, 1";
    insta::assert_snapshot!(rows(&sandbox, kept), @r#"
    deleted	0	"Book"	1
    updated	0	"Book"	2
    deleted	1	public."BookInReadingList"	2
    detached	1	public."Loan"	1
    deleted	2	public."Note"	6
    "#);
    assert_eq!(
        rows(&sandbox, &format!(r#"SELECT count(*) FROM "BookInReadingList" WHERE "bookId" = {removed}"#)),
        "0\n"
    );
}

#[tokio::test]
async fn a_row_that_forbids_the_removal_of_its_book_stops_the_sync() {
    let sandbox = synced(40).await;
    let hold = r#"CREATE TABLE "Hold" ("bookId" integer REFERENCES "Book" ON DELETE RESTRICT);
                  INSERT INTO "Hold" SELECT id FROM "Book" WHERE id <= 3"#;
    execute(&sandbox.target_url(), hold).await;
    // A change of a book that is held is none of its business.
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = 'x' WHERE id = 6"#).await;
    assert_eq!(applies(&sandbox).await, [0, 1, 0, 39]);
    execute(&sandbox.source_admin_url(), r#"DELETE FROM "Book" WHERE id IN (3, 6)"#).await;
    let before = rows(&sandbox, r#"SELECT ctid, xmin, * FROM "Book" ORDER BY id"#);
    let run = staged(&sandbox, &["--allow-cascade"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    let cause = &run.json_end()["error"]["causes"][0];
    assert_eq!(cause, r#"2 rows of `public."Hold"` forbid the removal of the books that they refer to"#);
    assert_eq!(rows(&sandbox, r#"SELECT ctid, xmin, * FROM "Book" ORDER BY id"#), before);
}
