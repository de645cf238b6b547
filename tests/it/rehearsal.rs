//! What the target refuses is found by writing a sample and rolling it back, before anything is staged or deleted.

use crate::apply::{rows, synced};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{connect, execute};

const STRATEGIES: [&str; 3] = ["staged", "batched", "atomic"];

/// A sandbox with 30 books on both sides, all of which have another title in production by now.
async fn changed() -> Sandbox {
    let sandbox = synced(30).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = 'a new title' WHERE id % 2 = 0"#).await;
    sandbox
}

/// The run is refused, and neither books nor stage were written.
async fn refused(sandbox: &Sandbox, call: &[&str]) -> Run {
    let state = || {
        [
            dump(&sandbox.target_url(), BOOKS),
            dump(&sandbox.target_url(), "SELECT source_id FROM dewey_sync.stage"),
        ]
    };
    let before = state();
    let run = sandbox.run(call).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(state() == before, "{call:?}");
    run
}

#[tokio::test]
async fn a_check_names_itself_and_the_books_before_anything_is_deleted() {
    let sandbox = changed().await;
    let check = r#"ALTER TABLE "Book" ADD CONSTRAINT short CHECK (title <> 'a new title') NOT VALID"#;
    execute(&sandbox.target_url(), check).await;
    let even = r#"SELECT string_agg(id::text, ', ' ORDER BY id) FROM (SELECT id FROM "Book" WHERE id % 2 = 0 ORDER BY id LIMIT 10) b"#;
    let ids = String::from_utf8(dump(&sandbox.source_admin_url(), even)).unwrap();
    for strategy in STRATEGIES {
        let run = refused(&sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        assert!(run.stderr.contains(&format!("source ids {}", ids.trim())), "{strategy}: {run:?} {ids}");
        assert!(run.stderr.contains(r#"check constraint "short""#), "{strategy}: {run:?}");
    }
    let doctor = refused(&sandbox, &["doctor", "--rehearse"]).await;
    assert!(doctor.stdout.contains("short"), "{doctor:?}");
    // Without the flag it only looks.
    assert_eq!(sandbox.run(&["doctor"]).await.code, Some(0));
}

#[tokio::test]
async fn a_trigger_that_refuses_is_named_with_its_function() {
    let sandbox = changed().await;
    let trigger = r#"CREATE FUNCTION no_titles() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'no % here', NEW.title; END $$;
        CREATE TRIGGER strict BEFORE UPDATE ON "Book" FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION no_titles()"#;
    execute(&sandbox.target_url(), trigger).await;
    let isbn13 = rows(&sandbox, r#"SELECT isbn13 FROM "Book" WHERE id = 7"#);
    let touched =
        format!(r#"UPDATE "Book" SET title = 'secret' WHERE isbn13 = '{}' RETURNING id"#, isbn13.trim());
    execute(&sandbox.source_admin_url(), &touched).await;
    let run = refused(&sandbox, &["sync", "--yes"]).await;
    assert!(run.stderr.contains("`strict`") && run.stderr.contains("`no_titles()`"), "{run:?}");
    assert!(!run.stderr.contains("secret"), "{run:?}");
}

/// A new book has a value of one that is going to be deleted, which no UPDATE of the sync touches.
#[tokio::test]
async fn a_book_outside_the_sample_is_not_written_for_its_value() {
    let sandbox = synced(30).await;
    let strict = r#"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE TRIGGER keep BEFORE UPDATE ON "Book" FOR EACH ROW EXECUTE FUNCTION keep()"#;
    execute(&sandbox.target_url(), strict).await;
    let isbn10 = rows(&sandbox, r#"SELECT isbn10 FROM "Book" WHERE id = 9"#);
    let replaced = format!(r#"UPDATE "Book" SET isbn13 = 'another' WHERE isbn10 = '{}'"#, isbn10.trim());
    execute(&sandbox.source_admin_url(), &replaced).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("1 added, 0 changed, 1 deleted"), "{run:?}");
}

/// The trigger of another table, which a foreign key of a changed book fires.
#[tokio::test]
async fn a_statement_of_a_trigger_that_is_refused_is_named_with_its_function_and_table() {
    let sandbox = synced(30).await;
    let shelf = r#"CREATE TABLE shelf (isbn varchar(10) REFERENCES "Book" (isbn10) ON UPDATE CASCADE);
        INSERT INTO shelf SELECT isbn10 FROM "Book" WHERE id = 9;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM nowhere; RETURN NULL; END $$;
        CREATE TRIGGER noted AFTER UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION note()"#;
    execute(&sandbox.target_url(), shelf).await;
    let isbn13 = rows(&sandbox, r#"SELECT isbn13 FROM "Book" WHERE id = 9"#);
    let changed = format!(r#"UPDATE "Book" SET isbn10 = 'new' WHERE isbn13 = '{}'"#, isbn13.trim());
    execute(&sandbox.source_admin_url(), &changed).await;
    let run = refused(&sandbox, &["sync", "--yes", "--allow-cascade"]).await;
    let names = ["(trigger `noted` of `public.shelf`)", "a statement of the function `note()` was refused"];
    assert!(names.iter().all(|name| run.stderr.contains(name)), "{run:?}");
}

#[tokio::test]
async fn a_domain_that_is_too_narrow_is_found() {
    let sandbox = changed().await;
    let domain = r#"CREATE DOMAIN pages AS integer CHECK (VALUE <> 123456789); ALTER TABLE "Book" ALTER "pageCount" TYPE pages"#;
    execute(&sandbox.target_url(), domain).await;
    execute(
        &sandbox.source_admin_url(),
        r#"UPDATE "Book" SET "pageCount" = 123456789 WHERE id = (SELECT max(id) FROM "Book")"#,
    )
    .await;
    let run = refused(&sandbox, &["sync", "--yes", "--strategy", "batched"]).await;
    assert!(run.stderr.contains("pages"), "{run:?}");
}

#[tokio::test]
async fn left_out_it_is_the_apply_that_fails() {
    let sandbox = changed().await;
    let check = r#"ALTER TABLE "Book" ADD CONSTRAINT short CHECK (title <> 'a new title') NOT VALID"#;
    execute(&sandbox.target_url(), check).await;
    let run = sandbox.run(&["sync", "--yes", "--no-rehearsal"]).await;
    assert_eq!(run.code, Some(5), "{run:?}");
}

/// Somebody holds a book: the rehearsal does not wait for long, and says no more than that.
#[tokio::test]
async fn a_lock_that_is_not_had_is_a_notice() {
    let sandbox = changed().await;
    let mut holder = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql(r#"BEGIN; LOCK TABLE "Book" IN SHARE MODE"#).execute(&mut holder).await.unwrap();
    let mut run = crate::support::running::Running::start(&sandbox, &["sync", "--yes", "--output", "json"]);
    run.until(|event| {
        event["event"] == "notice" && event["text"].as_str().unwrap().contains("rehearsal was left out")
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let (code, end, said) = run.end().await;
    assert_eq!((code, &end["outcome"]), (Some(0), &serde_json::json!("verified")), "{said}");
}

/// What batches do elsewhere is agreed to before the first one, which follows the deletion.
#[tokio::test]
async fn what_inserting_does_elsewhere_is_known_before_books_are_deleted() {
    let sandbox = changed().await;
    let counter = r#"CREATE TABLE counter (books integer); INSERT INTO counter VALUES (0);
        CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN UPDATE public.counter SET books = books + 1; RETURN NULL; END $$;
        CREATE TRIGGER count_up AFTER INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION count_up()"#;
    execute(&sandbox.target_url(), counter).await;
    let run = refused(&sandbox, &["sync", "--yes", "--strategy", "batched"]).await;
    assert!(run.stderr.contains("`public.counter`: 30 changed"), "{run:?}");
    let agreed = ["sync", "--yes", "--allow-cascade", "--strategy", "batched", "--output", "json"];
    let run = sandbox.run(&agreed).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.json_end()["losses"][0]["updated"], 30, "{run:?}");
}

/// The ledger, a run and the sample are made in the transaction that is rolled back.
#[tokio::test]
async fn doctor_rehearses_without_a_ledger_and_leaves_none() {
    let sandbox = Sandbox::with_books(30).await;
    let doctor = sandbox.run(&["doctor", "--rehearse"]).await;
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    assert!(doctor.stdout.contains("30 books of a sample were written and rolled back"), "{doctor:?}");
    assert_eq!(rows(&sandbox, "SELECT count(*) FROM pg_namespace WHERE nspname = 'dewey_sync'"), "0\n");
    assert_eq!(rows(&sandbox, r#"SELECT count(*) FROM "Book""#), "0\n");
}
