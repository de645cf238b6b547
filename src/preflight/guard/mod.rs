//! What is checked before any write or DDL, one guard a file. `--yes` answers questions; it disarms none of these.

pub mod empty_source;
pub mod encoding;
pub mod hidden_rows;
pub mod kind;
pub mod owner;
pub mod rights;
pub mod same_database;
pub mod schema;
pub mod settings;
pub mod stake;
pub mod swapped;
pub mod target_identity;
pub mod triggers;
