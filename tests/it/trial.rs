//! `batched` deletes nothing before a batch is known to fit, and what batches do to other tables is what was agreed to.

use crate::apply::{rows, synced};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;
use crate::support::terminal::Terminal;

const QUESTION: &str = "? [y/N] ";

/// What new books do not pass, and changed ones do.
const OBSTACLES: [(&str, &str); 4] = [
    (
        "a trigger",
        r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no new books'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION refuse()"#,
    ),
    ("a key of development's own", r#"CREATE UNIQUE INDEX titles ON "Book" (binding, language)"#),
    (
        "a default that fits once",
        r#"ALTER TABLE "Book" ADD shelf integer; UPDATE "Book" SET shelf = id;
        ALTER TABLE "Book" ALTER shelf SET DEFAULT 0, ADD UNIQUE (shelf)"#,
    ),
    (
        "a reference to nobody",
        r#"CREATE TABLE shelf (id integer PRIMARY KEY); ALTER TABLE "Book" ADD shelf integer REFERENCES shelf;
        ALTER TABLE "Book" ALTER shelf SET DEFAULT 9"#,
    ),
];

fn batched<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["sync", "--strategy", "batched"], more].concat()
}

/// A target whose 20 books have other titles in production by now, and each a language of its own here.
async fn changed() -> Sandbox {
    let sandbox = synced(20).await;
    execute(&sandbox.target_url(), r#"UPDATE "Book" SET language = id::text"#).await;
    execute(
        &sandbox.source_admin_url(),
        r#"UPDATE "Book" SET title = title || '!', language = 'en', binding = ''"#,
    )
    .await;
    sandbox
}

#[tokio::test]
async fn the_old_books_stay_where_a_new_one_does_not_fit() {
    for (obstacle, sql) in OBSTACLES {
        let sandbox = changed().await;
        execute(&sandbox.target_url(), sql).await;
        let before = rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#);
        let run = sandbox.run(&batched(&["--yes"])).await;
        assert_eq!(run.code, Some(3), "{obstacle}: {run:?}");
        assert!(run.stderr.contains("do not fit into development: source ids "), "{obstacle}: {run:?}");
        assert!(run.stderr.contains(r#"`"Book"` is unchanged"#), "{obstacle}: {run:?}");
        assert_eq!(rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#), before, "{obstacle}");
        // It says so as well where it goes on with that run.
        let run = sandbox.run(&batched(&["--yes", "--resume"])).await;
        assert_eq!(run.code, Some(3), "{obstacle}: {run:?}");
        assert_eq!(rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#), before, "{obstacle}");
    }
}

/// A counter of new books; from the 150th one on, a book takes a note with it.
const TRIGGERS: &str = r#"
    CREATE TABLE counter (books integer); INSERT INTO counter VALUES (0);
    CREATE TABLE note (id integer); INSERT INTO note SELECT generate_series(1, 500);
    CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN UPDATE public.counter SET books = books + 1; RETURN NULL; END $$;
    CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      DELETE FROM public.note WHERE id = (SELECT max(id) FROM public.note) AND (SELECT count(*) >= 150 FROM public."Book");
      RETURN NULL; END $$;
    CREATE TRIGGER count_up AFTER INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION count_up();"#;

const TAKE: &str = r#"CREATE TRIGGER take AFTER INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION take()"#;

/// Answers both questions; the exit code, and what was said from the second one on.
async fn agreeing(sandbox: &Sandbox) -> (Option<i32>, String) {
    let call = batched(&["--batch-size", "50", "--jobs", "1"]);
    let mut terminal = Terminal::start(sandbox, &call);
    terminal.until(QUESTION).await;
    terminal.answer("y\n").await;
    let second = terminal.until(QUESTION).await;
    assert!(second.contains("any number of such rows"), "{second}");
    assert!(second.contains("`public.counter`"), "{second}");
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    (status.code(), said)
}

#[tokio::test]
async fn a_yes_agrees_to_any_number_of_rows_of_the_tables_that_it_was_asked_about() {
    let sandbox = synced(300).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    execute(&sandbox.target_url(), TRIGGERS).await;
    let (code, said) = agreeing(&sandbox).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rows(&sandbox, "SELECT books FROM counter"), "300\n");
}

#[tokio::test]
async fn and_to_none_of_other_tables() {
    let sandbox = synced(300).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    execute(&sandbox.target_url(), &format!("{TRIGGERS} {TAKE}")).await;
    let (code, said) = agreeing(&sandbox).await;
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("public.note"), "{said}");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM note"), "500\n");
}

#[tokio::test]
async fn a_no_leaves_the_books_as_they_are() {
    let sandbox = synced(20).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    execute(&sandbox.target_url(), TRIGGERS).await;
    let before = rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#);
    let mut terminal = Terminal::start(&sandbox, &batched(&[]));
    for answer in ["y\n", "n\n"] {
        terminal.until(QUESTION).await;
        terminal.answer(answer).await;
    }
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(8), "{said}");
    assert_eq!(rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#), before);
    assert_eq!(rows(&sandbox, "SELECT books FROM counter"), "0\n");
}

/// While the question waits.
#[tokio::test]
async fn a_production_that_has_lost_its_books_empties_nothing() {
    let sandbox = changed().await;
    let before = rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#);
    let mut terminal = Terminal::start(&sandbox, &batched(&[]));
    terminal.until(QUESTION).await;
    execute(&sandbox.source_admin_url(), r#"TRUNCATE "Book" CASCADE"#).await;
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("production has no books"), "{said}");
    assert_eq!(rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#), before);
}

/// The first book of the sample is longer than all of it may be.
#[tokio::test]
async fn a_long_book_is_tried_as_well() {
    let sandbox = changed().await;
    let long = r#"UPDATE "Book" SET image = repeat('x', 9000000) WHERE id = (SELECT min(id) FROM "Book")"#;
    execute(&sandbox.source_admin_url(), long).await;
    let check = r#"ALTER TABLE "Book" ADD CONSTRAINT no_english CHECK (language <> 'en') NOT VALID"#;
    execute(&sandbox.target_url(), check).await;
    let before = rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#);
    let run = sandbox.run(&batched(&["--yes"])).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains("no_english"), "{run:?}");
    assert_eq!(rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#), before);
}

/// Its trigger refers to the book before that is there.
#[tokio::test]
async fn a_deferred_key_is_checked_when_the_batch_is_there() {
    let sandbox = changed().await;
    let audit = r#"CREATE TABLE audit (book integer REFERENCES "Book" ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO public.audit VALUES (NEW.id); RETURN NEW; END $$;
        CREATE TRIGGER note BEFORE INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION note()"#;
    execute(&sandbox.target_url(), audit).await;
    let run = sandbox.run(&batched(&["--yes"])).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM audit"), "20\n");
}

/// Each question takes as many ids as the sample has books.
#[tokio::test]
async fn the_last_trial_leaves_an_id_for_every_book() {
    let sandbox = synced(20).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    execute(&sandbox.target_url(), TRIGGERS).await;
    let near = r#"SELECT setval('"Book_id_seq"', 100); ALTER SEQUENCE "Book_id_seq" MAXVALUE 150"#;
    execute(&sandbox.target_admin_url(), near).await;
    let before = rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#);
    let mut terminal = Terminal::start(&sandbox, &batched(&[]));
    for _ in 0..2 {
        terminal.until(QUESTION).await;
        terminal.answer("y\n").await;
    }
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("gives out 10 more"), "{said}");
    assert_eq!(rows(&sandbox, r#"SELECT * FROM "Book" ORDER BY id"#), before);
}
