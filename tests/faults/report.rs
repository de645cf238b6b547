//! What became of the cases: a line for each that failed, a table of kinds, the sums that have to be 0.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::case::Case;
use crate::world::{Failure, Harm, Verdict};

/// Where the table is in the README beside this program.
const BEGIN: &str = "<!-- faults: written by `just faults --write-readme` -->";
const END: &str = "<!-- /faults -->";

#[derive(Debug, Default)]
pub(crate) struct Report {
    planned: usize,
    /// By kind, in the order in which they came: how many were played, how many passed.
    kinds: BTreeMap<&'static str, (usize, usize)>,
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
        let (played, passed) = self.kinds.entry(case.kind).or_default();
        *played += 1;
        match verdict {
            Ok(()) => *passed += 1,
            Err(Failure { harm, text }) => {
                println!("FAILED {}\n  {harm:?}: {}\n", case.name(), text.replace('\n', "\n  "));
                *self.harms.entry(harm).or_default() += 1;
                self.failed.push(case.name());
            }
        }
        let played: usize = self.kinds.values().map(|(played, _)| played).sum();
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
        self.kinds.values().map(|(played, _)| played).sum()
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
        let mut table =
            format!("| {:width$} | cases | passed |\n|-{:-<width$}-|------:|-------:|", "fault", "");
        for (kind, (played, passed)) in &self.kinds {
            let _ = write!(table, "\n| {kind:width$} | {played:5} | {passed:6} |");
        }
        let passed: usize = self.kinds.values().map(|(_, passed)| passed).sum();
        let _ = write!(table, "\n| {:width$} | {:5} | {passed:6} |", "all", self.played());
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
