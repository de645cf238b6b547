//! What was found, in the order in which a sync would find it.

use serde::Serialize;

use crate::error::{Error, Result};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Production.
    Source,
    /// Development.
    Target,
    /// How the two go together.
    Both,
}

/// What a finding means for a sync.
#[derive(Debug)]
pub enum Grade {
    /// Nothing to do.
    Fine,
    /// Good to know; what to do about it, where something can be done.
    Note(Option<String>),
    /// A sync would end with this.
    Problem(Box<Error>),
}

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// Which side.
    pub about: About,
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What it means.
    pub grade: Grade,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// In the order in which a sync would meet them.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// What a sync would end with: the first problem that it would meet.
    pub fn into_outcome(self) -> Result<()> {
        let problem = self.findings.into_iter().find_map(|finding| match finding.grade {
            Grade::Problem(error) => Some(*error),
            Grade::Fine | Grade::Note(_) => None,
        });
        problem.map_or(Ok(()), Err)
    }

    /// Whether a sync would go on, as far as is known.
    pub(crate) fn finds_no_problem(&self) -> bool {
        !self.findings.iter().any(|finding| matches!(finding.grade, Grade::Problem(_)))
    }

    pub(crate) fn fine(&mut self, about: About, what: &'static str, found: impl Into<String>) {
        self.findings.push(Finding { about, what, found: found.into(), grade: Grade::Fine });
    }

    pub(crate) fn note(
        &mut self,
        about: About,
        what: &'static str,
        found: impl Into<String>,
        fix: Option<String>,
    ) {
        self.findings.push(Finding { about, what, found: found.into(), grade: Grade::Note(fix) });
    }

    pub(crate) fn problem(&mut self, about: About, what: &'static str, error: Error) {
        let found = error.chain();
        self.findings.push(Finding { about, what, found, grade: Grade::Problem(Box::new(error)) });
    }

    /// `found` when all is well.
    pub(crate) fn check<T>(
        &mut self,
        about: About,
        what: &'static str,
        found: impl Into<String>,
        checked: Result<T>,
    ) {
        match checked {
            Ok(_) => self.fine(about, what, found),
            Err(error) => self.problem(about, what, error),
        }
    }

    /// Says nothing when all is well.
    pub(crate) fn check_silent(&mut self, about: About, what: &'static str, checked: Result<()>) {
        self.taken(about, what, checked);
    }

    /// The value, if there is one.
    pub(crate) fn taken<T>(&mut self, about: About, what: &'static str, taken: Result<T>) -> Option<T> {
        taken.map_err(|error| self.problem(about, what, error)).ok()
    }
}
