//! Throw-away servers and generated books: what the demonstration, the tests and the measurements run on.

pub mod binaries;
pub mod books;
pub mod options;
pub mod server;
