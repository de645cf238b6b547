//! Whatever strangers wrote into a database, a ledger or a call: no screen is steered by it, no line is forged, and it
//! can still be told what it was.

mod call;
mod database;
mod ledger;
mod names;
mod users;

use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

/// Stands at the begin of a line only if a value could begin one.
const FORGED: &str = "error: FORGED";

/// Each begins with its number, so that a screen can be asked whether it shows the value.
fn values() -> Vec<String> {
    let values = [
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{1b}[31m".to_owned(),
        "\u{1}\u{8}\u{8}\t\u{b}\u{c}\r".into(),
        "\u{9b}31m\u{9d}0;owned\u{9c}\u{85}".into(),
        "\u{7f}\u{7f}".into(),
        "\u{202e}gro.elpmaxe\u{202c}\u{202d}".into(),
        "\u{2066}a\u{2067}b\u{2068}\u{2069}\u{61c}\u{200e}\u{200f}".into(),
        "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}".into(),
        format!("\u{2028}{FORGED}\u{2029}{FORGED}"),
        format!("\n{FORGED}\n\n"),
        format!("\r\n{FORGED}\r"),
        "\u{e0041}\u{e007f}a\u{fe01}\u{180e}".into(),
        format!(" a{}", "\u{301}".repeat(20)),
        "w".repeat(300),
        "日本語".repeat(40),
        "\u{fffe}'\"\\%s${HOME}`id`".into(),
    ];
    values.into_iter().enumerate().map(|(number, value)| format!("V{number}_{value}")).collect()
}

/// The mark that a value begins with.
fn mark(value: &str) -> &str {
    value.split_inclusive('_').next().unwrap()
}

/// As much of a value as a name of PostgreSQL takes.
fn name(value: &str) -> &str {
    &value[..value.floor_char_boundary(60)]
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What moves a cursor, turns text round, or is not seen. Written down here from the standards, not taken from the tool.
fn is_raw(c: char) -> bool {
    let [bidi, zero_width] =
        ["\u{61c}\u{200e}\u{200f}", "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}\u{180e}"];
    let c0_or_c1 = (c < ' ' && c != '\n') || ('\u{7f}'..='\u{9f}').contains(&c);
    c0_or_c1
        || bidi.contains(c)
        || zero_width.contains(c)
        || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
        || ('\u{e0000}'..='\u{e0fff}').contains(&c)
        || c == '\u{fe01}'
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
}

/// Nothing raw on the screen, and no line of it from a value.
fn check_text(what: &str, text: &str) {
    let raw = text.chars().find(|c| is_raw(*c));
    assert_eq!(raw, None, "{what}: {text:?}");
    let forged = text.lines().find(|line| line.trim_start().starts_with(FORGED));
    assert_eq!(forged, None, "{what}: {text:?}");
    assert!(!text.contains(&"w".repeat(200)) && !text.contains(&"日本語".repeat(30)), "{what}: {text:?}");
    assert!(!text.contains(&"\u{301}".repeat(10)), "{what}: {text:?}");
}

/// The same of what came over a terminal, where line ends and bars are ours.
fn check_terminal(what: &str, text: &str) {
    let text = text.replace("\r\n", "\n");
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    // Cursor up and down, clear to the end, clear the line: those of bars.
    let shown = parts.fold(first, |shown, part| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        match part[end..].chars().next() {
            Some('A' | 'B' | 'K') => shown + &part[end + 1..],
            _ => shown + "\u{1b}[" + part,
        }
    });
    check_text(what, &shown.replace('\r', ""));
}

fn check(what: &str, run: &Run) {
    check_text(&format!("{what}, stdout"), &run.stdout);
    check_text(&format!("{what}, stderr"), &run.stderr);
}

/// A marked target with books of ada, and every value as the e-mail and name of a user.
async fn world() -> Sandbox {
    let sandbox = Sandbox::with_books(12).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    for (number, value) in values().iter().enumerate() {
        let user = format!(
            r#"INSERT INTO "User" ("clerkId", email, name, "updatedAt") VALUES ('h{number}', {0}, {0}, now())"#,
            literal(value)
        );
        execute(&sandbox.target_url(), &user).await;
    }
    sandbox
}

/// The id of the user whose e-mail is the value of this number.
fn user_id(number: usize) -> String {
    (number + 2).to_string()
}
