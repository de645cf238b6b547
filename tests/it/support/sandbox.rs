//! One test's world: a source with books, a target with a user, and a directory with the two env files.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::servers::{DEVELOPER, READER, SERVERS, as_role};

/// As many as fit one default batch, with all the awkward ones.
pub(crate) const BOOKS: u32 = 357;

/// Every strategy with every engine.
pub(crate) const WAYS: [(&str, &str); 6] = [
    ("staged", "insert"),
    ("atomic", "copy"),
    ("batched", "insert"),
    ("staged", "copy"),
    ("atomic", "insert"),
    ("batched", "copy"),
];

/// Every strategy with one engine, and in the next case with the other one: for what the cases do to neither.
pub(crate) fn ways(case: usize) -> &'static [(&'static str, &'static str)] {
    &WAYS[case % 2 * 3..][..3]
}

/// Takes both unique keys from a target's books. What the guards take for one is an index that finds no two values equal; only
/// a superuser can make it.
pub(crate) const WITHOUT_KEYS: &str = r#"
    DROP INDEX "Book_isbn10_key", "Book_isbn13_key";
    CREATE FUNCTION never_equal(text, text) RETURNS integer IMMUTABLE LANGUAGE sql
      AS $$ SELECT CASE WHEN $1 < $2 THEN -1 ELSE 1 END $$;
    CREATE OPERATOR <# (FUNCTION = text_lt, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR <=# (FUNCTION = text_le, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR =# (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR >=# (FUNCTION = text_ge, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR ># (FUNCTION = text_gt, LEFTARG = text, RIGHTARG = text);
    CREATE OPERATOR CLASS never_equal FOR TYPE text USING btree AS OPERATOR 1 <#, OPERATOR 2 <=#, OPERATOR 3 =#,
      OPERATOR 4 >=#, OPERATOR 5 >#, FUNCTION 1 never_equal(text, text);
    CREATE UNIQUE INDEX ON "Book" (isbn13 never_equal)"#;

pub(crate) struct Sandbox {
    /// The name of both databases.
    pub(crate) database: String,
    directory: TempDir,
}

impl Sandbox {
    pub(crate) async fn new() -> Self {
        Self::with_books(BOOKS).await
    }

    pub(crate) async fn with_books(books: u32) -> Self {
        Self::make(books, false).await
    }

    /// With a text of a megabyte among the books.
    pub(crate) async fn with_long_text(books: u32) -> Self {
        Self::make(books, true).await
    }

    async fn make(books: u32, whole: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let database = format!("sandbox_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        tokio::join!(SERVERS.create_source(&database, books, whole), SERVERS.create_target(&database));
        let sandbox = Self { database, directory: tempfile::tempdir().unwrap() };
        sandbox.set_urls(&sandbox.source_url(), &sandbox.target_url());
        sandbox
    }

    /// Writes the env files, for a run through proxies for instance.
    pub(crate) fn set_urls(&self, source: &str, target: &str) {
        for (file, url) in [(".env.production", source), (".env", target)] {
            fs::write(self.directory.path().join(file), format!("DEWEY_DB_DATABASE_URL={url}\n")).unwrap();
        }
    }

    /// Where the env files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// For the role that may only read books.
    pub(crate) fn source_url(&self) -> String {
        as_role(&self.source_admin_url(), READER)
    }

    /// For the ordinary role that owns the database.
    pub(crate) fn target_url(&self) -> String {
        as_role(&self.target_admin_url(), DEVELOPER)
    }

    /// For the superuser, to prepare and to look.
    pub(crate) fn source_admin_url(&self) -> String {
        SERVERS.source.url(&self.database)
    }

    /// For the superuser, to prepare and to look.
    pub(crate) fn target_admin_url(&self) -> String {
        SERVERS.target.url(&self.database)
    }

    /// What marks the target, whose database has the name of the source's.
    pub(crate) fn target_name(&self) -> String {
        placed(&self.target_admin_url())
    }

    /// The tool in this sandbox, with nothing of the caller's environment.
    pub(crate) fn command(&self) -> Command {
        tool_in(self.directory())
    }

    /// Runs the tool to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        run_in(self.directory(), arguments).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        SERVERS.forget(&self.database);
    }
}

/// `DATABASE@HOST:PORT` of a URL.
pub(crate) fn placed(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    format!("{}@{}:{}", &url.path()[1..], url.host_str().unwrap(), url.port().unwrap())
}

/// What a run of the tool said.
#[derive(Debug)]
pub(crate) struct Run {
    /// None: a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The last line of `--output json`, which is the whole summary.
    pub(crate) fn json_end(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_else(|| panic!("no output: {self:?}"));
        let end: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(end["event"], "end", "{self:?}");
        end
    }
}

/// The tool with this folder for its own, and with nothing of the caller's environment.
pub(crate) fn tool_in(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
    command
        .env_clear()
        .envs([("NO_COLOR", "1"), ("PATH", "/usr/bin:/bin")])
        .env("HOME", directory)
        .current_dir("/")
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn run_in(directory: &Path, arguments: &[&str]) -> Run {
    let output = tool_in(directory).args(arguments).output().await.unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
