//! Fills a development PostgreSQL with the books of the production one, owned by a user that exists in development.
//!
//! ```text
//! config ─> guards ─> compare ─> plan ─> [ export ─> remap ─> import ] per batch ─> verify ─> ask ─> apply
//!   │         │          │                   │                  │                     │         │      │
//!  URLs       both sides, reading        source, read-only   stage, Tx          fingerprints  exact   "Book",
//!                                                                                            numbers  one Tx
//! ```
//!
//! Imports go one way: `main -> cli -> sync -> {ledger, postgres, retry, progress} -> {book, config, error} -> printable`.

pub mod book;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
pub mod ledger;
pub mod postgres;
pub mod printable;
pub mod progress;
pub mod retry;
pub mod sync;
