//! The runs of one contestant over one number of books.

use std::time::Duration;

use crate::contestants::Contestant;
use crate::resources::Spent;

#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) contestant: &'static Contestant,
    pub(crate) runs: Vec<Ran>,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    pub(crate) spent: Spent,
    /// What the source and the target computed, where the system tells.
    pub(crate) servers_cpu: Option<[Duration; 2]>,
}

impl Measured {
    pub(crate) fn time(&self) -> Duration {
        median(self.times()).unwrap_or_default()
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = Duration> {
        self.runs.iter().map(|run| run.spent.time)
    }

    pub(crate) fn cpu(&self) -> Duration {
        median(self.runs.iter().map(|run| run.spent.cpu)).unwrap_or_default()
    }

    /// Of one of both servers.
    pub(crate) fn server_cpu(&self, side: usize) -> Option<Duration> {
        median(self.runs.iter().filter_map(|run| run.servers_cpu).map(|sides| sides[side]))
    }

    /// The highest of all runs.
    pub(crate) fn peak_mib(&self) -> f64 {
        let bytes = self.runs.iter().map(|run| run.spent.peak_bytes).max().unwrap_or_default();
        // No process has more memory than fits 32 bits of KiB.
        f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
    }
}

/// The upper one of the two in the middle; none of nothing.
pub(crate) fn median<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
