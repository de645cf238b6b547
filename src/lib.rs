//! draft

pub mod error;
