//! Another table or a view takes the place of the books' table while a run waits for its lock, which it gets on that one then.

use crate::guards::{passes, synced};
use crate::losses::OWN;
use crate::support::inspect::{BOOKS, dump};
use crate::support::running::{Running, until_it_waits_for_table};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{SERVERS, connect, execute};

/// What bears the name then. A table of its own has a book that production lacks, and a mark that is deleted along.
const REPLACEMENTS: [&str; 3] = [
    r#"CREATE VIEW "Book" AS SELECT * FROM books"#,
    r#"CREATE VIEW "Book" AS SELECT * FROM others"#,
    r#"ALTER TABLE others RENAME TO "Book""#,
];

async fn replaced_while(call: &[&str], sandbox: &Sandbox, replacement: &str) {
    let others = format!(
        r#"CREATE TABLE others (LIKE "Book" INCLUDING ALL); INSERT INTO others SELECT * FROM "Book";
        CREATE TABLE mark (book integer REFERENCES others ON DELETE CASCADE); {}; INSERT INTO mark SELECT id FROM others"#,
        OWN.replace(r#""Book""#, "others")
    );
    execute(&sandbox.target_url(), &others).await;
    let before = dump(&sandbox.target_url(), BOOKS);
    let mut holder = connect(&sandbox.target_url()).await;
    sqlx::raw_sql(r#"BEGIN; LOCK TABLE "Book" IN SHARE MODE"#).execute(&mut holder).await.unwrap();
    let mut running = Running::start(sandbox, call);
    until_it_waits_for_table(sandbox, r#""Book""#);
    let replace = format!(r#"ALTER TABLE "Book" RENAME TO books; {replacement}; COMMIT"#);
    sqlx::raw_sql(sqlx::AssertSqlSafe(replace)).execute(&mut holder).await.unwrap();
    let (code, end, said) = running.end().await;
    assert_eq!(code, Some(3), "{call:?} {replacement}: {end} {said}");
    let cause = &end["error"]["causes"][0];
    assert!(
        cause.as_str().unwrap().contains("was replaced by another table or view"),
        "{call:?} {replacement}: {end}"
    );
    let books = BOOKS.replace(r#""Book""#, "books");
    assert!(dump(&sandbox.target_url(), &books) == before, "{call:?} {replacement}");
    let marks = dump(&sandbox.target_url(), "SELECT count(*) = (SELECT count(*) FROM mark) FROM books");
    assert_eq!(String::from_utf8(marks).unwrap().trim(), "f", "{call:?} {replacement}");
}

/// Nobody agreed to lose the marks, but there is nothing to agree to: it is another table.
#[tokio::test]
async fn that_is_said_before_anything_of_the_other_table() {
    for replacement in REPLACEMENTS {
        for strategy in ["staged", "atomic", "batched"] {
            let sandbox = synced().await;
            let call = ["sync", "--yes", "--no-rehearsal", "--strategy", strategy];
            replaced_while(&call, &sandbox, replacement).await;
        }
    }
}

#[tokio::test]
async fn losses_that_were_agreed_to_are_those_of_the_table_that_the_guards_saw() {
    for replacement in REPLACEMENTS {
        let sandbox = synced().await;
        replaced_while(&["sync", "--yes", "--no-rehearsal", "--allow-cascade"], &sandbox, replacement).await;
    }
}

#[tokio::test]
async fn an_undo_puts_back_nothing_into_another_table() {
    for replacement in REPLACEMENTS {
        let sandbox = synced().await;
        passes(&sandbox, &["sync", "--yes"]).await;
        replaced_while(&["undo", "--yes"], &sandbox, replacement).await;
    }
}

/// The name is looked up by the statement that reads the counters last.
#[tokio::test]
async fn nothing_but_the_commit_comes_after_the_last_reading() {
    let sandbox = synced().await;
    let log = format!("ALTER DATABASE {} SET log_statement = 'all'", sandbox.database);
    execute(&sandbox.target_admin_url(), &log).await;
    let from = std::fs::metadata(SERVERS.target.log_path()).unwrap().len();
    for call in [
        &["sync", "--yes"][..],
        &["undo", "--yes"],
        &["sync", "--yes", "--strategy", "batched"],
        &["sync", "--yes", "--strategy", "atomic"],
    ] {
        if call[0] == "sync" {
            execute(&sandbox.target_url(), crate::guards::OTHER_TITLES).await;
        }
        passes(&sandbox, call).await;
    }
    let log = std::fs::read(SERVERS.target.log_path()).unwrap();
    let log = String::from_utf8_lossy(&log[usize::try_from(from).unwrap()..]).into_owned();
    let texts = log.split("LOG:  statement: ").skip(1).map(|text| {
        let lines = text.lines().enumerate().take_while(|(at, line)| *at == 0 || line.starts_with('\t'));
        lines.map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ")
    });
    let read: Vec<String> = texts.filter(|text| text.contains("DO $dewey_sync$")).collect();
    assert!(read.len() >= 5, "{}", read.len());
    for text in read {
        let (_, after) = text.rsplit_once("END $dewey_sync$; ").unwrap();
        assert_eq!(after, "SELECT current_setting('dewey_sync.seen') AS effects; COMMIT");
    }
}
