//! The questions, asked on a terminal.

use crate::support::inspect::{BOOKS, dump, no_session_left, tuples};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;
use crate::support::terminal::{Terminal, shown};

const QUESTION: &str = "? [y/N] ";

/// A sandbox whose target is marked, has two users, and books of the second one under other titles.
async fn two_users() -> Sandbox {
    let sandbox = Sandbox::new().await;
    let second =
        r#"INSERT INTO "User" ("clerkId", email, "updatedAt") VALUES ('b', 'bob@example.org', now())"#;
    execute(&sandbox.target_admin_url(), second).await;
    let run = sandbox.run(&["sync", "--yes", "--user-email", "bob@example.org"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    sandbox
}

fn owners(sandbox: &Sandbox) -> String {
    let owners = r#"SELECT DISTINCT email FROM "Book" b JOIN "User" u ON u.id = b."ownerId""#;
    String::from_utf8(dump(&sandbox.target_admin_url(), owners)).unwrap()
}

#[tokio::test]
async fn yes_changes_the_books_and_no_session_waits_for_it() {
    let sandbox = Sandbox::new().await;
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    let asked = terminal.until(QUESTION).await;
    insta::assert_snapshot!(shown(&sandbox.redacted(&asked)), @"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    Books: 357 to add, 0 to change, 0 to delete (not in production), 0 unchanged.
    90 of the books to add or change are PRIVATE in production.
    Change the books of DB at 127.0.0.1:TARGET? [y/N]
    ");
    no_session_left(&sandbox.source_admin_url()).await;
    no_session_left(&sandbox.target_admin_url()).await;
    terminal.answer("y\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    // Nothing was drawn over the question meanwhile.
    assert!(said.starts_with("y\r\n"), "{said:?}");
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
}

#[tokio::test]
async fn the_other_strategies_ask_before_they_replace_the_books() {
    for strategy in ["atomic", "batched"] {
        let sandbox = two_users().await;
        let call = ["sync", "--user-id", "1", "--strategy", strategy];
        let mut terminal = Terminal::start(&sandbox, &call);
        let asked = terminal.until(QUESTION).await;
        insta::allow_duplicates!(insta::assert_snapshot!(shown(&sandbox.redacted(&asked)), @"
        source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
        target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
        owner   ada@example.org (user 1, --user-id)
        357 books will be deleted: 357 of bob@example.org.
        357 books of production will replace them, all owned by ada@example.org.
        Replace the books of DB at 127.0.0.1:TARGET? [y/N]
        "));
        no_session_left(&sandbox.target_admin_url()).await;
        terminal.answer("y\n").await;
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(0), "{said}");
        assert_eq!(owners(&sandbox), "ada@example.org\n");
        assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
    }
}

#[tokio::test]
async fn a_declined_stage_is_emptied_and_no_book_was_touched() {
    let sandbox = two_users().await;
    let books = || dump(&sandbox.target_admin_url(), r#"SELECT ctid, xmin, b.* FROM "Book" b ORDER BY id"#);
    let before = books();
    let mut terminal = Terminal::start(&sandbox, &["sync", "--user-id", "1"]);
    terminal.until(QUESTION).await;
    let staged = "SELECT (SELECT count(*) FROM dewey_sync.stage), state FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    assert_eq!(dump(&sandbox.target_admin_url(), staged), b"357\trunning\n");
    terminal.answer("n\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(8), "{said}");
    assert!(said.contains("state: `\"Book\"` is unchanged") && !said.contains("--resume"), "{said}");
    assert!(books() == before);
    assert_eq!(dump(&sandbox.target_admin_url(), staged), b"0\tdeclined\n");
}

#[tokio::test]
async fn any_other_answer_declines() {
    let sandbox = two_users().await;
    let before = tuples(&sandbox.target_admin_url()).await;
    for answer in ["n\n", "\n", "yesterday\n", "\u{4}"] {
        let mut terminal = Terminal::start(&sandbox, &["sync", "--user-id", "1", "--strategy", "atomic"]);
        terminal.until(QUESTION).await;
        terminal.answer(answer).await;
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(8), "{answer:?}: {said}");
        assert!(said.contains("state: `\"Book\"` is unchanged"), "{answer:?}: {said}");
    }
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);
}

#[tokio::test]
async fn ctrl_c_at_the_question_leaves_a_usable_terminal() {
    let sandbox = Sandbox::new().await;
    let script = r#"trap : INT; "$@"; echo "exit $?"; stty -a"#;
    let tool = sandbox.command();
    let shell = pty_process::Command::new("/bin/sh").args(["-c", script, "sh"]);
    let call = shell.arg(tool.as_std().get_program()).args(tool.as_std().get_args()).arg("sync");
    let mut terminal = Terminal::of(&sandbox, call);
    terminal.until(QUESTION).await;
    terminal.answer("\u{3}").await;
    let (_, said) = terminal.end().await;
    assert!(said.contains("exit 130"), "{said}");
    for mode in ["icanon", "echo", "isig"] {
        assert!(said.split_whitespace().any(|word| word == mode), "{mode}: {said}");
    }
    assert!(!said.contains("\u{1b}[?25l"), "the cursor is hidden: {said:?}");
    no_session_left(&sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn a_signal_while_a_question_waits_ends_with_its_code() {
    let sandbox = Sandbox::new().await;
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    terminal.until(QUESTION).await;
    let pid = terminal.child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(143), "{said}");
    assert_eq!(dump(&sandbox.target_url(), BOOKS), b"");
}

#[tokio::test]
async fn one_of_several_users_is_chosen_by_id_by_email_or_as_last_time() {
    let sandbox = two_users().await;
    for (answer, owner) in [
        ("\n", "bob@example.org\n"),
        ("1\n", "ada@example.org\n"),
        ("bob@example.org\n", "bob@example.org\n"),
        ("3\nada@example.org\n", "ada@example.org\n"),
    ] {
        let mut terminal = Terminal::start(&sandbox, &["sync", "--yes"]);
        let menu = terminal.until("Id or e-mail").await;
        no_session_left(&sandbox.source_admin_url()).await;
        no_session_left(&sandbox.target_admin_url()).await;
        if answer == "\n" {
            insta::assert_snapshot!(shown(&sandbox.redacted(&menu)), @"
            Users of DB at 127.0.0.1:TARGET, from DIR/.env:
              1  ada@example.org
            * 2  bob@example.org
            Which user should own the books? Id or e-mail
            ");
        }
        for line in answer.split_inclusive('\n') {
            terminal.until("]: ").await;
            terminal.answer(line).await;
        }
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(0), "{answer:?}: {said}");
        assert_eq!(owners(&sandbox), owner, "{answer:?}");
    }
}

#[tokio::test]
async fn three_answers_that_name_nobody_decline() {
    let sandbox = two_users().await;
    let mut terminal = Terminal::start(&sandbox, &["sync", "--yes"]);
    for _ in 0..3 {
        terminal.until("]: ").await;
        terminal.answer("eve@example.org\n").await;
    }
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(8), "{said}");
    assert_eq!(owners(&sandbox), "bob@example.org\n");
}

#[tokio::test]
async fn migrate_up_asks_for_the_name_of_an_unmarked_target() {
    let sandbox = two_users().await;
    execute(&sandbox.target_admin_url(), "DROP SCHEMA dewey_sync CASCADE").await;
    for (answer, code) in [("another", 8), (sandbox.target_name().as_str(), 0)] {
        let mut terminal = Terminal::start(&sandbox, &["migrate", "up"]);
        terminal.until("type its name, ").await;
        no_session_left(&sandbox.target_admin_url()).await;
        terminal.answer(&format!("{answer}\n")).await;
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(code), "{answer}: {said}");
    }
    assert_eq!(sandbox.run(&["sync", "--yes", "--user-id", "1"]).await.code, Some(0), "it is marked");
}

#[tokio::test]
async fn an_unmarked_target_is_marked_by_typing_its_name() {
    let sandbox = two_users().await;
    execute(&sandbox.target_admin_url(), "DROP SCHEMA dewey_sync CASCADE").await;
    let before = tuples(&sandbox.target_admin_url()).await;
    let typing = format!("type its name, {}: ", sandbox.target_name());
    for wrong in ["y\n", "\n"] {
        let mut terminal = Terminal::start(&sandbox, &["sync", "--user-id", "1"]);
        let asked = terminal.until(&typing).await;
        if wrong == "y\n" {
            insta::assert_snapshot!(shown(&sandbox.redacted(&asked)), @"
            source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
            target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
            owner   ada@example.org (user 1, --user-id)
            DB at 127.0.0.1:TARGET was never marked as a development database. Its server is at 127.0.0.1 and it holds 357 books and 2 users.
            357 books of 1 user would be replaced.
            If it is a development database and not production, type its name, DB@127.0.0.1:TARGET:
            ");
        }
        terminal.answer(wrong).await;
        let (status, said) = terminal.end().await;
        assert_eq!(status.code(), Some(8), "{wrong:?}: {said}");
    }
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);

    let mut terminal = Terminal::start(&sandbox, &["sync", "--user-id", "1"]);
    terminal.until(&typing).await;
    terminal.answer(&format!("{}\n", sandbox.target_name())).await;
    terminal.until(QUESTION).await;
    terminal.answer("yes\n").await;
    let (status, said) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let run = sandbox.run(&["sync", "--yes", "--user-id", "1"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
}
