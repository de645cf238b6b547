//! Nothing of another table, and no book of both sides, is lost that nobody agreed to: what foreign keys do is predicted, what
//! anything does is measured, and an undo restores it or says what it cannot.

use serde_json::{Value, json};

use crate::apply::{copy_of, rows, staged, synced, takes};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;
use crate::support::terminal::Terminal;

const BOOKS: &str = r#"SELECT * FROM "Book" ORDER BY id"#;

/// A book that only development has.
pub(crate) const OWN: &str = r#"
    INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal", publisher,
                        "datePublished", binding, "pageCount", "ownerId", "updatedAt")
    SELECT 'own', 'own', '', '', '', '', '', '', '', '', '', 1, id, now() FROM "User""#;

/// Everything that is to be seen of a database of these tables.
pub(crate) fn all(sandbox: &Sandbox, tables: &[&str]) -> Vec<String> {
    let others = tables.iter().map(|table| format!("SELECT t::text FROM {table} t ORDER BY 1"));
    std::iter::once(BOOKS.to_owned()).chain(others).map(|query| rows(sandbox, &query)).collect()
}

/// Refuses without the flag and changes nothing; the cause.
async fn refused(sandbox: &Sandbox, tables: &[&str], flags: &[&str]) -> String {
    let before = all(sandbox, tables);
    let run = staged(sandbox, flags).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(all(sandbox, tables), before);
    run.json_end()["error"]["causes"][0].as_str().unwrap().to_owned()
}

