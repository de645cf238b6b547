//! A book table that is partitioned by `isbn13`, on either side: its partitions have their columns in other orders, some of
//! them dropped, and partitions of their own.

use crate::guards::{check, passes};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::{Sandbox, WAYS, ways};
use crate::support::servers::{READER, execute};

/// Makes one of the table, rows included. What referred to the `id` alone cannot any more.
const PARTITIONED: &str = r#"
    DROP TABLE "BookInReadingList";
    ALTER TABLE "Book" RENAME TO old;
    CREATE TABLE "Book" (dropped text, LIKE old INCLUDING DEFAULTS, too integer) PARTITION BY HASH (isbn13);
    ALTER TABLE "Book" DROP dropped; ALTER TABLE "Book" DROP too;
    ALTER TABLE "Book" ADD PRIMARY KEY (id, isbn13), ADD UNIQUE (isbn13);
    ALTER TABLE "Book" ADD FOREIGN KEY ("ownerId") REFERENCES "User" ON DELETE CASCADE ON UPDATE CASCADE;
    ALTER SEQUENCE "Book_id_seq" OWNED BY "Book".id;
    DO $$ DECLARE backwards text; BEGIN
      SELECT string_agg(format('%I %s %s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' ELSE '' END),
          ', ' ORDER BY attnum DESC)
        INTO backwards FROM pg_attribute WHERE attrelid = '"Book"'::regclass AND attnum > 0 AND NOT attisdropped;
      EXECUTE format('CREATE TABLE even (%s, gone bytea)', backwards);
      EXECUTE format('CREATE TABLE odd (gone bytea, %s) PARTITION BY RANGE (isbn13)', backwards);
      EXECUTE format('CREATE TABLE odd_low (%s)', backwards);
    END $$;
    ALTER TABLE even DROP gone; ALTER TABLE odd DROP gone;
    ALTER TABLE "Book" ATTACH PARTITION even FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    ALTER TABLE "Book" ATTACH PARTITION odd FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    ALTER TABLE odd ATTACH PARTITION odd_low FOR VALUES FROM (MINVALUE) TO ('9780000000100');
    CREATE TABLE odd_high PARTITION OF odd FOR VALUES FROM ('9780000000100') TO (MAXVALUE);
    INSERT INTO "Book" SELECT * FROM old; DROP TABLE old"#;

async fn partition_source(sandbox: &Sandbox) {
    let granted = format!(r#"{PARTITIONED}; GRANT SELECT ON "Book" TO {READER}"#);
    execute(&sandbox.source_admin_url(), &granted).await;
}

async fn partition_target(sandbox: &Sandbox) {
    execute(&sandbox.target_url(), PARTITIONED).await;
}

/// Changed ones, some that are gone and one that only development has.
const DRIFT: &str = r#"
    UPDATE "Book" SET title = title || '!' WHERE id % 5 = 0;
    UPDATE "Book" SET isbn10 = 'x' || id WHERE id % 10 = 3;
    DELETE FROM "Book" WHERE id % 7 = 1;
    INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal", publisher,
        "datePublished", binding, "pageCount", "ownerId", "updatedAt")
      SELECT 'dev', 'dev', 'Only here', '', '', '', '', '', '', '', '', 1, id, now() FROM "User" LIMIT 1"#;

#[tokio::test]
async fn a_partitioned_table_on_either_side_is_synced_and_undone_exactly() {
    for (case, (source, target)) in [(true, false), (false, true), (true, true)].into_iter().enumerate() {
        let sandbox = Sandbox::new().await;
        if source {
            partition_source(&sandbox).await;
        }
        if target {
            partition_target(&sandbox).await;
        }
        for (strategy, engine) in ways(case) {
            let call = ["sync", "--yes", "--strategy", strategy, "--engine", engine, "--batch-size", "50"];
            passes(&sandbox, &call).await;
            assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS), "{call:?}");
            let again = passes(&sandbox, &call).await;
            assert!(again.stdout.contains("nothing to do"), "{again:?}");
            passes(&sandbox, &["verify"]).await;
            execute(&sandbox.target_url(), DRIFT).await;
        }
        passes(&sandbox, &["doctor"]).await;
        let everything = r#"SELECT * FROM "Book" ORDER BY isbn13 COLLATE "C""#;
        let before = dump(&sandbox.target_url(), everything);
        passes(&sandbox, &["sync", "--dry-run"]).await;
        passes(&sandbox, &["sync", "--yes"]).await;
        assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
        passes(&sandbox, &["undo", "--yes"]).await;
        assert!(dump(&sandbox.target_url(), everything) == before);
    }
}

/// No key over partitions can forbid them.
const EQUAL_ISBN10: &str =
    r#"UPDATE "Book" SET isbn10 = 'equal' WHERE id IN (SELECT id FROM "Book" ORDER BY id LIMIT 3)"#;

#[tokio::test]
async fn an_isbn10_that_comes_twice_is_copied_where_nothing_forbids_it() {
    for forbidden in [false, true] {
        let sandbox = Sandbox::with_books(40).await;
        partition_source(&sandbox).await;
        execute(&sandbox.source_admin_url(), EQUAL_ISBN10).await;
        if !forbidden {
            partition_target(&sandbox).await;
        }
        for (strategy, engine) in WAYS {
            let run = sandbox.run(&["sync", "--yes", "--strategy", strategy, "--engine", engine]).await;
            let (code, said) = match (forbidden, strategy) {
                (false, _) => (0, ""),
                // Before it deletes anything.
                (true, "batched") => (3, "do not fit into development: source ids -7, 3"),
                (true, _) => (5, "have a unique value in common"),
            };
            assert_eq!(run.code, Some(code), "{strategy} {engine}: {run:?}");
            assert!(run.stderr.contains(said), "{strategy} {engine}: {run:?}");
            if !forbidden {
                assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
                execute(&sandbox.target_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
            }
        }
    }
}

#[tokio::test]
async fn an_id_that_comes_twice_in_the_target_is_told_before_anything_is_written() {
    let sandbox = Sandbox::with_books(40).await;
    partition_target(&sandbox).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    let equal_ids = r#"UPDATE "Book" SET id = 1 WHERE id < (SELECT min(id) + 3 FROM "Book"); UPDATE "Book" SET title = ''"#;
    execute(&sandbox.target_url(), equal_ids).await;
    let said = check(&sandbox, &["sync", "--yes"]).await;
    assert!(said.contains("has no unique key on `id`, and 1 ids more than once"), "{said}");
}
