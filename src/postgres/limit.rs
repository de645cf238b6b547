//! How long a statement may take.

use std::time::Duration;

/// What a transaction grants each of its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This long, by the server's clock.
    Statement(Duration),
    /// As long as it takes, while the server is not silent for this long.
    Heartbeat(Duration),
}

impl From<Duration> for Limit {
    fn from(statement: Duration) -> Self {
        Self::Statement(statement)
    }
}

impl Limit {
    /// A statement that has the server grant it from then on.
    pub fn sql(self) -> String {
        format!("SET LOCAL statement_timeout = {}", self.statement_timeout().as_millis())
    }

    /// A statement that has it wait from then on for a lock as long as it would without another one.
    pub fn lock_sql(self) -> String {
        format!("SET LOCAL lock_timeout = {}", self.lock_timeout().as_millis())
    }

    /// The server's `statement_timeout`; zero is none.
    pub(crate) fn statement_timeout(self) -> Duration {
        match self {
            Self::Statement(statement) => statement,
            Self::Heartbeat(_) => Duration::ZERO,
        }
    }

    /// The server's `lock_timeout`.
    pub(crate) fn lock_timeout(self) -> Duration {
        let (Self::Statement(limit) | Self::Heartbeat(limit)) = self;
        limit.min(LOCK_TIMEOUT)
    }

    /// The server's `idle_in_transaction_session_timeout`.
    pub(crate) fn idle_timeout(self) -> Duration {
        match self {
            Self::Statement(statement) => statement * IDLE_FACTOR,
            Self::Heartbeat(silence) => (silence * IDLE_FACTOR).max(IDLE_MIN),
        }
    }
}

/// How long the client waits beyond the server's own time-out, whose answer says more.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// For a lock that an application's open transaction holds; waiting for it is tried again.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// A side may be idle while the other one works on a few statements.
pub(crate) const IDLE_FACTOR: u32 = 4;

/// A side may be idle while the other one works on a whole table.
pub(crate) const IDLE_MIN: Duration = Duration::from_hours(1);

/// Begins a transaction outside of a [`Tx`](super::Tx), whatever the role's settings are. Sessions are seen and ended by the
/// role that logged in, for which another one may act.
pub(crate) const OUTSIDE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = 0; \
    SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL ROLE NONE";
