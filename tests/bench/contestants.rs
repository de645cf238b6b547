//! The ways to make a target's books equal to the source's. Each is a few programs, and starting them counts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Anyhow;
use crate::lab::{Lab, Urls};
use crate::old::{self, Way as OldWay};
use crate::resources::{Spent, run};

/// One way.
#[derive(Debug)]
pub(crate) struct Contestant {
    /// In Markdown.
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// More would take too long to wait for.
    books_max: u32,
    way: Way,
}

/// What the target holds when a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// No books.
    Empty,
    /// What the contestant before this one left there.
    Equal,
}

#[derive(Debug)]
enum Way {
    CopyPipe,
    Dump,
    Pgcopydb,
    Old(OldWay),
    /// This tool; the arguments of `sync`.
    Tool(&'static [&'static str]),
}

const ALL: [Contestant; 12] = [
    unverified("`COPY` pipe of two `psql`", Way::CopyPipe),
    unverified("`pg_dump` to `psql`, `UPDATE`", Way::Dump),
    unverified("`pgcopydb`, `UPDATE`", Way::Pgcopydb),
    old("row by row, one transaction", OldWay::RowByRow),
    old("100 rows a transaction", OldWay::Hundreds),
    tool("**`staged`**", &[]),
    Contestant { start: Start::Equal, ..tool("**`staged`**, nothing changed", &[]) },
    tool("**`batched`**", &["--strategy", "batched"]),
    tool("**`atomic`**", &["--strategy", "atomic"]),
    tool("**`staged`, `copy`**", &["--engine", "copy"]),
    tool("**`batched`, `copy`**", &["--strategy", "batched", "--engine", "copy"]),
    tool("**`atomic`, `copy`**", &["--strategy", "atomic", "--engine", "copy"]),
];

const fn unverified(name: &'static str, way: Way) -> Contestant {
    Contestant { name, start: Start::Empty, books_max: u32::MAX, way }
}

const fn old(name: &'static str, way: OldWay) -> Contestant {
    Contestant { name, start: Start::Empty, books_max: 10_000, way: Way::Old(way) }
}

const fn tool(name: &'static str, arguments: &'static [&'static str]) -> Contestant {
    Contestant { name, start: Start::Empty, books_max: u32::MAX, way: Way::Tool(arguments) }
}

impl Contestant {
    /// The first one is what the others are compared with.
    pub(crate) fn chosen(only: Option<&str>, skip: Option<&str>) -> Vec<&'static Self> {
        let others = ALL[1..].iter().filter(|contestant| {
            only.is_none_or(|text| contestant.name.contains(text))
                && !skip.is_some_and(|text| contestant.name.contains(text))
        });
        [&ALL[0]].into_iter().chain(others).collect()
    }

    /// Whether this program is a run of this tool.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.way, Way::Tool(_))
    }

    /// Whether this is what a user gets without any option.
    pub(crate) fn is_default(&self) -> bool {
        matches!(self.way, Way::Tool([]))
    }

    pub(crate) fn is_able(&self, lab: &Lab) -> bool {
        lab.books <= self.books_max && (!matches!(self.way, Way::Pgcopydb) || pgcopydb().is_some())
    }

    /// Why there is no figure of it.
    pub(crate) fn absence(&self) -> &'static str {
        if matches!(self.way, Way::Pgcopydb) && pgcopydb().is_none() { "not installed" } else { "" }
    }

    /// `urls` lead to the lab's databases, or to proxies in front of them.
    pub(crate) fn run(&self, lab: &Lab, urls: &Urls) -> Anyhow<Spent> {
        let work = tempfile::tempdir()?;
        let steps = match self.way {
            Way::CopyPipe => vec![copy_pipe(lab, urls)],
            Way::Dump => vec![dump(lab, urls), vec![hand_over(lab, urls)]],
            Way::Pgcopydb => vec![vec![copy_database(urls, work.path())?], vec![hand_over(lab, urls)]],
            Way::Old(way) => vec![vec![old::command(way, lab, urls)?]],
            Way::Tool(arguments) => vec![vec![sync(urls, arguments)]],
        };
        run(steps).map_err(|error| format!("{}: {error}", self.name).into())
    }
}

/// Binary, and with the owner in the query: the least that can be done.
fn copy_pipe(lab: &Lab, urls: &Urls) -> Vec<Command> {
    let columns = Lab::columns();
    let copy_out =
        format!(r#"COPY (SELECT {columns}, {} FROM "Book") TO STDOUT (FORMAT binary)"#, lab.developer);
    let copy_in = format!(r#"COPY "Book" ({columns}, "ownerId") FROM STDIN (FORMAT binary)"#);
    vec![lab.psql(&urls.source, &copy_out), lab.psql(&urls.target, &copy_in)]
}

/// The dump's owners are users that the target lacks: its foreign key has to look away until they are replaced.
fn dump(lab: &Lab, urls: &Urls) -> Vec<Command> {
    let mut dump = lab.program("pg_dump");
    dump.args(["--data-only", "--disable-triggers", "--table", "\"Book\"", &urls.source]);
    let mut load = lab.program("psql");
    load.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &urls.target]);
    vec![dump, load]
}

/// Its `PGOPTIONS` do what `--disable-triggers` does for a dump.
fn copy_database(urls: &Urls, work: &Path) -> Anyhow<Command> {
    let filters = work.join("filters.ini");
    std::fs::write(&filters, "[include-only-table]\npublic.Book\n")?;
    let mut program = Command::new(pgcopydb().ok_or("no pgcopydb")?);
    program
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("PGOPTIONS", "-c session_replication_role=replica")]);
    program.args(["copy", "table-data", "--source", &urls.source, "--target", &urls.target]);
    program.arg("--dir").arg(work.join("pgcopydb")).arg("--filters").arg(filters);
    Ok(program)
}

fn hand_over(lab: &Lab, urls: &Urls) -> Command {
    lab.psql(&urls.target, &format!(r#"UPDATE "Book" SET "ownerId" = {}"#, lab.developer))
}

fn sync(urls: &Urls, arguments: &[&str]) -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
    tool.args(["--quiet", "--dir", "/", "sync", "--yes"])
        .args(arguments)
        .env_clear()
        .envs([("DEWEY_SOURCE_DATABASE_URL", &urls.source), ("DEWEY_TARGET_DATABASE_URL", &urls.target)]);
    tool.stdin(Stdio::null());
    tool
}

/// Where this machine has it.
fn pgcopydb() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where programs are is nothing that is configured")]
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("pgcopydb")).find(|path| path.is_file())
}
