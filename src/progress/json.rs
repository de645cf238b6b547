//! One JSON object a line on stdout.

use serde::Serialize;

use super::streams::Stream;
use super::{Event, Progress};
use crate::printable;

/// Writes every event to stdout at once, so that a reader of the pipe sees it when it happens.
#[derive(Debug, Default)]
pub struct Json;

impl Json {
    /// Writes any object as a line. A closed stdout ends the output, not the run.
    pub fn line(object: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(object)
            && let Err(error) = Stream::Out.write(&(printable::json(&line) + "\n"))
        {
            tracing::debug!(%error, "stdout takes no more lines");
        }
    }
}

impl Progress for Json {
    fn event(&self, event: &Event) {
        Self::line(event);
    }
}
