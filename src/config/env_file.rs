//! One env file, read into its own map and never into the process environment.
//!
//! Invariant: nothing of a file's text is shown, errors give line numbers instead.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// An env file's text and values; no `Debug`, both hold secrets.
pub(super) struct EnvFile {
    text: String,
    values: BTreeMap<String, String>,
    bad_line: Option<usize>,
}

/// Why a key has no value that can be trusted.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("line {0} cannot be read, and lines after it may be lost")]
    Line(usize),
    #[error("`$`, quotes or backslashes in `{0}` would change its value")]
    Altered(&'static str),
}

impl Unreadable {
    /// What to change.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Line(_) => "put the value of that line in single quotes",
            Self::Altered(_) => "put the value in single quotes, or write `$` as `%24`; it is not expanded",
        }
    }
}

impl EnvFile {
    /// Reads all lines that can be read: other tools accept some that `dotenvy` does not.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(fs::read_to_string(path)?))
    }

    fn parse(text: String) -> Self {
        let mut values = BTreeMap::new();
        let mut bad_line = None;
        let line = Cell::new(0);
        let rest = text.strip_prefix('\u{feff}').unwrap_or(&text).as_bytes();
        for item in dotenvy::Iter::new(Lines { rest, line: &line }) {
            match item {
                // As in the application's dotenv, the last of several lines wins.
                Ok((key, value)) => {
                    values.insert(key, value);
                }
                Err(error) => {
                    let further = match error {
                        dotenvy::Error::LineParse(part, _) => part.trim_end().matches('\n').count(),
                        _ => 0,
                    };
                    bad_line.get_or_insert(line.get() - further);
                }
            }
        }
        Self { text, values, bad_line }
    }

    /// The value of `key`; an empty one counts as missing.
    pub(super) fn get(&self, key: &'static str) -> Result<Option<&str>, Unreadable> {
        match (self.values.get(key), self.bad_line) {
            (Some(value), _) if value.trim().is_empty() => Ok(None),
            (Some(value), _) if self.has_line(key, value) => Ok(Some(value)),
            (Some(_), _) => Err(Unreadable::Altered(key)),
            (None, Some(line)) => Err(Unreadable::Line(line)),
            (None, None) => Ok(None),
        }
    }

    /// Whether the file has this value as it stands.
    ///
    /// `dotenvy` replaces `$NAME` from the process environment and drops quotes within a value, so a
    /// password could silently become another one. `\$` is what the application's dotenv asks for.
    fn has_line(&self, key: &str, value: &str) -> bool {
        let lines = self.text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.filter_map(|line| line.split_once(key)).any(|(_, rest)| {
            is_assignment_of(value, rest) || is_assignment_of(value, &rest.replace(r"\$", "$"))
        })
    }
}

/// Whether `text` is `=value`, with or without quotes and a comment.
fn is_assignment_of(value: &str, text: &str) -> bool {
    let Some(text) = text.trim_start().strip_prefix('=') else { return false };
    let text = text.trim_start();
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let end = text[quote.map_or(0, char::len_utf8)..].strip_prefix(value);
    let end = end.and_then(|end| quote.map_or(Some(end), |quote| end.strip_prefix(quote)));
    end.is_some_and(|end| end.is_empty() || end.starts_with(char::is_whitespace))
}

/// Hands out at most one line a read, so that `line` is the number of the line that `dotenvy` is at.
struct Lines<'a> {
    rest: &'a [u8],
    line: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (given, rest) = self.rest.split_at(end.min(buffer.len()));
        buffer[..given.len()].copy_from_slice(given);
        if end > 0 && given.len() == end {
            self.line.set(self.line.get() + 1);
        }
        self.rest = rest;
        Ok(given.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Result<Option<&str>, Unreadable>) {
        assert_eq!(EnvFile::parse(text.to_owned()).get("KEY"), *expected, "{text}");
    }

    #[test]
    fn values_arrive_as_written_or_not_at_all() {
        for text in [
            "KEY=a$b%40",
            "KEY=a$PATH",
            "KEY=ab$",
            "KEY=ab$x",
            "KEY=\"a$b-c\"",
            "KEY=a\"b\"c",
            "KEY='a'\"b\"",
            r"KEY=a\\b",
            "# KEY=a\nKEY=${x}a",
        ] {
            check(text, &Err(Unreadable::Altered("KEY")));
        }
        check("KEY='a$b'", &Ok(Some("a$b")));
        check(r#"KEY="a\$b""#, &Ok(Some("a$b")));
        check("export KEY=\"a'b\" # why\r\n", &Ok(Some("a'b")));
        check("\u{feff}KEY=a", &Ok(Some("a")));
        check("KEY=a\nKEY=b", &Ok(Some("b")));
    }

    #[test]
    fn empty_counts_as_missing() {
        check("KEY=", &Ok(None));
        check("KEY=' '", &Ok(None));
        check("#KEY=a", &Ok(None));
    }

    #[test]
    fn a_bad_line_matters_only_if_the_key_is_not_found() {
        check("# one\n\nNAME=My Books\nKEY=a", &Ok(Some("a")));
        check("# one\n\nNAME=My Books\nOTHER=a", &Err(Unreadable::Line(3)));
        // With `$` before the quote, `dotenvy` misses the quote.
        check("KEY=\"a$b\"", &Err(Unreadable::Line(1)));
        check("NAME=1\nKEY='a\nOTHER=2\n", &Err(Unreadable::Line(2)));
        check(&format!("A={}\nKEY=a b", "x".repeat(20_000)), &Err(Unreadable::Line(2)));
    }
}
