//! Books on their way: exported from the source, given to users of the target, imported there.

pub mod duplicates;
pub mod engine;
pub mod export;
pub mod import;
pub mod remap;
