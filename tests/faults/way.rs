//! A strategy with an engine, by the names of the command line.

use std::fmt;

/// How a run goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) strategy: &'static str,
    pub(crate) engine: &'static str,
}

impl Way {
    pub(crate) const ALL: [Self; 6] = [
        Self { strategy: "staged", engine: "insert" },
        Self { strategy: "staged", engine: "copy" },
        Self { strategy: "batched", engine: "insert" },
        Self { strategy: "batched", engine: "copy" },
        Self { strategy: "atomic", engine: "insert" },
        Self { strategy: "atomic", engine: "copy" },
    ];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.strategy, self.engine)
    }
}