pub(crate) async fn agreed(sandbox: &Sandbox) -> Value {
    let run = staged(sandbox, &["--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    run.json_end()
}

pub(crate) async fn undone(sandbox: &Sandbox, flags: &[&str]) -> Run {
    sandbox.run(&[&["undo", "--yes", "--output", "json"][..], flags].concat()).await
}

/// Refused, agreed to, undone exactly.
pub(crate) async fn comes_back(sandbox: &Sandbox, tables: &[&str]) -> (String, Value) {
    let cause = refused(sandbox, tables, &[]).await;
    let before = all(sandbox, tables);
    let end = agreed(sandbox).await;
    let run = undone(sandbox, &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(all(sandbox, tables), before);
    (cause, end)
}

pub(crate) fn loss(table: &str, deleted: u64, updated: u64) -> Value {
    json!({ "table": table, "deleted": deleted, "updated": updated, "inserted": 0 })
}

/// Two books swap their `isbn10`, which is a key of three tables, and one gets a new one.
#[tokio::test]
async fn what_refers_to_a_value_that_changes_is_announced_and_comes_back() {
    for (action, said) in [("SET NULL", 3), ("CASCADE", 3), ("SET DEFAULT", 3)] {
        let sandbox = synced(20).await;
        let reviews = format!(
            r#"CREATE TABLE review (id serial PRIMARY KEY, isbn varchar(10) DEFAULT NULL REFERENCES "Book" (isbn10) ON UPDATE {action});
            INSERT INTO review (isbn) SELECT isbn10 FROM "Book" WHERE id <= 5"#
        );
        execute(&sandbox.target_url(), &reviews).await;
        let at = |id: i32| {
            let isbn13 = rows(&sandbox, &format!(r#"SELECT isbn13 FROM "Book" WHERE id = {id}"#));
            let source = format!(r#"SELECT id FROM "Book" WHERE isbn13 = '{}'"#, isbn13.trim());
            let id = crate::support::inspect::dump(&sandbox.source_admin_url(), &source);
            String::from_utf8(id).unwrap().trim().parse::<i32>().unwrap()
        };
        let (one, other, third) = (at(1), at(2), at(3));
        let change = takes(&[(one, other), (other, one)])
            + &format!(r#"UPDATE "Book" SET isbn10 = 'new' WHERE id = {third}"#);
        execute(&sandbox.source_admin_url(), &change).await;
        let (cause, _) = comes_back(&sandbox, &["review"]).await;
        assert_eq!(
            cause,
            format!("replacing the books would also lose the reference of {said} rows of `public.review`"),
            "{action}"
        );
    }
}

/// A table of favourites has no foreign key; a trigger keeps it. Another one counts books, and a third writes an audit.
const TRIGGERS: &str = r#"
    CREATE TABLE favourite (book integer); INSERT INTO favourite SELECT id FROM "Book" WHERE isbn13 = 'own';
    CREATE TABLE audit (what text);
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      DELETE FROM public.favourite WHERE book = OLD.id; INSERT INTO public.audit VALUES (TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER keep AFTER DELETE ON "Book" FOR EACH ROW EXECUTE FUNCTION keep();"#;

#[tokio::test]
async fn what_a_trigger_does_elsewhere_is_measured_and_named_as_not_undone() {
    let sandbox = synced(20).await;
    execute(&sandbox.target_url(), &format!("{OWN}; {TRIGGERS}")).await;
    let doctor = sandbox.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("trigger `keep` (DELETE)"), "{doctor:?}");
    let dry = sandbox.run(&["sync", "--dry-run"]).await;
    assert!(dry.stdout.contains("trigger `keep` (DELETE)"), "{dry:?}");
    let cause = refused(&sandbox, &["favourite", "audit"], &[]).await;
    assert_eq!(cause, "replacing the books would also lose 1 row of `public.favourite`");
    let end = agreed(&sandbox).await;
    assert_eq!(end["losses"], json!([loss("public.favourite", 1, 0)]));
    let audit = json!({ "table": "public.audit", "deleted": 0, "updated": 0, "inserted": 1 });
    assert_eq!(end["not_undone"], json!([loss("public.favourite", 1, 0), audit]));
    let undo = undone(&sandbox, &[]).await;
    assert_eq!((undo.code, &undo.json_end()["not_undone"]), (Some(0), &end["not_undone"]), "{undo:?}");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM favourite"), "0\n");
}

/// A trigger that only inserts is no loss, on every way.
#[tokio::test]
async fn rows_that_a_trigger_inserts_are_shown_and_not_asked_about() {
    let sandbox = synced(20).await;
    execute(&sandbox.target_url(), &format!("{OWN}; {TRIGGERS}; TRUNCATE favourite")).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("`undo` does not restore `public.audit`: 1 inserted"), "{run:?}");
    for strategy in ["atomic", "batched"] {
        execute(&sandbox.target_url(), OWN).await;
        let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
    }
}

/// A trigger deletes books that nobody listed.
#[tokio::test]
async fn books_that_a_trigger_deletes_are_a_loss() {
    let sandbox = synced(20).await;
    let trigger = r#"CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN DELETE FROM public."Book" WHERE id IN (1, 2); RETURN NULL; END $$;
        CREATE TRIGGER tidy AFTER INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION tidy()"#;
    execute(&sandbox.target_url(), trigger).await;
    execute(&sandbox.source_admin_url(), &copy_of(3, 1000, "x")).await;
    let cause = refused(&sandbox, &[], &[]).await;
    assert_eq!(cause, r#"replacing the books would also lose 2 rows of `public."Book"`"#);
}

/// Every way asks first; a statement that leaves no count is refused whatever was agreed.
#[tokio::test]
async fn a_table_that_a_trigger_empties_is_a_loss_of_unknown_size() {
    for body in [
        "TRUNCATE public.favourite",
        "DROP TABLE IF EXISTS public.favourite",
        "ALTER TABLE public.favourite ALTER book TYPE text",
        "ALTER TABLE public.favourite DROP COLUMN IF EXISTS book",
    ] {
        let sandbox = synced(20).await;
        let triggers = TRIGGERS.replace("DELETE FROM public.favourite WHERE book = OLD.id", body);
        execute(&sandbox.target_url(), &format!("{OWN}; {triggers}")).await;
        let cause = refused(&sandbox, &["favourite"], &["--allow-cascade"]).await;
        assert!(cause.contains("`public.favourite`"), "{body}: {cause}");
        for strategy in ["atomic", "batched"] {
            let run = sandbox.run(&["sync", "--yes", "--allow-cascade", "--strategy", strategy]).await;
            assert_eq!(run.code, Some(3), "{body}: {run:?}");
        }
        assert_eq!(rows(&sandbox, "SELECT count(*) FROM favourite"), "1\n", "{body}");
    }
}

/// It acts when the constraints are checked, which a COMMIT would do last of all.
#[tokio::test]
async fn a_deferred_trigger_is_measured_as_well() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = synced(20).await;
        let deferred = TRIGGERS.replace(
            "CREATE TRIGGER keep AFTER DELETE ON \"Book\"",
            "CREATE CONSTRAINT TRIGGER keep AFTER DELETE ON \"Book\" DEFERRABLE INITIALLY DEFERRED",
        );
        execute(&sandbox.target_url(), &format!("{OWN}; {deferred}")).await;
        let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(3), "{strategy}: {run:?}");
        assert!(run.stderr.contains("1 row of `public.favourite`"), "{strategy}: {run:?}");
        assert_eq!(rows(&sandbox, "SELECT count(*) FROM favourite"), "1\n", "{strategy}");
        assert_eq!(rows(&sandbox, r#"SELECT count(*) FROM "Book""#), "21\n", "{strategy}");
    }
}

/// The reading list gets another entry between the question's count and the apply's: nobody foresees it, nobody counts it but us.
/// What a trigger takes of a table that foreign keys reach is seen nevertheless, by every strategy and by an undo.
#[tokio::test]
async fn where_the_server_counts_nothing_the_tables_of_foreign_keys_are_counted() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = uncounted("AFTER DELETE").await;
        let call = ["sync", "--yes", "--strategy", strategy, "--output", "json"];
        let before = all(&sandbox, &["mark"]);
        let run = sandbox.run(&call).await;
        assert_eq!(run.code, Some(3), "{strategy}: {run:?}");
        assert_eq!(all(&sandbox, &["mark"]), before, "{strategy}");
        let run = sandbox.run(&[&call[..], &["--allow-cascade"]].concat()).await;
        assert_eq!(run.code, Some(0), "{strategy}: {run:?}");
        assert!(run.stdout.contains("`track_counts` is off"), "{strategy}: {run:?}");
        assert_eq!(run.json_end()["losses"], json!([loss("public.mark", 3, 0)]), "{strategy}");
    }
    let sandbox = uncounted("AFTER INSERT").await;
    agreed(&sandbox).await;
    execute(
        &sandbox.target_url(),
        "DELETE FROM mark; INSERT INTO mark SELECT NULL FROM generate_series(1, 4)",
    )
    .await;
    let dry = sandbox.run(&["sync", "--dry-run"]).await;
    assert!(dry.stderr.contains("`track_counts` is off"), "{dry:?}");
    let run = undone(&sandbox, &["--allow-cascade"]).await;
    let lost = json!([{ "table": "public.mark", "fate": "removed", "rows": 4 }]);
    assert_eq!((run.code, &run.json_end()["lost"]), (Some(0), &lost), "{run:?}");
}

/// A target that counts nothing, with a book of its own and three marks of others, which a trigger deletes.
async fn uncounted(when: &str) -> Sandbox {
    let sandbox = synced(20).await;
    let name = &sandbox.database;
    let marks = format!(
        r#"{OWN}; CREATE TABLE mark (book integer REFERENCES "Book" ON DELETE SET NULL); GRANT ALL ON mark TO PUBLIC;
        CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.mark; RETURN NULL; END $$;
        INSERT INTO mark SELECT NULL FROM generate_series(1, 3);
        CREATE TRIGGER also {when} ON "Book" FOR EACH ROW EXECUTE FUNCTION also();
        ALTER DATABASE {name} SET track_counts = off"#
    );
    execute(&sandbox.target_admin_url(), &marks).await;
    sandbox
}

/// As many rows come back as go: their sum says nothing.
#[tokio::test]
async fn where_the_server_counts_nothing_an_undo_does_not_take_one_row_for_another() {
    let sandbox = synced(20).await;
    let name = &sandbox.database;
    let marks = format!(
        r#"{OWN}; CREATE TABLE mark (book integer REFERENCES "Book" ON DELETE CASCADE); GRANT ALL ON mark TO PUBLIC;
        INSERT INTO mark SELECT id FROM "Book" WHERE isbn13 = 'own'; ALTER DATABASE {name} SET track_counts = off"#
    );
    execute(&sandbox.target_admin_url(), &marks).await;
    execute(&sandbox.source_admin_url(), &copy_of(9, 1000, "new")).await;
    agreed(&sandbox).await;
    execute(&sandbox.target_url(), r#"INSERT INTO mark SELECT max(id) FROM "Book""#).await;
    let before = all(&sandbox, &["mark"]);
    let run = undone(&sandbox, &[]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stdout.contains("1 row of `public.mark`"), "{run:?}");
    assert_eq!(all(&sandbox, &["mark"]), before);
}

/// A partition at a time, by the partitioned table's name.
#[tokio::test]
async fn rows_of_partitions_are_counted_for_their_table() {
    let sandbox = synced(20).await;
    let partitioned = format!(
        r#"{OWN}; CREATE TABLE mark (id integer, book integer REFERENCES "Book" ON DELETE CASCADE) PARTITION BY RANGE (id);
        CREATE TABLE mark_low PARTITION OF mark FOR VALUES FROM (0) TO (10);
        CREATE TABLE mark_high PARTITION OF mark FOR VALUES FROM (10) TO (20);
        INSERT INTO mark SELECT n, b.id FROM generate_series(8, 12) n, "Book" b WHERE isbn13 = 'own'"#
    );
    execute(&sandbox.target_url(), &partitioned).await;
    let (cause, end) = comes_back(&sandbox, &["mark"]).await;
    assert_eq!(cause, "replacing the books would also lose 5 rows of `public.mark`");
    assert_eq!(end["losses"], json!([loss("public.mark", 5, 0)]));
}

/// Children of a dependent table have no foreign key of their own.
#[tokio::test]
async fn rows_of_a_table_that_inherits_are_not_those_of_its_parent() {
    let sandbox = synced(20).await;
    let inherited = format!(
        r#"{OWN}; CREATE TABLE mark (book integer REFERENCES "Book" ON DELETE CASCADE); CREATE TABLE star () INHERITS (mark);
        INSERT INTO star SELECT id FROM "Book""#
    );
    execute(&sandbox.target_url(), &inherited).await;
    let run = staged(&sandbox, &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM star"), "21\n");
}

#[tokio::test]
async fn a_foreign_key_that_does_not_act_is_refused() {
    let sandbox = synced(20).await;
    let disabled = format!(
        r#"{OWN}; CREATE TABLE mark (book integer REFERENCES "Book" ON DELETE CASCADE);
        INSERT INTO mark SELECT id FROM "Book"; ALTER TABLE "Book" DISABLE TRIGGER ALL"#
    );
    execute(&sandbox.target_admin_url(), &disabled).await;
    let cause = refused(&sandbox, &["mark"], &["--allow-cascade"]).await;
    assert!(cause.contains("triggers of the foreign key") && cause.contains("are disabled"), "{cause}");
}

/// Nobody foresees it: the question comes again with what was measured.
#[tokio::test]
async fn on_a_terminal_the_question_comes_again_with_the_numbers_that_were_measured() {
    for strategy in ["staged", "atomic", "batched"] {
        let sandbox = synced(20).await;
        execute(&sandbox.target_url(), &format!("{OWN}; {TRIGGERS}")).await;
        let mut terminal = Terminal::start(&sandbox, &["sync", "--strategy", strategy]);
        terminal.until("? [y/N] ").await;
        terminal.answer("y\n").await;
        let again = terminal.until("? [y/N] ").await;
        assert!(again.contains("1 row of `public.favourite`"), "{strategy}: {again}");
        assert_eq!(rows(&sandbox, "SELECT count(*) FROM favourite"), "1\n", "{strategy}");
        terminal.answer("y\n").await;
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(0), "{strategy}: {said}");
        assert_eq!(rows(&sandbox, "SELECT count(*) FROM favourite"), "0\n", "{strategy}");
    }
}

/// An undo deletes the books that the sync brought, and a trigger acts on that, too.
#[tokio::test]
async fn what_an_undo_itself_does_elsewhere_is_measured_before_it_is_agreed_to() {
    let sandbox = synced(20).await;
    execute(&sandbox.source_admin_url(), &copy_of(3, 1000, "x")).await;
    assert_eq!(agreed(&sandbox).await["counts"]["inserted"], 1);
    execute(&sandbox.target_url(), &TRIGGERS.replace("isbn13 = 'own'", "isbn13 = 'copy 1000'")).await;
    let before = all(&sandbox, &["favourite"]);
    let run = undone(&sandbox, &[]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(all(&sandbox, &["favourite"]), before);
    let run = undone(&sandbox, &["--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM favourite"), "0\n");
}

/// A key that is checked at the end finds the value with the book that has it then.
#[tokio::test]
async fn a_value_that_another_book_takes_is_no_obstacle_to_a_deferred_key() {
    for (deferred, code) in [("DEFERRABLE INITIALLY DEFERRED", 0), ("", 3)] {
        let sandbox = synced(20).await;
        let shelf = format!(
            r#"CREATE TABLE shelf (isbn varchar(10) REFERENCES "Book" (isbn10) ON DELETE CASCADE {deferred});
               INSERT INTO shelf SELECT isbn10 FROM "Book""#
        );
        execute(&sandbox.target_url(), &shelf).await;
        execute(&sandbox.source_admin_url(), &takes(&[(9, 12), (12, 9)])).await;
        let before = rows(&sandbox, "SELECT * FROM shelf ORDER BY 1");
        let run = staged(&sandbox, &[]).await;
        assert_eq!((run.code, &run.json_end()["losses"]), (Some(code), &json!([])), "{run:?}");
        assert_eq!(rows(&sandbox, "SELECT * FROM shelf ORDER BY 1"), before);
    }
}
