//! Fills a development PostgreSQL with the books of the production one, owned by a user that exists in development.

pub mod config;
pub mod demo;
pub mod error;
