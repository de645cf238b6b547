//! What a run reports while it goes on. The library only emits events; what becomes of them is the command line's choice.

mod bars;
pub mod event;
mod json;
mod lines;
pub mod streams;

pub use bars::Bars;
pub use event::{Event, Phase, Progress};
pub use json::Json;
pub use lines::Lines;
