//! What the READMEs say that a program can check: the table of exit codes, links, and commands.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use dewey_sync::error::Kind;

/// Every README, below the root.
const ALL: [&str; 7] = [
    "README.md",
    "src/config/README.md",
    "src/ledger/README.md",
    "src/preflight/guard/README.md",
    "src/sync/strategy/README.md",
    "tests/bench/README.md",
    "tests/faults/README.md",
];

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The one of the root.
fn readme() -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(ALL[0]))
}

/// The codes in the first cells of the table, `130 / 143` and the like apart.
fn documented() -> Vec<u8> {
    let readme = readme();
    let first_cells = readme.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    first_cells.flat_map(|cell| cell.split('/').filter_map(|code| code.trim().parse().ok())).collect()
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ALL {
        let page = root.join(name);
        let text = read(&page);
        let links: Vec<&str> =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect();
        for link in links.into_iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(to.exists(), "{name}: {link}");
            if !heading.is_empty() {
                let headings = anchors(&read(&to));
                assert!(headings.contains(heading), "{name}: {link} {headings:?}");
            }
        }
    }
}

#[test]
fn commands_are_parsed() {
    let commands = ["sync", "setup", "undo", "doctor", "verify", "users", "history", "migrate", "demo"];
    let readme = readme();
    let spans = readme.split('`').skip(1).step_by(2);
    let calls =
        spans.filter_map(|span| span.strip_prefix("just ").or_else(|| span.strip_prefix("dewey-sync ")));
    let calls: BTreeSet<Vec<&str>> = calls.map(|call| call.split_whitespace().collect()).collect();
    let ours = calls.iter().filter(|call| commands.contains(&call[0]));
    let mut tried = 0;
    for call in ours {
        let run = Command::new(env!("CARGO_BIN_EXE_dewey-sync")).args(call).arg("--help").output().unwrap();
        assert!(run.status.success(), "{call:?}: {}", String::from_utf8_lossy(&run.stderr));
        tried += 1;
    }
    assert!(tried > 8, "{calls:?}");
}
