//! Names of tables, columns, constraints and labels.

use std::fs;

use serde_json::Value;

use super::{check, check_terminal, check_text, identifier, literal, mark, name, values};
use crate::support::inspect::dump;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;
use crate::support::terminal::Terminal;

/// A synced target, with a table named after each value whose rows hang on all books. Production has lost two books.
async fn with_dependents(on_delete: &str) -> Sandbox {
    let sandbox = Sandbox::with_books(12).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    for value in values() {
        let name = identifier(name(&value));
        let table = format!(
            r#"CREATE TABLE {name} (book int, CONSTRAINT {name} FOREIGN KEY (book) REFERENCES "Book" {on_delete});
            INSERT INTO {name} SELECT id FROM "Book""#
        );
        execute(&sandbox.target_url(), &table).await;
    }
    execute(
        &sandbox.source_admin_url(),
        r#"DELETE FROM "Book" WHERE id IN (SELECT id FROM "Book" ORDER BY id LIMIT 2)"#,
    )
    .await;
    sandbox
}

fn all_are_in(text: &str) {
    for value in values() {
        assert!(text.contains(mark(&value)), "{value:?} is not in {text}");
    }
}

#[tokio::test]
async fn tables_that_lose_rows() {
    let sandbox = with_dependents("ON DELETE CASCADE").await;
    for call in [&["sync", "--dry-run"][..], &["sync", "--dry-run", "--strategy", "atomic"], &["doctor"]] {
        let run = sandbox.run(call).await;
        check(&format!("{call:?}"), &run);
        all_are_in(&run.stdout);
    }
    let refused = sandbox.run(&["sync", "--yes", "-vv"]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    check("a refusal", &refused);
    all_are_in(&refused.stderr);
    let refused = sandbox.run(&["sync", "--yes", "--output", "json"]).await;
    assert_eq!(refused.stdout.chars().find(|c| super::is_raw(*c)), None, "{refused:?}");
    let said = refused.json_end()["error"]["causes"][0].as_str().unwrap().to_owned();
    assert!(values().iter().all(|value| said.contains(&name(value).replace('"', "\"\""))), "{said:?}");

    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    // The refused run could go on.
    check_terminal("an unfinished run", &terminal.until("[Y/n] ").await);
    terminal.answer("n\n").await;
    let asked = terminal.until("? [y/N] ").await;
    check_terminal("the question of a sync", &asked);
    all_are_in(&asked);
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    check_terminal("a sync", &said);
    assert_eq!(status.code(), Some(0), "{said}");

    let mut terminal = Terminal::start(&sandbox, &["undo"]);
    let asked = terminal.until("? [y/N] ").await;
    check_terminal("the question of an undo", &asked);
    all_are_in(&asked);
    terminal.answer("n\n").await;
    check_terminal("a declined undo", &terminal.end().await.1);
}

#[tokio::test]
async fn tables_that_block() {
    let sandbox = with_dependents("").await;
    let mut left = values();
    while !left.is_empty() {
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(3), "{run:?}");
        check("a refusal", &run);
        // One is named, in the cause and in the hint.
        let named = left.iter().position(|value| run.stderr.matches(mark(value)).count() == 2);
        let value = left.swap_remove(named.unwrap_or_else(|| panic!("none is named: {run:?}")));
        execute(&sandbox.target_url(), &format!("DROP TABLE {}", identifier(name(&value)))).await;
    }
}

/// What a person would copy from the hint: its lines, without the indentation.
fn pasted(run: &Run) -> String {
    let lines = run.stderr.lines().skip_while(|line| !line.starts_with("hint: add to")).skip(1);
    lines.map(|line| line.trim_start().to_owned() + "\n").collect()
}

#[tokio::test]
async fn columns_and_labels_whose_lines_can_be_pasted_all_the_same() {
    let sandbox = Sandbox::with_books(12).await;
    for value in values() {
        let name = name(&value);
        for statement in [
            format!(r#"ALTER TYPE "BookVisibility" ADD VALUE {}"#, literal(name)),
            format!(r#"ALTER TABLE "Book" ADD COLUMN {} int"#, identifier(name)),
        ] {
            execute(&sandbox.source_admin_url(), &statement).await;
        }
    }
    let doctor = sandbox.run(&["doctor"]).await;
    check("doctor", &doctor);
    all_are_in(&doctor.stdout);
    let refused = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    check("a refusal", &refused);
    all_are_in(&refused.stderr);
    let pasted = pasted(&refused);
    let file = sandbox.directory().join("dewey-sync.toml");
    fs::write(&file, &pasted).unwrap();
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{pasted}\n{run:?}");
    check("a sync", &run);

    // A file of a stranger is no better.
    for value in values().into_iter().filter(|value| value.len() < 200) {
        let escaped = value.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect::<Vec<_>>().concat();
        fs::write(&file, format!("[owners]\n\"{escaped}\" = 1\n[\"{escaped}\"]\n")).unwrap();
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(2), "{run:?}");
        check_text("a file that cannot be read", &run.stderr);
    }
}

/// The server's own words quote the name, in the retries, the error, the log, and afterwards in the ledger.
#[tokio::test]
async fn constraints_in_an_answer_of_the_server() {
    let sandbox = Sandbox::with_books(12).await;
    for value in values() {
        let constraint = identifier(name(&value));
        let add = format!(r#"ALTER TABLE "Book" ADD CONSTRAINT {constraint} CHECK (id < 0) NOT VALID"#);
        execute(&sandbox.target_admin_url(), &add).await;
        for (code, more) in [(3, &[][..]), (5, &["--no-rehearsal"])] {
            let call = ["sync", "--yes", "-vv", "--max-retries", "0", "--strategy", "batched"];
            let run = sandbox.run(&[&call[..], more].concat()).await;
            assert_eq!(run.code, Some(code), "{run:?}");
            check(&format!("a sync with {value:?}"), &run);
            assert!(run.stderr.contains(mark(&value)), "{run:?}");
        }
        let drop = format!(r#"ALTER TABLE "Book" DROP CONSTRAINT {constraint}"#);
        execute(&sandbox.target_admin_url(), &drop).await;
    }
    let newest = "SELECT run_id FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    let newest = String::from_utf8(dump(&sandbox.target_admin_url(), newest)).unwrap();
    let last = (2 * values().len()).to_string();
    assert_eq!(newest.trim(), last);
    for (number, value) in values().iter().enumerate() {
        let run = sandbox.run(&["history", &(2 * number + 2).to_string()]).await;
        check("history of one run", &run);
        assert!(run.stdout.contains(mark(value)), "{run:?}");
        let json = sandbox.run(&["history", &(2 * number + 2).to_string(), "--output", "json"]).await;
        assert_eq!(json.stdout.chars().find(|c| super::is_raw(*c)), None, "{json:?}");
        let event: Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
        assert!(event["error"].as_str().unwrap().contains(name(value)), "{event}");
    }
}
