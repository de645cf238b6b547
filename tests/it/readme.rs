//! What the READMEs say that a program can check: exit codes, links, commands and options.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dewey_sync::error::Kind;

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

/// The codes in the first cells of the root's tables.
fn documented() -> Vec<u8> {
    let Page { text, .. } = readme();
    let first_cells = text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    first_cells.filter_map(|cell| cell.trim().parse().ok()).collect()
}

#[test]
fn the_readme_has_a_row_for_success_and_for_each_kind_of_ending() {
    let codes: Vec<u8> = std::iter::once(0).chain(Kind::ALL.map(Kind::exit_code)).collect();
    assert_eq!(documented(), codes);
    assert_eq!(BTreeSet::from_iter(&codes).len(), codes.len(), "two endings share a code");
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
