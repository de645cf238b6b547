//! What became of the cases: a line for each that failed, a table of kinds, the sums that have to be 0.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::case::Case;
use crate::way::Work;
use crate::world::{Failure, Harm, Verdict};

/// Where the table is in the README beside this program.
const BEGIN: &str = "<!-- faults: written by `just faults --write-readme` -->";
const END: &str = "<!-- /faults -->";

/// How many cases were played, by their work, and how many of them passed.
#[derive(Debug, Default)]
struct Counts {
    played: BTreeMap<Work, usize>,
    passed: usize,
}

impl Counts {
    /// A line of the table.
    fn line(&self, name: &str, width: usize) -> String {
        let mut line = format!("| {name:width$} |");
        for work in Work::ALL {
            let _ = write!(line, " {:>width$} |", self.of(work), width = work.name().len().max(5));
        }
        let _ = write!(line, " {:>6} |", self.passed);
        line
    }

    fn of(&self, work: Work) -> usize {
        self.played.get(&work).copied().unwrap_or_default()
    }

    fn all(&self) -> usize {
        self.played.values().sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    planned: usize,
    kinds: BTreeMap<&'static str, Counts>,
    harms: BTreeMap<Harm, usize>,
    failed: Vec<String>,
    /// Statements that the sources' logs show.
    statements: usize,
}

impl Report {
    pub(crate) fn new(planned: usize) -> Self {
        Self { planned, ..Self::default() }
    }

    /// Takes down how a case ended, and says so if it failed.
    pub(crate) fn add(&mut self, case: &Case, verdict: Verdict) {
        let counts = self.kinds.entry(case.kind).or_default();
        *counts.played.entry(case.way.work).or_default() += 1;
        match verdict {
            Ok(()) => counts.passed += 1,
            Err(Failure { harm, text }) => {
                println!("FAILED {}\n  {harm:?}: {}\n", case.name(), text.replace('\n', "\n  "));
                *self.harms.entry(harm).or_default() += 1;
                self.failed.push(case.name());
            }
        }
        let played = self.played();
        if played.is_multiple_of(100) {
            println!("{played} of {} cases", self.planned);
        }
    }

    /// Takes down what a source's statement log says.
    pub(crate) fn source_log(&mut self, read: &Verdict<usize>) {
        match read {
            Ok(statements) => self.statements += statements,
            Err(Failure { harm, text }) => {
                println!("FAILED the source was only read\n  {text}");
                *self.harms.entry(*harm).or_default() += 1;
                self.failed.push("the source was only read".into());
            }
        }
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.failed.is_empty() && self.played() == self.planned && self.planned > 0
    }

    fn played(&self) -> usize {
        self.kinds.values().map(Counts::all).sum()
    }

    /// The table, the sums, and the names of what failed.
    pub(crate) fn text(&self, duration: Duration) -> String {
        let mut text = format!("\n{}\n{}\n", self.table(), self.sums());
        let _ = writeln!(text, "{} statements on the sources, all READ ONLY", self.statements);
        let _ = write!(text, "{} cases in {:.0} s", self.played(), duration.as_secs_f64());
        for name in &self.failed {
            let _ = write!(text, "\nFAILED: just faults --only '{name}'");
        }
        text
    }

    fn table(&self) -> String {
        let width = self.kinds.keys().map(|kind| kind.len()).max().unwrap_or_default();
        let mut all = Counts::default();
        let mut table = format!("| {:width$} |", "fault");
        for work in Work::ALL {
            let _ = write!(table, " {:>5} |", work.name());
            all.played.insert(work, self.kinds.values().map(|counts| counts.of(work)).sum());
        }
        let _ = write!(table, " passed |\n|-{:-<width$}-|------:|-----------:|------:|-------:|", "");
        for (kind, counts) in &self.kinds {
            let _ = write!(table, "\n{}", counts.line(kind, width));
            all.passed += counts.passed;
        }
        let _ = write!(table, "\n{}", all.line("all", width));
        table
    }

    fn sums(&self) -> String {
        let of = |harm| self.harms.get(&harm).copied().unwrap_or_default();
        format!(
            "{} lost, {} duplicated, {} half-synced, {} hung, {} leaked, {} otherwise wrong, \
             {} without their fault",
            of(Harm::Lost),
            of(Harm::Duplicated),
            of(Harm::HalfSynced),
            of(Harm::Hung),
            of(Harm::Leaked),
            of(Harm::Other),
            of(Harm::NotFired)
        )
    }

    /// Puts the table between the README's two comments.
    pub(crate) fn write_readme(&self) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let (before, rest) = readme.split_once(BEGIN).expect("the README has no place for the table");
        let (_, after) = rest.split_once(END).expect("the README's table has no end");
        let readme = format!("{before}{BEGIN}\n{}\n\n{}.\n{END}{after}", self.table(), self.sums());
        std::fs::write(path, readme).unwrap();
    }
}
