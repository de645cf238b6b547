//! What `-h` and `--help` show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use dewey_sync::error::{Kind, SUCCESS};

/// The program itself, its commands and theirs, as the helps list them.
fn commands() -> Vec<String> {
    let mut found = vec![String::new()];
    let mut index = 0;
    while let Some(command) = found.get(index).cloned() {
        let help = help(&command, "-h");
        let (_, listed) = help.split_once("\nCommands:\n").unwrap_or_default();
        let (listed, _) = listed.split_once("\n\n").unwrap_or_default();
        let lines = listed.lines().filter(|line| !line.starts_with("   "));
        let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        found.extend(names.map(|name| format!("{command} {name}")));
        index += 1;
    }
    assert!(found.len() >= 14, "{found:?}");
    found
}

fn help(command: &str, flag: &str) -> String {
    let mut call = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
    let output = call.env_clear().args(command.split_whitespace()).arg(flag).output().unwrap();
    assert!(output.status.success(), "{command} {flag}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that a help lists.
fn options(help: &str) -> BTreeSet<String> {
    let listed = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    listed.filter_map(|line| flags(line).next()).collect()
}

/// The long options in a text.
fn flags(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| word.len() > 2 && word.starts_with("--") && !word.starts_with("---"))
        .map(str::to_owned)
}

fn sources(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The options that messages and hints name between backticks, with a place of each.
fn recommended() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|file| !file.starts_with(root.join("cli/args"))) {
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for span in code.flat_map(|line| line.split('`').skip(1).step_by(2)) {
            found.extend(flags(span).map(|flag| (flag, file.display().to_string())));
        }
    }
    found
}

#[test]
fn each_option_that_a_message_recommends_is_in_the_short_help_of_the_commands_that_have_it() {
    let recommended = recommended();
    for known in ["--allow-cascade", "--lock-wait", "--mark-development", "--no-rehearsal", "--resume"] {
        assert!(recommended.contains_key(known), "{recommended:?}");
    }
    let helps: Vec<_> = commands()
        .into_iter()
        .map(|command| {
            let [short, long] = ["-h", "--help"].map(|flag| options(&help(&command, flag)));
            (command, short, long)
        })
        .collect();
    for (flag, place) in recommended {
        let having: Vec<_> = helps.iter().filter(|(_, _, long)| long.contains(&flag)).collect();
        assert!(!having.is_empty(), "{place} recommends {flag}, which no command has");
        for (command, short, _) in having {
            assert!(short.contains(&flag), "`{command} -h` does not show {flag}, which {place} recommends");
        }
    }
}

#[test]
fn the_long_help_ends_with_one_exit_code_per_line() {
    let help = help("", "--help");
    let (_, table) = help.split_once("Exit codes:\n").unwrap();
    let kinds = Kind::ALL.map(|kind| (kind.exit_code(), kind.meaning()));
    let rows =
        std::iter::once((0, SUCCESS)).chain(kinds).map(|(code, meaning)| format!("{code:>5}  {meaning}\n"));
    assert_eq!(table, rows.collect::<String>());
}

#[test]
fn global_options_are_the_last_group_of_every_help() {
    for command in commands() {
        for flag in ["-h", "--help"] {
            let help = help(&command, flag);
            let groups = help.lines().filter(|line| !line.starts_with(' ') && line.ends_with(':'));
            let groups: Vec<&str> =
                groups.filter(|group| !["Exit codes:", "Examples:"].contains(group)).collect();
            assert_eq!(groups.last(), Some(&"Global options:"), "{command} {flag}: {groups:?}");
        }
    }
}

#[test]
fn the_mark_and_a_new_users_email_are_no_tuning() {
    let help = help("setup", "--help");
    let (options, rest) = help.split_once("\nTuning:\n").unwrap();
    for option in ["--mark-development <NAME>", "--email <EMAIL>"] {
        assert!(options.contains(option) && !rest.contains(option), "{help}");
    }
}

#[test]
fn every_time_says_how_it_is_written_and_its_default() {
    for command in ["sync", "setup", "undo"] {
        let help = help(command, "--help");
        let mut times = 0;
        for option in help.split("\n      --").filter(|option| option.contains("<TIME>\n")) {
            assert!(option.contains("such as `") && option.contains("[default: "), "{command}: {option}");
            times += 1;
        }
        assert!(times >= 3, "{command}: {help}");
    }
}

#[test]
fn the_examples_of_sync_are_parsed() {
    let help = help("sync", "--help");
    let (_, examples) = help.split_once("Examples:\n").unwrap();
    let calls: Vec<&str> = examples.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    assert!(calls.len() >= 4, "{examples}");
    for call in calls {
        let call = call.strip_prefix("dewey-sync ").unwrap();
        self::help(call, "--help");
    }
}
