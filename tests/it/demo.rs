//! The demonstration: its story, and that nothing of it stays, however it ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::deadline::Deadline;
use crate::support::inspect::{BOOKS, dump};
use crate::support::servers::PG_BIN;

/// A demonstration that runs, and the directories of its two servers.
struct Demo {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    directories: Vec<PathBuf>,
}

impl Demo {
    /// Starts it and waits for its dry run.
    async fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PG_BIN", &*PG_BIN).arg("demo").args(arguments);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut demo = Self { child, stdout, directories: Vec::new() };
        demo.until("$ dewey-sync sync --dry-run").await;
        demo.directories = directories(demo.child.id().unwrap());
        assert_eq!(demo.directories.len(), 2);
        demo
    }

    async fn until(&mut self, line: &str) {
        while self.stdout.next_line().await.unwrap().expect("the demonstration ended early") != line {}
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// The exit code and the rest of stdout, once it has ended.
    async fn end(&mut self) -> (Option<i32>, Vec<String>) {
        let mut said = Vec::new();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            said.push(line);
        }
        (self.child.wait().await.unwrap().code(), said)
    }
}

/// Of the servers whose supervisors are children of a process.
fn directories(parent: u32) -> Vec<PathBuf> {
    let output = std::process::Command::new("ps").args(["-A", "-o", "ppid=,args="]).output().unwrap();
    let processes = String::from_utf8(output.stdout).unwrap();
    let of_ours = processes.lines().filter_map(|line| line.trim().strip_prefix(&format!("{parent} ")));
    let scripts =
        of_ours.filter_map(|call| call.split(' ').find_map(|word| word.strip_suffix("/supervise.sh")));
    scripts.map(PathBuf::from).collect()
}

/// A directory goes after its server did.
fn assert_vanish(directories: &[PathBuf]) {
    let deadline = Deadline::new();
    while directories.iter().any(|directory| directory.exists()) {
        deadline.pause(format_args!("{directories:?} are left"));
    }
}

#[tokio::test]
async fn the_story_ends_well_and_leaves_nothing() {
    let mut demo = Demo::start(&[]).await;
    let (code, said) = demo.end().await;
    assert_eq!(code, Some(0), "{said:?}");
    // Not only soon: a demonstration that ends by itself has cleaned up.
    assert!(demo.directories.iter().all(|directory| !directory.exists()));
    let told = said.iter().filter(|line| line.starts_with("$ ") || line.starts_with("The reading list"));
    let expected = [
        "$ dewey-sync sync --yes",
        "$ dewey-sync verify",
        "$ dewey-sync sync --yes --allow-cascade",
        "The reading list has 49 books.",
        "$ dewey-sync sync --yes",
        "$ dewey-sync undo --yes",
        "The reading list has 50 books.",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected, "{said:?}");
}

#[tokio::test]
async fn an_interrupted_demonstration_leaves_nothing() {
    let mut demo = Demo::start(&["--books", "20000"]).await;
    demo.until("$ dewey-sync sync --yes").await;
    demo.signal("INT");
    let (code, said) = demo.end().await;
    assert_eq!(code, Some(130), "{said:?}");
    assert!(demo.directories.iter().all(|directory| !directory.exists()));
}

#[tokio::test]
async fn a_killed_demonstration_leaves_no_server() {
    let mut demo = Demo::start(&[]).await;
    demo.signal("KILL");
    let (code, _) = demo.end().await;
    assert_eq!(code, None);
    assert_vanish(&demo.directories);
}

#[tokio::test]
async fn kept_servers_answer_until_they_are_told_to_end() {
    let mut demo = Demo::start(&["--keep", "--books", "40"]).await;
    let (code, said) = demo.end().await;
    assert_eq!(code, Some(0), "{said:?}");
    let mut books = Vec::new();
    for side in ["production   ", "development  "] {
        let line = said.iter().find_map(|line| line.strip_prefix(side)).unwrap();
        let (url, end) = line.trim().split_once("  ").unwrap();
        books.push(dump(url, BOOKS).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count());
        let pid = end.split(['`', ' ']).find(|word| word.parse::<u32>().is_ok()).unwrap();
        assert!(std::process::Command::new("kill").args(["-INT", pid]).status().unwrap().success());
    }
    // The story ends with the old books in development, and one of them is gone in production.
    assert_eq!(books, [39, 40]);
    assert_vanish(&demo.directories);
    let files = said.iter().find_map(|line| line.strip_prefix("Their env files are in ")).unwrap();
    std::fs::remove_dir_all(Path::new(files.split_once(':').unwrap().0)).unwrap();
}
