//! The log on stderr: one line a record, whatever is in it.

use std::fmt;
use std::io;
use tracing_subscriber::prelude::*;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::args::Global;
use super::output::Stream;
use crate::printable::Printable;

/// Our own records only: those of the driver may hold values.
pub(super) fn log_to_stderr(global: &Global, colored: bool) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    let ours = Targets::new().with_target("dewey_sync", level);
    let lines = tracing_subscriber::fmt::layer().event_format(Line { colored }).with_writer(|| Log);
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
}

/// `WARN what happened field=value`.
struct Line {
    colored: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = String::new();
        context.format_fields(Writer::new(&mut said), event)?;
        let level = *event.metadata().level();
        let said = Printable(&said);
        if self.colored {
            writeln!(writer, "\u{1b}[{}m{level:>5}\u{1b}[0m {said}", color(level))
        } else {
            writeln!(writer, "{level:>5} {said}")
        }
    }
}

fn color(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Takes a whole record at a time.
struct Log;

impl io::Write for Log {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        Stream::Err.write_styled(&String::from_utf8_lossy(record));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
