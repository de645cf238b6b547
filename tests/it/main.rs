//! Everything that needs PostgreSQL, in one binary: one pair of servers serves all tests.

#![expect(clippy::unwrap_used, reason = "support code panics for the test that called it")]

mod copying;
mod entities;
mod live_source;
mod migrate;
mod migrations;
mod errors;
mod failures;
mod migrations;
mod retries;
mod round_trips;
#[path = "support/scratch_server.rs"]
mod scratch_server;
mod secrets;
mod servers;
mod support;
mod tls;
mod verification;
