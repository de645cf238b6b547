//! Finds the PostgreSQL programs on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Kind, Result};

/// The programs that make a temporary server.
const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_isready"];

/// Where packages put one directory a major version, as what stands before and after the version.
const VERSIONED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql/", "/bin"),
    ("/usr/pgsql-", "/bin"),
    ("/usr/libexec/postgresql", ""),
    ("/opt/homebrew/opt/postgresql@", "/bin"),
    ("/usr/local/opt/postgresql@", "/bin"),
];

/// A package manager, known by its program, and what installs the server with it.
const INSTALLERS: [(&str, &str); 5] = [
    ("/usr/bin/apt-get", "sudo apt-get install postgresql"),
    ("/usr/bin/dnf", "sudo dnf install postgresql-server"),
    ("/sbin/apk", "sudo apk add postgresql"),
    ("/opt/homebrew/bin/brew", "brew install postgresql@17"),
    ("/usr/local/bin/brew", "brew install postgresql@17"),
];

/// The directory that holds `initdb`, `postgres` and `pg_isready`: `pg_bin` (the user's `PG_BIN`) if given,
/// else what `pg_config` says, the newest packaged version, or the search path.
///
/// # Errors
/// [`Kind::Usage`] with the command that installs PostgreSQL here; also when `pg_bin` lacks a program, because
/// then another directory is not what was asked for.
pub fn find(pg_bin: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(directory) = pg_bin {
        return if is_complete(&directory) {
            Ok(directory)
        } else {
            let doing = format!("`PG_BIN` has no {}: `{}`", NEEDED.join(", "), directory.display());
            Err(Error::new(Kind::Usage, doing))
        };
    }
    answer_of("pg_config", &["--bindir"])
        .map(PathBuf::from)
        .into_iter()
        .chain(VERSIONED.iter().flat_map(|(before, after)| newest_first(before, after)))
        .chain(on_search_path())
        .find(|directory| is_complete(directory))
        .ok_or_else(|| {
            let install = INSTALLERS.iter().find(|(program, _)| Path::new(program).exists());
            let install = install.map_or("install PostgreSQL", |(_, command)| command);
            Error::new(Kind::Usage, "no PostgreSQL server programs on this machine")
                .hint(format!("{install} (or let `PG_BIN` name their directory)"))
        })
}

fn is_complete(directory: &Path) -> bool {
    NEEDED.iter().all(|program| directory.join(program).is_file())
}

/// The existing directories `before + version + after`, by falling version.
fn newest_first(before: &str, after: &str) -> Vec<PathBuf> {
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(format!("{parent}/"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, PathBuf::from(format!("{before}{version}{after}"))))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// The directory of the `initdb` that a shell would run, links followed.
fn on_search_path() -> Option<PathBuf> {
    let initdb = answer_of("sh", &["-c", "command -v initdb"])?;
    Some(fs::canonicalize(initdb).ok()?.parent()?.to_owned())
}

/// The first line that a command prints, if it succeeds.
fn answer_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned();
    output.status.success().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers() {
        let directory = tempfile::tempdir().unwrap();
        for version in ["9", "18", "17", "common"] {
            fs::create_dir_all(directory.path().join(version)).unwrap();
        }
        let before = format!("{}/", directory.path().display());
        let names = newest_first(&before, "/bin");
        assert_eq!(names, ["18", "17", "9"].map(|v| PathBuf::from(format!("{before}{v}/bin"))));
    }

    #[test]
    fn a_named_directory_without_the_programs_is_refused_by_name() {
        let error = find(Some("/nowhere/bin".into())).unwrap_err();
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.doing.contains("/nowhere/bin"), "{error}");
    }
}
