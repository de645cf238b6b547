//! Connections to one side, kept for the next transaction when one has ended well.
//!
//! Not sqlx's pool: it pings on release, hides why nothing could be reached, and lends out connections that our
//! [`Tx`](super::Tx) has to own. At most one connection a worker is ever open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::fault::Fault;
use crate::config::{Endpoint, Side};

/// How long a connection attempt may take when nobody says so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the two servers, and the connections to it that nobody uses now.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    application_name: String,
    connect_timeout: Duration,
    /// A pooler refused start-up options, so settings are made in each transaction only.
    reduced: AtomicBool,
    idle: Mutex<Vec<PgConnection>>,
}

impl Server {
    /// Nothing is connected yet. `application_name` is what the server's `pg_stat_activity` shows; without
    /// `connect_timeout` the URL's counts, else 10 s.
    pub fn new(endpoint: Endpoint, application_name: String, connect_timeout: Option<Duration>) -> Self {
        let connect_timeout = connect_timeout.or(endpoint.connect_timeout()).unwrap_or(CONNECT_TIMEOUT);
        let reduced = AtomicBool::new(endpoint.pooled());
        Self { endpoint, application_name, connect_timeout, reduced, idle: Mutex::default() }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether settings are made without the start-up packet, for a pooler's sake.
    pub fn is_reduced(&self) -> bool {
        self.reduced.load(Ordering::Acquire)
    }

    /// How long a connection attempt may take.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Opens a connection and keeps it for the first transaction.
    pub async fn connect(&self) -> Result<(), Fault> {
        let connection = self.open().await?;
        self.release(connection);
        Ok(())
    }

    /// Closes what is idle, in the protocol's way, so that the server does not report a lost client.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            let closed = tokio::time::timeout(self.connect_timeout, connection.close()).await;
            tracing::debug!(answered = closed.is_ok(), "closed a connection to the {}", self.endpoint.side);
        }
    }

    pub(super) async fn acquire(&self) -> Result<PgConnection, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    pub(super) fn release(&self, connection: PgConnection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Drops the idle connections, so that the next transaction opens one of its own.
    pub(super) fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn open(&self) -> Result<PgConnection, Fault> {
        let reduced = self.is_reduced();
        match self.open_with(self.options_for(reduced)).await {
            Err(fault) if fault.sqlstate() == Some("08P01") && !reduced => {
                self.reduced.store(true, Ordering::Release);
                tracing::info!(
                    "the {} refuses start-up options: connecting without them",
                    self.endpoint.side
                );
                self.open_with(self.options_for(true)).await
            }
            opened => opened,
        }
    }

    async fn open_with(&self, options: PgConnectOptions) -> Result<PgConnection, Fault> {
        tokio::time::timeout(self.connect_timeout, options.connect())
            .await
            .map_err(|_| Fault::deadline(self.connect_timeout))?
            .map_err(|error| Fault::at_startup(&error))
    }

    /// The options of the next connection.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.options_for(self.is_reduced())
    }

    fn options_for(&self, reduced: bool) -> PgConnectOptions {
        let options = self.endpoint.connect_options(&self.application_name);
        if reduced {
            return options.extra_float_digits(None);
        }
        match self.endpoint.side {
            Side::Source => options.options([("default_transaction_read_only", "on")]),
            Side::Target => options,
        }
    }
}

/// `text` as an SQL string literal; sessions run with `standard_conforming_strings = on`.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `name` as an SQL identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
