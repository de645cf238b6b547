//! Triggers and rules of development's book table: named beforehand, held to what was looked at, and blamed for what they do.

use crate::apply::{copy_of, rows, synced};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

const ALL: &str = r#"SELECT * FROM "Book" ORDER BY id"#;

async fn other_titles(sandbox: &Sandbox) {
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
}

/// A trigger that runs `body` for each book that is written.
fn on_each(event: &str, body: &str) -> String {
    format!(
        r#"CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$;
        CREATE TRIGGER act AFTER {event} ON "Book" FOR EACH ROW EXECUTE FUNCTION act()"#
    )
}

/// Before anything is staged, and so before a rehearsal runs it for the first time.
#[tokio::test]
async fn those_that_only_run_on_new_books_are_named() {
    for (sql, named) in [
        (on_each("INSERT", "NULL"), "trigger `act` (INSERT)"),
        (
            r#"CREATE TABLE log (id integer); CREATE RULE also AS ON INSERT TO "Book" DO ALSO INSERT INTO log VALUES (1)"#
                .into(),
            "rule `also` (INSERT)",
        ),
    ] {
        let sandbox = synced(5).await;
        other_titles(&sandbox).await;
        execute(&sandbox.target_url(), &sql).await;
        for call in [&["doctor"][..], &["sync", "--dry-run"]] {
            let run = sandbox.run(call).await;
            assert!(run.stdout.contains(named), "{call:?}: {run:?}");
        }
    }
}

/// The transaction's own search path would lead its last look to another schema.
#[tokio::test]
async fn one_that_leads_to_another_schema_is_caught() {
    let sandbox = synced(5).await;
    other_titles(&sandbox).await;
    let elsewhere =
        r#"CREATE SCHEMA elsewhere; CREATE TABLE elsewhere."Book" (LIKE public."Book" INCLUDING ALL);"#;
    let leads = on_each("INSERT OR UPDATE", "PERFORM set_config('search_path', 'elsewhere, public', true)");
    execute(&sandbox.target_url(), &format!("{elsewhere} {leads}")).await;
    let before = rows(&sandbox, ALL);
    for strategy in ["staged", "atomic", "batched"] {
        for more in [&[][..], &["--no-rehearsal"]] {
            let call = ["sync", "--yes", "--allow-cascade", "--strategy", strategy];
            let run = sandbox.run(&[&call[..], more].concat()).await;
            assert_ne!(run.code, Some(0), "{strategy} {more:?}: {run:?}");
            if strategy != "batched" {
                assert_eq!(rows(&sandbox, ALL), before, "{strategy} {more:?}: {run:?}");
            }
        }
    }
    assert_eq!(rows(&sandbox, r#"SELECT count(*) FROM elsewhere."Book""#), "0\n");
}

/// It is the function that lacks the right, and no book that is to blame.
#[tokio::test]
async fn a_right_that_a_trigger_lacks_is_said_of_the_trigger() {
    for strategy in ["staged", "batched"] {
        let sandbox = synced(5).await;
        other_titles(&sandbox).await;
        let private = "CREATE TABLE vault (id integer); REVOKE ALL ON vault FROM public";
        execute(&sandbox.target_admin_url(), private).await;
        let writes = on_each("INSERT OR UPDATE", "INSERT INTO public.vault VALUES (1)");
        execute(&sandbox.target_url(), &writes).await;
        let before = rows(&sandbox, ALL);
        let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(3), "{strategy}: {run:?}");
        assert!(
            run.stderr.contains("(trigger `act`)") && run.stderr.contains("vault"),
            "{strategy}: {run:?}"
        );
        assert!(!run.stderr.contains("source ids"), "{strategy}: {run:?}");
        assert!(
            run.stderr.contains("grant the target's role what that function needs"),
            "{strategy}: {run:?}"
        );
        assert_eq!(rows(&sandbox, ALL), before, "{strategy}");
    }
}

#[tokio::test]
async fn an_undo_as_well_wants_foreign_keys_that_act() {
    let sandbox = synced(5).await;
    execute(&sandbox.source_admin_url(), &copy_of(3, 1000, "x")).await;
    let sync = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(sync.code, Some(0), "{sync:?}");
    let mark = r#"CREATE TABLE mark (book integer REFERENCES "Book" ON DELETE CASCADE);
        INSERT INTO mark SELECT max(id) FROM "Book"; ALTER TABLE "Book" DISABLE TRIGGER ALL"#;
    execute(&sandbox.target_admin_url(), mark).await;
    let before = rows(&sandbox, ALL);
    let undo = sandbox.run(&["undo", "--yes", "--allow-cascade"]).await;
    assert_eq!(undo.code, Some(3), "{undo:?}");
    assert!(undo.stderr.contains("are disabled"), "{undo:?}");
    assert_eq!(rows(&sandbox, ALL), before);
}
