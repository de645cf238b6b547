//! What the READMEs say that a program can check: length, exit codes, links, commands, options, numbers, the recorded session.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dewey_sync::demo::books;
use dewey_sync::error::{Kind, SUCCESS};

use crate::support::sandbox::Sandbox;
use crate::support::servers::connect;
use crate::support::terminal::{Terminal, shown};

const LINES_MAX: usize = 200;
const BYTES_MAX: usize = 11_000;

/// The commands that `just` runs with the arguments of a call; `sync-dry` adds one of its own.
const OURS: [&str; 10] =
    ["sync", "sync-dry", "setup", "undo", "doctor", "verify", "users", "history", "migrate", "demo"];

/// A README and its text.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Lines of code blocks, and spans between backticks outside of them.
    fn code(&self) -> Vec<&str> {
        let parts = self.text.split("```");
        let (inside, outside): (Vec<_>, Vec<_>) = parts.enumerate().partition(|(index, _)| index % 2 == 1);
        let lines = inside.into_iter().flat_map(|(_, block)| block.lines().skip(1));
        let spans = outside.into_iter().flat_map(|(_, prose)| prose.split('`').skip(1).step_by(2));
        lines.chain(spans).map(str::trim).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The one of the root.
fn readme() -> Page {
    Page::read(root().join("README.md"))
}

/// Every README of the repository.
fn pages() -> Vec<Page> {
    let mut found = vec![readme()];
    for folder in ["src", "tests", "entity", "migration"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() >= 7, "{} READMEs", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<Page>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.file_name().is_some_and(|name| name == "README.md") {
            found.push(Page::read(path));
        }
    }
}

/// The trimmed cells of every row of the root's tables.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

#[test]
fn the_readme_is_short() {
    let Page { text, .. } = readme();
    assert!(text.lines().count() <= LINES_MAX, "{} lines", text.lines().count());
    assert!(text.len() <= BYTES_MAX, "{} bytes", text.len());
}

#[test]
fn the_readme_has_the_meaning_of_each_exit_code_in_the_words_of_the_help() {
    let Page { text, .. } = readme();
    let documented: Vec<(u8, &str)> =
        rows(&text).filter_map(|row| Some((row[0].parse().ok()?, row[1]))).collect();
    let kinds = Kind::ALL.map(|kind| (kind.exit_code(), kind.meaning()));
    let expected: Vec<(u8, &str)> = std::iter::once((0, SUCCESS)).chain(kinds).collect();
    assert_eq!(documented, expected);
    let codes: BTreeSet<u8> = expected.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes.len(), expected.len(), "two endings share a code");
}

/// As GitHub makes them of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    for Page { path, text } in pages() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to);
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(to.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let headings = anchors(&Page::read(to).text);
                assert!(headings.contains(heading), "{}: {link} {headings:?}", path.display());
            }
        }
    }
}

/// The words of a call of this tool or of `just`, the first one a command or recipe; others are none.
fn call(code: &str) -> Option<Vec<String>> {
    let code = code.strip_prefix("$ ").unwrap_or(code);
    let code = code.rsplit("&& ").next()?.split(" # ").next()?.split("  #").next()?;
    let words = shlex::split(code)?;
    let (program, words) = words.split_first()?;
    let words = match (program.as_str(), words) {
        ("just", [flag, file, rest @ ..]) if flag == "-f" => {
            assert_eq!(file, "../dewey-sync/justfile");
            rest
        }
        ("just" | "dewey-sync", rest) => rest,
        _ => return None,
    };
    (!words.is_empty()).then(|| words.to_vec())
}

#[test]
fn commands_are_parsed_and_recipes_are_there() {
    let justfile = std::fs::read_to_string(root().join("justfile")).unwrap();
    let is_recipe = |name: &str| {
        justfile.lines().any(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', ':']) && rest.contains(':'))
        })
    };
    let pages = pages();
    let calls: BTreeSet<_> = pages.iter().flat_map(Page::code).filter_map(call).collect();
    for call in &calls {
        let (command, arguments) = call.split_first().unwrap();
        if command == "COMMAND" || command.starts_with('-') {
            continue;
        }
        if !OURS.contains(&command.as_str()) {
            assert!(is_recipe(command), "no recipe: {call:?}");
            continue;
        }
        let command = if command == "sync-dry" { &["sync", "--dry-run"][..] } else { &[command.as_str()] };
        let mut tool = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
        let run = tool.args(command).args(arguments).arg("--help").output().unwrap();
        assert!(run.status.success(), "{call:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
    assert!(calls.len() > 20, "{calls:?}");
}

#[test]
fn options_are_those_of_some_command() {
    let mut known = BTreeSet::new();
    for command in OURS.iter().filter(|command| **command != "sync-dry") {
        for action in ["", "add", "up", "down"] {
            let mut tool = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
            let call = [*command, action, "--help"].into_iter().filter(|word| !word.is_empty());
            let help = String::from_utf8(tool.args(call).output().unwrap().stdout).unwrap();
            known.extend(options(&help));
        }
    }
    // `cargo install --path … --locked`.
    known.extend(["--locked", "--path"].map(str::to_owned));
    for page in pages().into_iter().filter(|page| !page.path.starts_with(root().join("tests"))) {
        for option in page.code().into_iter().flat_map(options) {
            assert!(known.contains(&option), "{}: {option}", page.path.display());
        }
    }
}

fn options(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_option =
        |word: &&str| word.starts_with("--") && word[2..].starts_with(|c: char| c.is_ascii_lowercase());
    words.filter(is_option).map(str::to_owned).collect()
}

#[test]
fn the_numbers_of_the_performance_table_are_measured_ones() {
    let measured = Page::read(root().join("tests/bench/README.md")).text;
    let Page { text, .. } = readme();
    let (_, performance) = text.split_once("\n## Performance\n").unwrap();
    let (performance, _) = performance.split_once("\n## ").unwrap();
    let cells: Vec<&str> = rows(performance).flatten().filter(|cell| cell.ends_with(" s")).collect();
    assert!(cells.len() >= 8, "{cells:?}");
    for cell in cells {
        assert!(measured.contains(&format!("| {cell} ")), "{cell} was not measured");
    }
}

/// Without what differs from run to run: numbers with a unit or a place, versions, and the width of columns.
fn without_chance(session: &str, database: &str) -> Vec<String> {
    let places = ["PostgreSQL", "at", "in"];
    let line = |line: &str| {
        let line = line.replace(&format!("{database} at 127.0.0.1:"), "DB at ");
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |(index, word): (usize, &&str)| {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            let differs =
                index > 0 && places.contains(&words[index - 1]) || words.get(index + 1) == Some(&"books/s");
            if is_number && differs { "N".to_owned() } else { (*word).to_owned() }
        };
        words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
    };
    session.lines().map(line).filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn the_recorded_session_is_what_a_sync_prints() {
    let sandbox = Sandbox::new().await;
    let first = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    books::add_reading_list(&mut connect(&sandbox.target_admin_url()).await, 1, 50).await.unwrap();
    books::go_on(&mut connect(&sandbox.source_admin_url()).await).await.unwrap();
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    let asked = terminal.until("? [y/N] ").await;
    terminal.answer("y\n").await;
    let (status, done) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{done}");
    let printed = shown(&(asked + &done)).replace(&format!("{}/", sandbox.directory().display()), "");

    let Page { text, .. } = readme();
    let (_, session) = text.split_once("\n$ dewey-sync sync\n").unwrap();
    let (session, _) = session.split_once("\n```").unwrap();
    assert_eq!(without_chance(&printed, &sandbox.database), without_chance(session, "penumbra"));
}
