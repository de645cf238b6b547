//! A development database that version 0.1.0 synced: `ledger_0_1_0.sql` is its dump, with two verified runs, what `undo` would
//! restore of the second one, and a third one that failed.

use serde_json::json;

use crate::apply::rows;
use crate::support::inspect::{BOOKS, dump, psql};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

const STATES: &str = "SELECT run_id, state, tool_version FROM dewey_sync.run ORDER BY run_id";

async fn of_the_last_version() -> Sandbox {
    let sandbox = Sandbox::with_books(20).await;
    execute(
        &sandbox.target_admin_url(),
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC",
    )
    .await;
    psql(&sandbox.target_url(), include_str!("ledger_0_1_0.sql"));
    let mark = "UPDATE dewey_sync.identity SET system_identifier = (SELECT system_identifier::text FROM pg_control_system()),
        database_oid = (SELECT oid::bigint FROM pg_database WHERE datname = current_database())";
    execute(&sandbox.target_url(), mark).await;
    // The type of a column is part of a record, and the type of the visibility has another number here.
    let digest = |books: &str| {
        format!(
            "(SELECT to_hex((CASE WHEN sum >= 9223372036854775808 THEN sum - 18446744073709551616 ELSE sum END)::bigint) FROM
               (SELECT mod(mod(sum(('x' || encode(substr(sha256(record_send(b.*)), 1, 8), 'hex'))::bit(64)::bigint),
                 18446744073709551616) + 18446744073709551616, 18446744073709551616) AS sum FROM {books}) s)"
        )
    };
    let kept =
        r#"SELECT (row::"Book").* FROM dewey_sync.replaced WHERE row IS NOT NULL AND table_name = '"Book"'"#;
    let before = format!(
        r#"(SELECT * FROM "Book" WHERE id NOT IN (SELECT book_id FROM dewey_sync.replaced WHERE place = 0) UNION ALL {kept}) b"#
    );
    let digests = format!(
        "UPDATE dewey_sync.generation SET digest_after = lpad({}, 16, '0'), digest_before = lpad({}, 16, '0')",
        digest(r#""Book" b"#),
        digest(&before)
    );
    execute(&sandbox.target_url(), &digests).await;
    sandbox
}

#[tokio::test]
async fn its_ledger_is_brought_up_to_date_with_runs_and_mark() {
    let sandbox = of_the_last_version().await;
    let history = sandbox.run(&["history"]).await;
    assert_eq!((history.code, history.stdout.lines().count()), (Some(0), 3), "{history:?}");
    let run = sandbox.run(&["sync", "--yes", "--allow-cascade"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
    let version = env!("CARGO_PKG_VERSION");
    let expected =
        format!("1\tverified\t0.1.0\n2\tverified\t0.1.0\n3\tsuperseded\t0.1.0\n4\tverified\t{version}\n");
    assert_eq!(rows(&sandbox, STATES), expected);
    let undo = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(undo.code, Some(0), "{undo:?}");
}

#[tokio::test]
async fn its_unfinished_run_is_not_resumed() {
    let sandbox = of_the_last_version().await;
    let before = rows(&sandbox, STATES);
    for flags in [&["--resume"][..], &["--resume", "3"]] {
        let run = sandbox.run(&[&["sync", "--yes"], flags].concat()).await;
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.stderr.contains("the version of this tool was 0.1.0"), "{run:?}");
    }
    assert_eq!(rows(&sandbox, STATES), before);
    let down = sandbox.run(&["migrate", "down"]).await;
    assert!(down.stderr.contains("the ledger with 3 runs"), "{down:?}");
    assert!(!down.stderr.contains("--resume"), "{down:?}");
}

#[tokio::test]
async fn what_it_replaced_is_undone_unless_it_did_not_know_what_it_met() {
    let titles = r#"SELECT isbn13, title FROM "Book" ORDER BY isbn13"#;
    let entries = r#"SELECT count(*) FROM "BookInReadingList""#;
    let restores = async |before: &str| {
        let sandbox = of_the_last_version().await;
        execute(&sandbox.target_url(), before).await;
        let state = [titles, entries].map(|query| rows(&sandbox, query));
        let undo = sandbox.run(&["undo", "--yes"]).await;
        let after = [titles, entries].map(|query| rows(&sandbox, query));
        (undo, state, after)
    };
    let (undo, before, after) = restores("SELECT 1").await;
    assert_eq!(undo.code, Some(0), "{undo:?}");
    assert_eq!((before[0].lines().count(), after[0].lines().count()), (5, 6));
    assert_eq!([&before[1], &after[1]], ["0\n", "1\n"]);
    for unseen in [
        r#"ALTER TABLE "Book" ADD FOREIGN KEY (edition) REFERENCES "Book" (isbn13) NOT VALID"#,
        r#"CREATE TABLE review (isbn varchar(10) REFERENCES "Book" (isbn10) ON UPDATE CASCADE)"#,
        r#"CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
           CREATE TRIGGER noop BEFORE UPDATE ON "Book" FOR EACH ROW EXECUTE FUNCTION noop()"#,
        r#"CREATE RULE also AS ON INSERT TO "Book" DO ALSO NOTHING"#,
    ] {
        let (undo, before, after) = restores(unseen).await;
        assert_eq!(undo.code, Some(3), "{unseen}: {undo:?}");
        assert!(undo.stderr.contains("an older version applied it"), "{undo:?}");
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused_by_every_command() {
    let sandbox = of_the_last_version().await;
    execute(&sandbox.target_url(), "INSERT INTO dewey_sync.ledger_migration VALUES ('m9999_later', 0)").await;
    let before = rows(&sandbox, STATES);
    for call in [
        &["sync", "--yes"][..],
        &["sync", "--dry-run"],
        &["undo", "--yes"],
        &["migrate", "up"],
        &["migrate", "down", "--yes"],
        &["migrate", "status"],
        &["setup", "--yes"],
        &["verify"],
        &["history"],
        &["history", "1"],
        &["users"],
        &["users", "add", "--email", "new@example.org"],
        &["doctor"],
    ] {
        let run = sandbox.run(call).await;
        assert_eq!(run.code, Some(3), "{call:?}: {run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("a newer version of this tool made it"), "{call:?}: {run:?}");
        assert!(said.contains("update `dewey-sync`"), "{call:?}: {run:?}");
        assert!(!said.contains("older, "), "{call:?}: {run:?}");
    }
    let status = sandbox.run(&["migrate", "status"]).await;
    assert!(status.stdout.contains("applied   ledger  m9999_later\n"), "{status:?}");
    let status = sandbox.run(&["migrate", "status", "--output", "json"]).await;
    let end = status.json_end();
    assert_eq!((status.code, &end["exit_code"], &end["outcome"]), (Some(3), &json!(3), &json!("refused")));
    assert!(end["error"]["causes"][0].as_str().unwrap().contains("`m9999_later`"), "{end}");
    assert!(end["objects"].is_array(), "{end}");
    assert_eq!(rows(&sandbox, r#"SELECT count(*) FROM "User" WHERE email = 'new@example.org'"#), "0\n");
    assert_eq!(rows(&sandbox, STATES), before);
}
