//! The only way to stdout and stderr for text.
//!
//! Invariant: a line is what a caller hands over as one, whatever is in it; a line break inside of it came with a
//! stranger's text and is shown, not made. See [`crate::printable`]. A closed stream ends the output, not the run.

use std::io::{self, IsTerminal, Write};

use crate::printable::Printable;

/// The standard streams that text is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Results.
    Out,
    /// Everything else.
    Err,
}

impl Stream {
    /// Whether a person reads it.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Out => stdout().is_terminal(),
            Self::Err => stderr().is_terminal(),
        }
    }

    /// At once, so that a reader of a pipe sees it when it happens.
    pub(super) fn write(self, text: &str) -> io::Result<()> {
        match self {
            Self::Out => stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()),
            Self::Err => stderr().write_all(text.as_bytes()),
        }
    }

    /// Writes text of ours whose line breaks and colours are ours, because what strangers brought into it was
    /// [`Printable`] before. Everything else is escaped here once more.
    pub fn write_styled(self, text: &str) {
        drop(self.write(&styled(text)));
    }
}

#[expect(clippy::disallowed_methods, reason = "everything else goes through here")]
fn stdout() -> io::Stdout {
    io::stdout()
}

#[expect(clippy::disallowed_methods, reason = "everything else goes through here")]
fn stderr() -> io::Stderr {
    io::stderr()
}

/// A line on stderr.
pub fn say(line: &str) {
    say_all([line]);
}

/// Lines on stderr.
pub fn say_all(lines: impl IntoIterator<Item = impl AsRef<str>>) {
    drop(Stream::Err.write(&ended(lines)));
}

/// Lines on stderr, the last one without its end, for an answer to follow.
pub fn ask(lines: impl IntoIterator<Item = impl AsRef<str>>) {
    let lines = ended(lines);
    drop(Stream::Err.write(lines.strip_suffix('\n').unwrap_or_default()));
}

/// A line of results on stdout.
pub fn print(line: &str) {
    print_all([line]);
}

/// Lines of results on stdout.
pub fn print_all(lines: impl IntoIterator<Item = impl AsRef<str>>) {
    drop(Stream::Out.write(&ended(lines)));
}

fn ended(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    lines.into_iter().map(|line| Printable(line.as_ref()).to_string() + "\n").collect()
}

/// Printable but for line breaks and colours.
fn styled(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\u{1b}']) {
        let (before, from) = rest.split_at(at);
        let kept = if from.starts_with('\n') { 1 } else { color(from) };
        shown.push_str(&Printable(before).to_string());
        shown.push_str(&from[..kept]);
        rest = &from[kept..];
        if kept == 0 {
            shown.push_str(&Printable("\u{1b}").to_string());
            rest = &rest[1..];
        }
    }
    shown + &Printable(rest).to_string()
}

/// How long the sequence is that sets a colour and begins `text`.
fn color(text: &str) -> usize {
    let parameter = |c: char| c.is_ascii_digit() || c == ';';
    let end = text.strip_prefix("\u{1b}[").map(|rest| rest.trim_start_matches(parameter));
    end.and_then(|end| end.strip_prefix('m')).map_or(0, |rest| text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_breaks_and_colours_of_ours_pass() {
        for (text, shown) in [
            ("\u{1b}[1;31merror:\u{1b}[0m a\nb\n", "\u{1b}[1;31merror:\u{1b}[0m a\nb\n"),
            ("\u{1b}[2J\u{1b}[1;31", r"\u{1b}[2J\u{1b}[1;31"),
            ("\u{1b}\u{1b}[m\u{202e}\r\n", "\\u{1b}\u{1b}[m\\u{202e}\\r\n"),
        ] {
            assert_eq!(styled(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(ended(["a\nerror: b", "\u{1b}[31mc"]), "a\\nerror: b\n\\u{1b}[31mc\n");
    }
}
