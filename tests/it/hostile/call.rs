//! Arguments, paths and names of parameters: what a script may have put into a call.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::{check, check_terminal, check_text, encoded, mark, values};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::terminal::Terminal;

#[tokio::test]
async fn calls_that_cannot_be_parsed() {
    let sandbox = Sandbox::with_books(1).await;
    for value in values() {
        let option = format!("--{value}");
        for arguments in [
            &["sync", "--user-id", value.as_str()][..],
            &["sync", "--strategy", &value],
            &["sync", "--batch-timeout", &value],
            &["sync", "--resume", &value],
            &["history", &value],
            &["--color", &value, "sync"],
            &[&value],
            &["sync", &option],
            &["sync", "--dry-run", &value],
            &["migrate", &value],
            &["users", "add", "--email", "a@example.org", &option],
        ] {
            let run = sandbox.run(arguments).await;
            assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
            check(&format!("{arguments:?}"), &run);
            assert!(run.stderr.contains(mark(&value)), "{arguments:?}: {run:?}");
            let json = sandbox.run(&[&["--output", "json"][..], arguments].concat()).await;
            assert_eq!(json.stdout.chars().find(|c| super::is_raw(*c)), None, "{json:?}");
            assert_eq!(json.json_end()["exit_code"], 2);
        }
        // In colour, and with bytes that are no text.
        let bytes = [value.as_bytes(), b"\xff"].concat();
        let mut command = sandbox.command();
        let command = command.args(["--color", "always", "sync"]).arg(OsStr::from_bytes(&bytes));
        let said = String::from_utf8(command.output().await.unwrap().stderr).unwrap();
        let ours = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[4m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];
        let plain = ours.iter().fold(said.clone(), |text, color| text.replace(color, ""));
        assert!(said.contains("\u{1b}[31merror:"), "{said:?}");
        check_text("an error in colour", &plain);
    }
}

#[tokio::test]
async fn a_program_under_another_name() {
    let sandbox = Sandbox::with_books(1).await;
    let link = sandbox.directory().join("\u{1b}[2J\u{202e}x\nerror: FORGED");
    symlink(env!("CARGO_BIN_EXE_dewey-sync"), &link).unwrap();
    for arguments in [&["--help"][..], &["nonsense"], &["sync", "--help"], &["users", "add"]] {
        let output = tokio::process::Command::new(&link).env_clear().args(arguments).output().await.unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        check(&format!("{arguments:?}"), &Run { code: None, stdout, stderr });
    }
}

#[tokio::test]
async fn paths_and_parameters() {
    let sandbox = Sandbox::with_books(1).await;
    let url = sandbox.target_url();
    for value in values() {
        // A name of a file is no longer than 255 bytes.
        let name = value[..value.floor_char_boundary(200)].replace('/', "");
        let nowhere = sandbox.directory().join(&name);
        let nowhere = nowhere.to_str().unwrap();
        for arguments in [
            &["--config", nowhere, "sync", "--yes"][..],
            &["--target-env", nowhere, "users"],
            &["sync", "--owner-map", nowhere],
            &["sync", "--report", &format!("{nowhere}/report")],
        ] {
            let run = sandbox.run(arguments).await;
            assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
            check_text(&format!("{arguments:?}"), &run.stderr);
            assert!(run.stderr.contains(mark(&value)), "{arguments:?}: {run:?}");
        }
        // A warning in the log: the report's file takes nothing.
        symlink("/dev/full", nowhere).unwrap();
        let run = sandbox.run(&["sync", "--yes", "--report", nowhere]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        check_text("a warning", &run.stderr);
        assert!(run.stderr.contains(" WARN the report could not be written"), "{run:?}");
        // Another one: a parameter that nobody knows.
        sandbox.set_urls(&sandbox.source_url(), &format!("{url}?{}=1", encoded(&value)));
        let run = sandbox.run(&["users", "-vv"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        check_text("a warning", &run.stderr);
        assert!(run.stderr.contains(mark(&value)), "{run:?}");
        let mut terminal = Terminal::start(&sandbox, &["users", "--color", "never"]);
        let shown = terminal.until("ada@example.org").await;
        check_terminal("a warning on a terminal", &shown);
        sandbox.set_urls(&sandbox.source_url(), &url);
        drop(terminal.end().await);
    }
}
