//! Fills a development PostgreSQL with the books of the production one, owned by a user that exists in development.
//!
//! ```text
//! config ──> guards ──> plan ──> [ export ──> remap ──> import ] per batch ──> verify ──> record
//!   │          │                    │                     │                      │          │
//!  URLs    both sides          source, read-only      target, Tx           fingerprints   ledger
//! ```
//!
//! Imports go one way: `main -> cli -> sync -> {ledger, postgres, retry, progress} -> {book, config, error}`.

pub mod book;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
pub mod ledger;
pub mod postgres;
pub mod progress;
pub mod retry;
pub mod sync;
