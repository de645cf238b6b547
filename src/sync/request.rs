//! One sync, as the call orders it.

use std::time::Duration;

use serde::Serialize;

use crate::ledger::checkpoint::Destination;
use crate::postgres::Limit;
use crate::preflight::GuardOptions;
use crate::retry::Policy;
use crate::transfer::engine::Engine;

/// One sync, as the call orders it.
#[derive(Debug, Clone)]
pub struct Request {
    /// For the guards.
    pub guards: GuardOptions,
    /// Where transactions end; `None` is that of the run that is resumed, else [`Strategy::default`].
    pub strategy: Option<Strategy>,
    /// How books are written; `None` as above.
    pub engine: Option<Engine>,
    /// Whether to go on with an unfinished run.
    pub resume: Resume,
    /// Whether a sample is written first and rolled back.
    pub rehearsal: Rehearsal,
    /// Numbers.
    pub tuning: Tuning,
    /// Who runs this: the operating system's user.
    pub os_user: String,
    /// On which machine.
    pub host: String,
}

/// The strategies, by their names on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One transaction per batch into a staging table; once that is verified, one short transaction makes the books equal to it.
    #[default]
    Staged,
    /// One transaction on the target, one snapshot on the source: all or nothing. It holds back vacuum on the source
    /// while it runs.
    Atomic,
    /// Delete in one transaction, then one transaction per batch: other batches go on when one fails, the old books are gone.
    Batched,
}

impl Strategy {
    /// The name on the command line, in the ledger and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Atomic => "atomic",
            Self::Batched => "batched",
        }
    }

    /// The strategy of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Staged, Self::Atomic, Self::Batched].into_iter().find(|strategy| strategy.name() == name)
    }

    /// Where its batches go.
    pub const fn destination(self) -> Destination {
        if self.removes_all() { Destination::Book } else { Destination::Stage }
    }

    /// Whether every old book is deleted, with the rows that reference it.
    pub const fn removes_all(self) -> bool {
        !matches!(self, Self::Staged)
    }
}

/// Numbers that a strategy is tuned with.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Rows of a batch at most.
    pub batch_size: u32,
    /// Batches copied in parallel.
    pub jobs: usize,
    /// How often a failed attempt is repeated.
    pub retry: Policy,
    /// For one statement of a batch; a statement on the whole table may take as long as its server shows life within
    /// this time.
    pub batch_timeout: Duration,
    /// How long another run on the target is waited for.
    pub lock_wait: Duration,
}

impl Tuning {
    /// For a statement on the whole table.
    pub fn whole_table(&self) -> Limit {
        Limit::Heartbeat(self.batch_timeout)
    }
}

/// Whether the call goes on with an unfinished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// A new run; on a terminal, the newest unfinished one is offered.
    Offer,
    /// The newest unfinished run.
    Newest,
    /// This run.
    Run(i64),
}

/// Whether a sync writes a sample first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// It does.
    Wanted,
    /// `--no-rehearsal`.
    LeftOut,
}
