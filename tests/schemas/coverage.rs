//! How many cases had each kind, and how they ended: a generator that draws nothing of interest shows here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::story::{Mismatch, Story, Synced, Undone};

/// How many seeds of a remark are shown.
const SEEDS: usize = 6;

/// How many reasons are shown.
const REASONS: usize = 25;

#[derive(Debug, Default)]
pub(crate) struct Coverage {
    kinds: BTreeMap<&'static str, Endings>,
    all: Endings,
    reasons: BTreeMap<String, Vec<u64>>,
    remarks: BTreeMap<&'static str, Vec<u64>>,
    mismatches: BTreeMap<&'static str, Vec<u64>>,
    meddled: usize,
}

#[derive(Debug, Default, Clone)]
struct Endings {
    cases: usize,
    synced: BTreeMap<Synced, usize>,
    undone: BTreeMap<Undone, usize>,
}

impl Endings {
    fn add(&mut self, ended: &Result<Story, Mismatch>) {
        self.cases += 1;
        if let Ok(story) = ended {
            *self.synced.entry(story.synced).or_default() += 1;
            *self.undone.entry(story.undone).or_default() += 1;
        }
    }

    fn line(&self) -> String {
        let synced = [Synced::NothingToDo, Synced::Free, Synced::Agreed, Synced::Refused, Synced::Impossible];
        let synced = synced.map(|ending| self.synced.get(&ending).copied().unwrap_or_default());
        let undone = [Undone::Exact, Undone::Named, Undone::Refused];
        let undone = undone.map(|ending| self.undone.get(&ending).copied().unwrap_or_default());
        let mut line = format!("{:6}", self.cases);
        for number in synced.into_iter().chain(undone) {
            let _ = write!(line, " {number:7}");
        }
        line
    }
}

impl Coverage {
    pub(crate) fn add(&mut self, seed: u64, kinds: &BTreeSet<&'static str>, ended: &Result<Story, Mismatch>) {
        for kind in kinds {
            self.kinds.entry(kind).or_default().add(ended);
        }
        self.all.add(ended);
        match ended {
            Ok(story) => {
                for reason in &story.reasons {
                    self.reasons.entry(reason.clone()).or_default().push(seed);
                }
                for remark in &story.remarks {
                    self.remarks.entry(remark).or_default().push(seed);
                }
                self.meddled += usize::from(story.meddled);
            }
            Err(mismatch) => self.mismatches.entry(mismatch.kind).or_default().push(seed),
        }
    }

    pub(crate) fn cases(&self) -> usize {
        self.all.cases
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.mismatches.is_empty()
    }

    pub(crate) fn text(&self, duration: Duration) -> String {
        let width = self.kinds.keys().map(|kind| kind.len()).max().unwrap_or_default();
        let mut text = format!(
            "\n{:width$}  cases   equal    free  agreed refused  cannot   exact   named refused\n{:width$}         sync{:37} undo\n",
            "", "", ""
        );
        for (kind, endings) in &self.kinds {
            let _ = writeln!(text, "{kind:width$} {}", endings.line());
        }
        let _ = writeln!(text, "{:width$} {}", "all", self.all.line());
        self.reasons_text(&mut text);
        for (remark, seeds) in &self.remarks {
            let _ = writeln!(text, "remark: {remark}: {}, such as {}", seeds.len(), some(seeds));
        }
        let _ = writeln!(text, "in {} cases somebody did something between sync and undo", self.meddled);
        for (kind, seeds) in &self.mismatches {
            let _ = writeln!(text, "MISMATCH {kind}: {}, `--seed` {}", seeds.len(), all(seeds));
        }
        let wrong: usize = self.mismatches.values().map(Vec::len).sum();
        let _ = write!(text, "{} cases in {:.0} s, {wrong} mismatches", self.cases(), duration.as_secs_f64());
        text
    }

    fn reasons_text(&self, text: &mut String) {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, seeds)| std::cmp::Reverse(seeds.len()));
        for (reason, seeds) in reasons.iter().take(REASONS) {
            let _ = writeln!(text, "{:5} refused: {reason} ({})", seeds.len(), some(seeds));
        }
        if reasons.len() > REASONS {
            let _ = writeln!(text, "      and for {} other reasons", reasons.len() - REASONS);
        }
    }
}

fn some(seeds: &[u64]) -> String {
    all(&seeds[..seeds.len().min(SEEDS)])
}

fn all(seeds: &[u64]) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
