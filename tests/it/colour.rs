//! One rule says whether text is coloured, whoever writes it: the flag, then the variables, then the stream.

use std::process::Output;

use tokio::process::Command;

use crate::support::terminal::Terminal;

const TOOL: &str = env!("CARGO_BIN_EXE_dewey-sync");

/// Flags and variables; whether text is coloured on a terminal, and in a pipe.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], [bool; 2]);

const CASES: [Case; 18] = [
    (&[], &[XTERM], [true, false]),
    (&[], &[], [false, false]),
    (&[], &[DUMB], [false, false]),
    (&[], &[DUMB, ("CLICOLOR", "1")], [false, false]),
    (&[], &[DUMB, ("CI", "true")], [false, false]),
    (&[], &[DUMB, ("CLICOLOR_FORCE", "1")], [true, true]),
    (&[], &[XTERM, ("CLICOLOR", "0")], [false, false]),
    (&[], &[XTERM, ("CLICOLOR", "1")], [true, false]),
    (&[], &[XTERM, ("CLICOLOR_FORCE", "0")], [true, false]),
    (&[], &[XTERM, ("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0")], [true, true]),
    (&[], &[XTERM, ("NO_COLOR", "1")], [false, false]),
    (&[], &[XTERM, ("NO_COLOR", "")], [true, false]),
    (&[], &[XTERM, ("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], [false, false]),
    (&["--color", "auto"], &[XTERM, ("NO_COLOR", "1")], [false, false]),
    (&["--color=always"], &[XTERM, ("NO_COLOR", "1")], [true, true]),
    (&["--color", "always"], &[DUMB, ("CLICOLOR", "0")], [true, true]),
    (&["--color", "never"], &[XTERM, ("CLICOLOR_FORCE", "1")], [false, false]),
    (&["--color=never"], &[XTERM], [false, false]),
];

const XTERM: (&str, &str) = ("TERM", "xterm-256color");
const DUMB: (&str, &str) = ("TERM", "dumb");

/// A call, and what each of its lines begins with that may be coloured. No server is reached: a parameter nobody knows is
/// a warning of the log, and a port without a server an error.
const CALLS: [(&[&str], &[&str]); 3] = [
    (&["users"], &[" WARN parameters", "error: could not connect"]),
    (&["nonsense"], &["error: unrecognized subcommand 'nonsense'"]),
    (&["sync", "--user-id", "none"], &["error: invalid value 'none'"]),
];

const URL: (&str, &str) =
    ("DEWEY_TARGET_DATABASE_URL", "postgres://developer:developer@127.0.0.1:1/db?nobody=knows");

/// Lines that are coloured, and all lines without their colours.
fn lines(text: &str) -> Vec<(bool, String)> {
    let line = |line: &str| {
        let mut plain = String::new();
        let mut parts = line.split("\u{1b}[");
        plain.push_str(parts.next().unwrap());
        let mut colored = false;
        for part in parts {
            let (codes, rest) = part.split_at(part.find(|c: char| c.is_ascii_alphabetic()).unwrap() + 1);
            colored |= codes.ends_with('m');
            plain.push_str(rest);
        }
        (colored, plain)
    };
    text.split(['\n', '\r']).map(line).collect()
}

fn check(what: &str, stderr: &str, begins: &[&str], colored: bool) {
    let lines = lines(stderr);
    for begin in begins {
        let found = lines.iter().find(|(_, line)| line.starts_with(begin));
        let (is_colored, _) = found.unwrap_or_else(|| panic!("{what}: no line `{begin}` in {stderr:?}"));
        assert_eq!(*is_colored, colored, "{what}: {begin}: {stderr:?}");
    }
    if !colored {
        assert!(lines.iter().all(|(colored, _)| !colored), "{what}: {stderr:?}");
    }
}

async fn in_pipe(flags: &[&str], variables: &[(&str, &str)], call: &[&str]) -> Output {
    let mut command = Command::new(TOOL);
    let command = command.env_clear().envs([URL]).envs(variables.iter().copied());
    command.args(flags).args(call).current_dir("/").output().await.unwrap()
}

async fn on_terminal(flags: &[&str], variables: &[(&str, &str)], call: &[&str]) -> String {
    let command = pty_process::Command::new(TOOL).env_clear().envs([URL]).envs(variables.iter().copied());
    let (_, said) = Terminal::with(command.args(flags).args(call).current_dir("/")).end().await;
    said
}

#[tokio::test]
async fn errors_usage_errors_and_the_log_follow_one_rule() {
    for (flags, variables, [terminal, pipe]) in CASES {
        for (call, begins) in CALLS {
            let what = format!("{call:?} {flags:?} {variables:?}");
            let output = in_pipe(flags, variables, call).await;
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.stdout, b"", "{what}");
            check(&format!("{what} in a pipe"), &stderr, begins, pipe);
            let said = on_terminal(flags, variables, call).await;
            check(&format!("{what} on a terminal"), &said, begins, terminal);
        }
    }
}

/// Only one of the two streams is a terminal.
#[tokio::test]
async fn each_stream_is_asked_for_itself() {
    let shell = |script: &str| {
        let command = pty_process::Command::new("/bin/sh").env_clear().envs([XTERM]);
        Terminal::with(command.args(["-c", script, "sh", TOOL])).end()
    };
    let (_, said) = shell(r#""$1" --help 2>/dev/null"#).await;
    assert!(lines(&said).iter().any(|(colored, _)| *colored), "{said:?}");
    let (_, said) = shell(r#""$1" --help | cat"#).await;
    assert!(said.contains("Usage:") && !said.contains('\u{1b}'), "{said:?}");
    let (_, said) = shell(r#""$1" nonsense 2>&1 >/dev/null | cat"#).await;
    assert!(said.contains("nonsense") && !said.contains('\u{1b}'), "{said:?}");
    let (_, said) = shell(r#""$1" nonsense >/dev/null"#).await;
    assert!(lines(&said).iter().any(|(colored, _)| *colored), "{said:?}");
}

#[tokio::test]
async fn a_dumb_terminal_gets_lines_and_no_bars() {
    let said = on_terminal(&["-v"], &[DUMB], &["users"]).await;
    assert!(said.contains("could not connect") && !said.contains('\u{1b}'), "{said:?}");
}
