//! Everything that needs PostgreSQL, in one binary: one pair of servers serves all tests.

#![expect(clippy::unwrap_used, reason = "support code panics for the test that called it")]

mod apply;
mod apply_locks;
mod connections;
mod copying;
mod deadlines;
mod demo;
mod doctor;
mod drift;
mod dry_run;
mod entities;
mod errors;
mod exit_codes;
mod failures;
mod guard_dependents;
mod guards;
mod guards_copies;
mod guards_hidden_rows;
mod guards_ledger;
mod guards_source;
mod guards_table;
mod live_source;
mod lock;
mod migrate;
mod migrations;
mod owners;
mod pooler;
mod prompts;
mod resume;
mod retries;
mod round_trips;
mod secrets;
mod servers;
mod signals;
mod standby;
mod support;
mod takeover;
mod tls;
mod tx;
mod unchanged;
mod undo;
mod users;
mod values;
mod verification;
mod versions;
