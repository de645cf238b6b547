//! A target that nobody has marked is named by what tells it from the source, seeing what is at stake.

use std::process::Stdio;

use crate::guards::{add_a_book, check, count, passes};
use crate::support::inspect::no_session_left;
use crate::support::sandbox::Sandbox;
use crate::support::servers::{SERVERS, execute};
use crate::support::terminal::{Terminal, shown};

const TYPE_IT: &str = "type its name, ";

/// The target's database with its place.
fn placed(sandbox: &Sandbox) -> String {
    sandbox.target_name()
}

/// A target with a book, whose database has this name.
async fn renamed(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_books(3).await;
    add_a_book(&sandbox).await;
    let rename = format!("ALTER DATABASE {} RENAME TO \"{name}\"", sandbox.database);
    execute(&SERVERS.target.url("postgres"), &rename).await;
    let encoded = name.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let target = sandbox.target_url().replace(&sandbox.database, &encoded);
    sandbox.set_urls(&sandbox.source_url(), &target);
    sandbox
}

/// What a refusal says between `--mark-development` and its condition.
fn flag(said: &str) -> String {
    let (_, flag) = said.split_once("run once with `").unwrap_or_else(|| panic!("{said}"));
    flag.split_once("`, only if this is not production").unwrap_or_else(|| panic!("{said}")).0.to_owned()
}

