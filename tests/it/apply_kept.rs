//! What an apply leaves alone or puts aside: columns that only development has, reading lists, digests for an undo.

use crate::apply::{applies, copy_of, rows, staged, synced, takes};
use crate::support::servers::execute;

#[tokio::test]
async fn columns_that_only_development_has_keep_their_values() {
    let sandbox = synced(40).await;
    let extra = r#"ALTER TABLE "Book" ADD rating integer DEFAULT 5, ADD words integer GENERATED ALWAYS AS (length(title)) STORED;
                   UPDATE "Book" SET rating = 1 WHERE id <= 20"#;
    execute(&sandbox.target_admin_url(), extra).await;
    let change = copy_of(93, 1000, "x") + r#"UPDATE "Book" SET title = 'four' WHERE id IN (96, 3)"#;
    execute(&sandbox.source_admin_url(), &change).await;
    assert_eq!(applies(&sandbox).await, [1, 2, 0, 38]);
    assert_eq!(
        rows(&sandbox, r#"SELECT rating, count(*) FROM "Book" GROUP BY 1 ORDER BY 1"#),
        "1\t20\n5\t21\n"
    );
    assert_eq!(
        rows(&sandbox, r#"SELECT words, rating FROM "Book" WHERE title = 'four' ORDER BY 2"#),
        "4\t1\n4\t5\n"
    );
}

/// No run that goes on would get further.
#[tokio::test]
async fn a_key_of_developments_own_is_to_be_dropped() {
    let sandbox = synced(5).await;
    execute(&sandbox.target_admin_url(), r#"CREATE UNIQUE INDEX titles ON "Book" (lower(title))"#).await;
    let change = r#"UPDATE "Book" SET title = CASE id WHEN 3 THEN 'One' ELSE 'oNE' END WHERE id IN (3, 6)"#;
    execute(&sandbox.source_admin_url(), change).await;
    let before = rows(&sandbox, r#"SELECT ctid, xmin, * FROM "Book" ORDER BY id"#);
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains(r#"unique constraint "titles""#), "{run:?}");
    assert!(
        run.stderr.contains("hint: if only development has that key, drop it")
            && !run.stderr.contains("--resume"),
        "{run:?}"
    );
    assert_eq!(rows(&sandbox, r#"SELECT ctid, xmin, * FROM "Book" ORDER BY id"#), before);
    execute(&sandbox.target_admin_url(), "DROP INDEX titles").await;
    assert_eq!(applies(&sandbox).await, [0, 2, 0, 3]);
}

/// To development's collation nothing has changed.
#[tokio::test]
async fn a_text_that_development_takes_for_equal_is_changed_all_the_same() {
    let sandbox = synced(5).await;
    let blind = r#"CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        ALTER TABLE "Book" ALTER title TYPE text COLLATE blind, ALTER authors TYPE text[] COLLATE blind"#;
    execute(&sandbox.target_admin_url(), blind).await;
    let change =
        r#"UPDATE "Book" SET title = 'A' WHERE id IN (3, 6); UPDATE "Book" SET authors = '{B}' WHERE id = 9"#;
    for (change, changed) in [(change.to_owned(), 3), (change.replace("'A'", "'a'").replace("{B}", "{b}"), 3)]
    {
        execute(&sandbox.source_admin_url(), &change).await;
        assert_eq!(applies(&sandbox).await, [0, changed, 0, 5 - changed]);
    }
}

#[tokio::test]
async fn a_time_of_change_that_only_development_has_stays_and_new_books_get_the_runs() {
    let sandbox = synced(40).await;
    let old =
        "SELECT md5(string_agg(\"updatedAt\"::text, ',' ORDER BY id)) FROM \"Book\" WHERE isbn10 <> 'x'";
    let before = rows(&sandbox, old);
    let change = copy_of(93, 1000, "x")
        + r#"UPDATE "Book" SET title = 'x' WHERE id = 96; ALTER TABLE "Book" DROP "updatedAt""#;
    execute(&sandbox.source_admin_url(), &change).await;
    let run = staged(&sandbox, &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let counts = &run.json_end()["counts"];
    assert_eq!((&counts["inserted"], &counts["updated"]), (&1.into(), &1.into()));
    assert_eq!(rows(&sandbox, old), before);
    let new = r#"SELECT "updatedAt" <= finished_at AT TIME ZONE 'UTC' AND "updatedAt" > now() - interval '1 day' FROM "Book",
                 dewey_sync.run WHERE isbn10 = 'x' ORDER BY run_id DESC LIMIT 1"#;
    assert_eq!(rows(&sandbox, new), "t\n");
}

#[tokio::test]
async fn the_digests_of_a_generation_are_those_of_the_whole_table() {
    let sandbox = synced(60).await;
    let whole = r#"SELECT count(*), mod(mod(sum(('x' || encode(substr(sha256(record_send(b.*)), 1, 8), 'hex'))::bit(64)::bigint),
                     18446744073709551616) + 18446744073709551616, 18446744073709551616) FROM "Book" b"#;
    let recorded = |which: &str| {
        let text = rows(&sandbox, &format!("SELECT rows_{which}, digest_{which} FROM dewey_sync.generation"));
        let (count, hex) = text.trim_end().split_once('\t').unwrap();
        format!("{count}\t{}\n", u64::from_str_radix(hex, 16).unwrap())
    };
    assert_eq!((recorded("before"), recorded("after")), ("0\t0\n".into(), rows(&sandbox, whole)));
    let before = rows(&sandbox, whole);
    let change = takes(&[(93, 96), (96, 93)])
        + &copy_of(99, 1000, "x")
        + r#"DELETE FROM "Book" WHERE id IN (102, 105)"#;
    execute(&sandbox.source_admin_url(), &change).await;
    assert_eq!(applies(&sandbox).await, [1, 2, 2, 56]);
    assert_eq!((recorded("before"), recorded("after")), (before, rows(&sandbox, whole)));
}

#[tokio::test]
async fn a_developers_reading_list_survives_and_undo_brings_back_what_did_not() {
    let sandbox = synced(100).await;
    let list = r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") VALUES (1, 'mine', now());
                  INSERT INTO "BookInReadingList" ("bookId", "readingListId", position)
                    SELECT b.id, l.id, b.id FROM "Book" b, "ReadingList" l ORDER BY b.id LIMIT 50"#;
    execute(&sandbox.target_admin_url(), list).await;
    let entries =
        r#"SELECT e.*, b.isbn13 FROM "BookInReadingList" e JOIN "Book" b ON b.id = "bookId" ORDER BY e.id"#;
    let all = [r#"SELECT * FROM "Book" ORDER BY id"#, entries];
    let before = all.map(|query| rows(&sandbox, query));
    assert_eq!(before[1].lines().count(), 50);
    let change =
        r#"UPDATE "Book" SET title = 'changed' WHERE id IN (3, 6, 9); DELETE FROM "Book" WHERE id = 12;"#;
    execute(&sandbox.source_admin_url(), &(change.to_owned() + &takes(&[(15, 18), (18, 15)]))).await;

    let refused = staged(&sandbox, &[]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let cause = &refused.json_end()["error"]["causes"][0];
    assert_eq!(cause, r#"replacing the books would also lose 1 row of `public."BookInReadingList"`"#);
    assert_eq!(applies(&sandbox).await, [0, 5, 1, 94]);
    let left = rows(&sandbox, entries);
    assert_eq!(left.lines().filter(|entry| before[1].lines().any(|old| old == *entry)).count(), 49);

    let undo = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(undo.code, Some(0), "{undo:?}");
    assert_eq!(all.map(|query| rows(&sandbox, query)), before);
}
