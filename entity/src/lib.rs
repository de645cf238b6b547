//! The rows of the application's tables and of the ledger, as `SeaORM` sees them.
//!
//! Every file but this one is generated: `just entities` builds a database by our migrations, lets `sea-orm-cli`
//! write the entities and adapts [`book`], [`user`] and [`ledger::stage`], where `SeaORM`'s own types cannot carry every value that the
//! server accepts. There these columns travel as the server's text, cast by the server in both directions:
//! - arrays, because elements may be NULL and bounds may differ from 1;
//! - timestamps, because `infinity` has no counterpart in Rust. Their text depends on the session's `DateStyle`,
//!   which `sqlx` sets to ISO;
//! - the enum, because the server may know labels that this program does not.
//!
//! The application's tables carry no schema: the session's `search_path` decides.

#[expect(missing_docs, reason = "generated: the columns are the application's")]
pub mod book;
#[expect(missing_docs, reason = "generated: the columns are described in `migration/src/ledger`")]
pub mod ledger;
#[expect(missing_docs, reason = "generated: the columns are the application's")]
pub mod user;
