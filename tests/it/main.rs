//! Everything that needs PostgreSQL, in one binary: one pair of servers serves all tests.

#![expect(clippy::unwrap_used, reason = "support code panics for the test that called it")]

mod copying;
mod demo;
mod dry_run;
mod entities;
mod errors;
mod exit_codes;
mod failures;
mod live_source;
mod migrate;
mod guards;
mod migrations;
mod retries;
mod round_trips;
mod secrets;
mod pooler;
mod prompts;
#[path = "support/scratch_server.rs"]
mod scratch_server;
mod servers;
mod signals;
mod support;
mod tls;
mod verification;
mod users;
