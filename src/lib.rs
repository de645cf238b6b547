//! Copies production's `"Book"` rows into a development PostgreSQL, under a user that exists there, and verifies every row.
//!
//! ```text
//! config ─> guards ─> compare ─> plan ─> [ export ─> remap ─> import ] per batch ─> verify ─> ask ─> apply
//!   │         │          │                   │                  │                     │         │      │
//!  URLs       both sides, reading        source, read-only   stage, Tx          fingerprints  exact   "Book",
//!                                                                                            numbers  one Tx
//! ```
//!
//! # Floors
//!
//! A room may use those on the floors below it; a test reads this list and the imports.
//!
//! ```text
//! cli           one file per command, prompts; the only code that prints, with progress
//! doctor demo   every check with its fix; two temporary servers with generated books, for the demo and the tests
//! sync          a run: decide, verify, rehearse, batches, apply, undo; one strategy per file
//! preflight     what both catalogs say, and the guards, one per file, before anything is written
//! transfer      one batch: export from the source, remap to the target's users, import by one of the engines
//! plan          the ranges of ids that are the batches
//! dependents    foreign keys: which rows of other tables a change of books reaches
//! retry         which failures are transient, and the one loop that retries
//! progress      the events of a run, as bars, lines or JSON
//! ledger        what a run leaves in the target: run, lock, checkpoint, stage, undo
//! postgres      Source (read-only by type), Target, Tx, settings, effects, waiting, faults, fingerprints
//! config        files and environment become two endpoints; secrets wrapped
//! book          the application's table: names, and the role of each column
//! quote printable error   identifiers and literals; text of others for a terminal; kind, cause, state and hint
//! ```
//!
//! Beside `src`: `entity/` has the SeaORM entities (`just entities`), `migration/` the application's tables and the ledger,
//! one object per file; `tests/it` is one binary with real servers, `tests/faults`, `tests/schemas`, `tests/versions`,
//! `tests/bench` and `tests/fuzz` have a recipe each.
//!
//! # Where to look
//!
//! ```text
//! sync/mod.rs             the spine: everything below is called from it, in this order
//!   sync/decide.rs        looks, guards, decides, asks; sync/verify/before.rs: are both sides equal, so that nothing is to do
//!   sync/run.rs           a run in the ledger: its lease, its lock, its end
//!   sync/rehearsal.rs     a sample written and rolled back
//!   sync/strategy/        one strategy per file; `staged` is the default
//!   sync/batches/batch.rs one batch: its claim (the statement: ledger/checkpoint.rs), its books, its COMMIT, and whether an
//!                         earlier one was committed; batches/mod.rs: all of them
//!   sync/verify/stage.rs  the staging table against one snapshot of production, repaired
//!   sync/consent.rs       what was agreed to, and the questions (`sync/ask.rs`)
//!   sync/apply/           what is kept for an undo (`keep.rs`), the writes (`write.rs`), the measurement (`sync/losses.rs`)
//!   sync/exactly_once.rs  a COMMIT of a whole apply, undo, deletion or `atomic` run whose answer was lost
//! sync/undo/              puts back what an apply kept
//! transfer/engine.rs      the engines by name; transfer/import/mod.rs calls them, one per file
//! transfer/export.rs      which books are read; postgres/fingerprint.rs, sync/verify/ and plan.rs count and compare the same ones,
//!                         so a filter goes into all of them
//! plan.rs                 the ranges that become batches, frozen in the ledger
//! dependents/reach.rs     what becomes of rows of other tables, such as reading lists, when books are deleted or changed
//! ledger/run.rs           writes the row of a run: begin, resume, claim, end; cli/history.rs reads it, by the entity in `entity/`
//! progress/streams.rs     the only way of text to stdout and stderr; progress/bars.rs draws its bar itself
//! ```
//!
//! # Invariants
//!
//! Each is kept by a type, a lint or a test:
//!
//! - Only [`postgres::Source`] connects to production, and it gives out no connection.
//! - A [`postgres::Tx`] is poisoned by its first error or abandoned await, and then refuses to commit.
//! - No text of an [`error::Error`] comes from a row; a secret leaves [`config`] only inside connection options.
//! - Only [`retry`] waits, only [`config`] reads the environment, only [`cli`] and [`progress`] print.
//! - Every transaction that writes books or the stage claims first, in the epoch of its run; whoever takes over raises the epoch.
//! - A transaction that writes books reads what it did to every table before its COMMIT, and nothing comes between the two.
//! - Rows are compared by the servers that hold them, as digests of built-in types, never of server-dependent text.
//! - Every object of ours is in the schema `dewey_sync`, and none depends on an object of the application.

pub mod book;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dependents;
pub mod doctor;
pub mod error;
pub mod ledger;
pub mod plan;
pub mod postgres;
pub mod preflight;
pub mod printable;
pub mod progress;
pub mod quote;
pub mod retry;
pub mod sync;
pub mod transfer;