#[tokio::test]
async fn a_name_that_both_databases_have_marks_neither() {
    let sandbox = Sandbox::with_books(3).await;
    add_a_book(&sandbox).await;
    let said = check(&sandbox, &["sync", "--yes", "--mark-development", &sandbox.database]).await;
    insta::assert_snapshot!(&said[said.find("error:").unwrap()..], @r#"
    error: DB at 127.0.0.1:TARGET is not marked as a development database
    caused by: `--mark-development` names the source as well: both databases are called `DB`

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:TARGET`, only if this is not production
    "#);
    passes(&sandbox, &["sync", "--yes", "--mark-development", &placed(&sandbox)]).await;
}

#[tokio::test]
async fn a_name_of_its_own_marks_with_and_without_its_place() {
    for place in ["", "@127.0.0.1:PORT"] {
        let sandbox = renamed(&format!("its_own_{}", place.len())).await;
        let place = place.replace("PORT", &SERVERS.target.port().to_string());
        let name = format!("its_own_{}{place}", if place.is_empty() { 0 } else { 15 });
        passes(&sandbox, &["migrate", "up", "--mark-development", &name]).await;
    }
}

/// Whatever has to be quoted for a shell is.
#[tokio::test]
async fn the_flag_of_a_refusal_works_when_it_is_pasted() {
    for name in ["pasted", "it is mine", "a$b;c&d", "-x"] {
        let sandbox = renamed(name).await;
        let refused = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(refused.code, Some(3), "{refused:?}");
        let tool = sandbox.command();
        let line = format!(r#""$@" migrate up {}"#, flag(&refused.stderr));
        let mut shell = tokio::process::Command::new("/bin/sh");
        shell.args(["-c", &line, "sh"]).arg(tool.as_std().get_program()).args(tool.as_std().get_args());
        shell.env_clear().env("NO_COLOR", "1").env("HOME", sandbox.directory()).stdin(Stdio::null());
        let pasted = shell.output().await.unwrap();
        assert!(pasted.status.success(), "{line}: {pasted:?}");
        passes(&sandbox, &["sync", "--yes"]).await;
    }
}

#[tokio::test]
async fn no_screen_shows_the_flag_without_its_condition() {
    let sandbox = Sandbox::with_books(3).await;
    add_a_book(&sandbox).await;
    let ledger_of_a_dump = "CREATE SCHEMA dewey_sync;
        CREATE TABLE dewey_sync.ledger_migration (version text, applied_at bigint);
        CREATE TABLE dewey_sync.identity (system_identifier text, database_oid bigint)";
    for call in [
        &["sync", "--yes"][..],
        &["sync", "--yes", "--mark-development", "wrong"],
        &["sync", "--dry-run", "--yes"],
        &["setup", "--yes"],
        &["migrate", "up"],
        &["users", "add", "--email", "a@example.org"],
        &["undo", "--yes"],
        &["doctor"],
        &["migrate", "down", "--yes"],
    ] {
        if call.contains(&"down") {
            execute(&sandbox.target_url(), ledger_of_a_dump).await;
        }
        let run = sandbox.run(call).await;
        let said = format!("{}{}", run.stdout, run.stderr);
        let shown = format!("`--mark-development {}`, only if this is not production", placed(&sandbox));
        assert!(said.contains(&shown), "{call:?}: {said}");
        let mentions = said.matches("--mark-development ").count();
        assert_eq!(said.matches("only if this is not production").count(), mentions, "{call:?}: {said}");
    }
    let help = sandbox.run(&["sync", "--help"]).await.stdout;
    let (_, flag) = help.split_once("--mark-development").unwrap();
    assert!(flag.contains("only if it is not production"), "{flag}");
}

/// Types `answer` where the name is asked for; what was asked, and the exit code.
async fn typed(sandbox: &Sandbox, call: &[&str], answer: &str) -> (String, Option<i32>) {
    let mut terminal = Terminal::start(sandbox, call);
    let asked = terminal.until(TYPE_IT).await + &terminal.until(": ").await;
    no_session_left(&sandbox.target_admin_url()).await;
    no_session_left(&sandbox.source_admin_url()).await;
    terminal.answer(&format!("{answer}\n")).await;
    if call.contains(&"sync") && answer == placed(sandbox) {
        terminal.until("? [y/N] ").await;
        terminal.answer("y\n").await;
    }
    let (status, _) = terminal.end().await;
    (shown(&sandbox.redacted(&asked)), status.code())
}

#[tokio::test]
async fn every_command_that_marks_asks_for_what_differs() {
    for call in
        [&["sync"][..], &["migrate", "up"], &["users", "add", "--email", "new@example.org"], &["setup"]]
    {
        let sandbox = Sandbox::with_books(3).await;
        add_a_book(&sandbox).await;
        for wrong in [&sandbox.database, "y", ""] {
            assert_eq!(typed(&sandbox, call, wrong).await.1, Some(8), "{call:?} {wrong}");
        }
        assert_eq!(count(&sandbox, "pg_namespace WHERE nspname = 'dewey_sync'").await, 0);
        let call = if call == ["setup"] { &["migrate", "up"][..] } else { call };
        let (asked, code) = typed(&sandbox, call, &placed(&sandbox)).await;
        assert_eq!(code, Some(0), "{call:?}: {asked}");
        assert!(asked.contains("1 book of 1 user would be replaced."), "{asked}");
    }
}

#[tokio::test]
async fn a_source_with_less_than_the_target_is_pointed_out() {
    let sandbox = Sandbox::with_books(3).await;
    let more = r#"INSERT INTO "User" ("clerkId", email, "updatedAt") SELECT i, i, now() FROM generate_series(1, 9) i;
        INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal",
          publisher, "datePublished", binding, "pageCount", "ownerId", "updatedAt")
        SELECT n, n, '', '', '', '', '', '', '', '', '', 1, 1 + n % 2, now() FROM generate_series(1, 4) n"#;
    execute(&sandbox.target_admin_url(), more).await;
    let swapped = |said: &str| {
        let said = said.lines().find(|line| line.contains("are the two swapped?"));
        said.map(|line| line.rsplit("; ").next().unwrap().to_owned())
    };
    for call in [&["sync", "--yes", "--user-id", "1"][..], &["migrate", "up"], &["setup", "--yes"]] {
        let said = check(&sandbox, call).await;
        assert!(said.contains("4 books of 2 users would be replaced"), "{call:?}: {said}");
        let expected = "the source has fewer books than the target (3 and 4): are the two swapped?";
        assert_eq!(swapped(&said).as_deref(), Some(expected), "{call:?}: {said}");
    }
    let doctor = sandbox.run(&["doctor", "--user-id", "1"]).await.stdout;
    assert!(doctor.contains("fewer books than the target (3 and 4): are the two swapped?"), "{doctor}");
    let (asked, _) = typed(&sandbox, &["sync", "--user-id", "1"], "no").await;
    insta::assert_snapshot!(asked, @"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, --user-id)
    DB at 127.0.0.1:TARGET was never marked as a development database. Its server is at 127.0.0.1 and it holds 4 books and 10 users.
    4 books of 2 users would be replaced.
    The source has fewer books than the target (3 and 4): are the two swapped?
    If it is a development database and not production, type its name, DB@127.0.0.1:TARGET:
    ");

    // With as many books, users decide, where the source's role may count them.
    execute(&sandbox.target_admin_url(), r#"DELETE FROM "Book" WHERE isbn10 = '4'"#).await;
    for call in [&["sync", "--yes", "--user-id", "1"][..], &["migrate", "up"]] {
        assert_eq!(swapped(&check(&sandbox, call).await), None, "{call:?}");
    }
    execute(&sandbox.source_admin_url(), r#"GRANT SELECT ON "User" TO reader"#).await;
    for call in [&["sync", "--yes", "--user-id", "1"][..], &["migrate", "up"]] {
        let said = check(&sandbox, call).await;
        let expected = "the source has fewer users than the target (7 and 10): are the two swapped?";
        assert_eq!(swapped(&said).as_deref(), Some(expected), "{call:?}: {said}");
    }
    // Rows that a policy hides are not counted, and it is no error.
    execute(&sandbox.source_admin_url(), r#"ALTER TABLE "User" ENABLE ROW LEVEL SECURITY"#).await;
    for call in [&["sync", "--yes", "--user-id", "1"][..], &["migrate", "up"]] {
        assert_eq!(swapped(&check(&sandbox, call).await), None, "{call:?}");
    }
}

/// Neither a migration nor a new user reads production's books.
#[tokio::test]
async fn a_source_that_nobody_may_count_keeps_nothing_from_being_marked() {
    for hidden in [r#"REVOKE SELECT ON "Book" FROM reader"#, r#"DROP TABLE "Book" CASCADE"#] {
        let sandbox = Sandbox::with_books(3).await;
        add_a_book(&sandbox).await;
        execute(&sandbox.source_admin_url(), hidden).await;
        let said = check(&sandbox, &["migrate", "up"]).await;
        assert!(said.contains("1 book of 1 user would be replaced") && !said.contains("swapped"), "{said}");
        passes(&sandbox, &["migrate", "up", "--mark-development", &placed(&sandbox)]).await;
    }
}
