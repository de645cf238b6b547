//! The options of a temporary server.

use std::path::{Path, PathBuf};

/// Short for any socket path (PostgreSQL's limit is 107 bytes), unlike the `TMPDIR` of macOS.
const PARENT_DIRECTORY: &str = "/tmp";

/// Held before the caller's own settings, which therefore win. A killed process loses nothing without
/// `fsync`, only a killed machine does; `synchronous_commit` stays on, so commits cost what they cost elsewhere.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "200"),
    ("shared_buffers", "32MB"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// What a server is to be like.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub(super) binaries: PathBuf,
    pub(super) parent: PathBuf,
    pub(super) making: Making,
    settings: Vec<(String, String)>,
}

/// Where the data comes from.
#[derive(Debug, Clone)]
pub(super) enum Making {
    /// It is new; the options of `initdb`.
    Initdb(Vec<String>),
    /// It is that of a running server; the options of `pg_basebackup`, and the password that comes with the data.
    Basebackup(Vec<String>, String),
}

impl ServerOptions {
    /// A server of the programs in `binaries` (see [`super::binaries::find`]): locale C, encoding UTF8, time
    /// zone UTC.
    pub fn new(binaries: impl Into<PathBuf>) -> Self {
        let making = Making::Initdb(["--locale=C", "--encoding=UTF8"].map(str::to_owned).to_vec());
        Self { binaries: binaries.into(), parent: PARENT_DIRECTORY.into(), making, settings: Vec::new() }
    }

    /// Where the server's directory is made; a long path is no place for its socket.
    #[must_use]
    pub fn parent(mut self, directory: &Path) -> Self {
        self.parent = directory.into();
        self
    }

    /// Adds an option of `initdb`, such as `--locale=tr_TR.UTF-8`; the last of several wins. A copy has those of its original.
    #[must_use]
    pub fn initdb(mut self, option: &str) -> Self {
        if let Making::Initdb(options) = &mut self.making {
            options.push(option.to_owned());
        }
        self
    }

    /// Adds a line to `postgresql.conf`; the last of several wins.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What is added to `postgresql.conf`.
    pub(super) fn configuration(&self) -> String {
        let own = SETTINGS.iter().map(|(name, value)| (*name, *value));
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let line = |(name, value): (&str, &str)| format!("{name} = '{}'", value.replace('\'', "''"));
        // A last empty line ends the last setting.
        own.chain(theirs).map(line).chain([String::new()]).collect::<Vec<_>>().join("\n")
    }

    /// The superuser's password.
    pub(super) fn password(&self) -> String {
        match &self.making {
            Making::Initdb(_) => format!("{:032x}", rand::random::<u128>()),
            Making::Basebackup(_, password) => password.clone(),
        }
    }

    /// The program that makes the data directory, with all options but where that is. `password` is a file that holds it.
    pub(super) fn making(&self, password: &Path) -> Vec<String> {
        let password = format!("--pwfile={}", password.display());
        let own = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"];
        let (program, own, options): (_, &[&str], _) = match &self.making {
            Making::Initdb(options) => ("initdb", &[&own[..], &[&password]].concat(), options),
            Making::Basebackup(options, _) => ("pg_basebackup", &[], options),
        };
        [program].iter().chain(own).map(|text| (*text).to_owned()).chain(options.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_caller_come_last_and_are_quoted() {
        let options = ServerOptions::new("/bin").setting("fsync", "on").setting("log_line_prefix", "it's ");
        assert!(options.configuration().ends_with("fsync = 'on'\nlog_line_prefix = 'it''s '\n"));
    }
}
