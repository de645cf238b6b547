//! Everything that needs a real server, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod entities;
mod migrations;
#[path = "support/scratch_server.rs"]
mod scratch_server;
