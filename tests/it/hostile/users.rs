//! E-mails, names of users, and titles.

use serde_json::Value;

use super::{check, check_terminal, check_text, literal, mark, user_id, values, world};
use crate::support::inspect::dump;
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;
use crate::support::terminal::Terminal;

#[tokio::test]
async fn lists_and_menus_of_users() {
    let sandbox = world().await;
    let listed = sandbox.run(&["users"]).await;
    check("users", &listed);
    assert_eq!(listed.stdout.lines().count(), values().len() + 1, "{listed:?}");

    let listed = sandbox.run(&["users", "--output", "json"]).await;
    check_text("users as JSON", &listed.stderr);
    check_json("users as JSON", &listed.stdout);
    let users: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (user, value) in users[1..].iter().zip(values()) {
        assert_eq!((&user["email"], &user["name"]), (&value.as_str().into(), &value.as_str().into()));
    }

    let mut terminal = Terminal::start(&sandbox, &["sync", "--yes"]);
    let menu = terminal.until("Id or e-mail").await;
    check_terminal("the menu", &menu);
    for value in values() {
        assert!(menu.contains(mark(&value)), "{value:?} is not in {menu}");
    }
    for _ in 0..3 {
        terminal.until("]: ").await;
        terminal.answer("nobody\n").await;
    }
    check_terminal("after the menu", &terminal.end().await.1);
}

/// No character of a text stands as it is that a terminal or an editor would not show.
fn check_json(what: &str, text: &str) {
    assert_eq!(text.chars().find(|c| super::is_raw(*c)), None, "{what}: {text:?}");
}

/// Each value as the owner, and as titles: the header, the dry run, the question, doctor, `-vv`.
#[tokio::test]
async fn headers_previews_questions_and_findings() {
    let sandbox = world().await;
    for (number, value) in values().iter().enumerate() {
        let titles = format!(r#"UPDATE "Book" SET title = {} || id"#, literal(value));
        execute(&sandbox.source_admin_url(), &titles).await;
        let owning = format!(r#"UPDATE "Book" SET "ownerId" = {}"#, user_id(number));
        execute(&sandbox.target_admin_url(), &owning).await;
        let owner = ["--user-id", &user_id(number)];

        let dry_run = sandbox.run(&[&["sync", "--dry-run", "-vv"][..], &owner].concat()).await;
        assert_eq!(dry_run.code, Some(0), "{dry_run:?}");
        check(&format!("a dry run with {value:?}"), &dry_run);
        let shown = dry_run.stdout.lines().filter(|line| line.starts_with(&format!("  {}", mark(value))));
        assert_eq!(shown.count(), 3, "{dry_run:?}");
        assert!(dry_run.stderr.contains(&format!("owner   {}", mark(value))), "{dry_run:?}");

        let doctor = sandbox.run(&[&["doctor"][..], &owner].concat()).await;
        check(&format!("doctor with {value:?}"), &doctor);
        assert!(doctor.stdout.contains(mark(value)), "{doctor:?}");

        let mut terminal =
            Terminal::start(&sandbox, &[&["sync", "--strategy", "atomic"][..], &owner].concat());
        let asked = terminal.until("? [y/N] ").await;
        check_terminal(&format!("a question with {value:?}"), &asked);
        assert!(asked.contains(&format!("12 of {}", mark(value))), "{asked}");
        terminal.answer("n\n").await;
        check_terminal("a declined question", &terminal.end().await.1);

        let json = [&["sync", "--dry-run", "--output", "json"][..], &owner].concat();
        let preview = sandbox.run(&json).await;
        check_json("a preview", &preview.stdout);
        let preview: Value = preview
            .stdout
            .lines()
            .find_map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                (event["event"] == "preview").then_some(event)
            })
            .unwrap();
        assert_eq!(preview["owner"]["email"], value.as_str());
        assert!(preview["titles"][0].as_str().unwrap().starts_with(value.as_str()), "{preview}");
    }
}

#[tokio::test]
async fn an_owner_that_is_not_there() {
    let sandbox = Sandbox::with_books(1).await;
    let report = sandbox.directory().join("report.json");
    let report = report.to_str().unwrap();
    for value in values() {
        let run = sandbox.run(&["sync", "--yes", "--user-email", &value, "--report", report]).await;
        assert_eq!(run.code, Some(2), "{run:?}");
        check("a refusal", &run);
        assert!(run.stderr.contains(&format!("e-mail `{}", mark(&value))), "{run:?}");
        let written = std::fs::read_to_string(report).unwrap();
        check_json("a report", &written);
        check_text("a report", &written);
        let _: Value = serde_json::from_str(&written).unwrap();
    }
}

#[tokio::test]
async fn a_user_is_added_only_under_a_name_that_is_seen() {
    let sandbox = Sandbox::with_books(1).await;
    let users = || dump(&sandbox.target_admin_url(), r#"SELECT * FROM "User" ORDER BY id"#);
    let before = users();
    let hostile = values().into_iter().filter(|value| value.contains(|c| super::is_raw(c) || c == '\n'));
    let hostile: Vec<String> = hostile.chain(["a\u{fffe}".into(), "a\u{301}\u{200b}".into()]).collect();
    assert!(hostile.len() > 10);
    for value in &hostile {
        let email = format!("{}@example.org", value.trim_end());
        for arguments in [
            &["users", "add", "--email", value.as_str()][..],
            &["users", "add", "--email", &email],
            &["users", "add", "--email", "a@example.org", "--name", value],
            &["users", "add", "--email", "a@example.org", "--clerk-id", value],
            &["setup", "--yes", "--email", &email],
        ] {
            let run = sandbox.run(arguments).await;
            assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
            check("a user that is not added", &run);
            assert!(run.stderr.contains("it has a character that is not seen"), "{run:?}");
        }
    }
    for email in ["ada", "Ada <ada@example.org>", "a@b@c", "a b@example.org", "@example.org", ""] {
        for arguments in [&["users", "add", "--email", email][..], &["setup", "--yes", "--email", email]] {
            let run = sandbox.run(arguments).await;
            assert_eq!(run.code, Some(2), "{email}: {run:?}");
            assert!(run.stderr.contains("it is no e-mail address"), "{run:?}");
        }
    }
    assert_eq!(users(), before);
    for email in ["ada@localhost", "ada.l+1@example.org"] {
        let run = sandbox.run(&["users", "add", "--email", email, "--name", "Ada Lovelace, 山田"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains(email), "{run:?}");
    }
}
