//! One JSON object a line on stdout.

use std::io::Write;

use serde::Serialize;

use super::{Event, Progress};

/// Writes every event to stdout at once, so that a reader of the pipe sees it when it happens.
#[derive(Debug, Default)]
pub struct Json;

impl Json {
    /// Writes any object as a line. A closed stdout ends the output, not the run.
    pub fn line(object: &impl Serialize) {
        if let Ok(mut line) = serde_json::to_vec(object) {
            line.push(b'\n');
            let mut stdout = std::io::stdout().lock();
            let written = stdout.write_all(&line).and_then(|()| stdout.flush());
            if let Err(error) = written {
                tracing::debug!(%error, "stdout takes no more lines");
            }
        }
    }
}

impl Progress for Json {
    fn event(&self, event: &Event) {
        Self::line(event);
    }
}
