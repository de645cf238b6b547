//! Lines of `dewey-sync.toml` that a hint gives.

use std::path::Path;

use crate::printable::{escaped, is_printable};

/// A line and the table that it belongs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without brackets.
    pub table: &'static str,
    /// TOML.
    pub text: String,
}

/// A key, in quotes where it needs them.
pub(crate) fn key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { name.to_owned() } else { text(name) }
}

/// A text in quotes, on one line in which everything is seen.
pub(crate) fn text(text: &str) -> String {
    if is_printable(text) {
        return toml::Value::from(text).to_string();
    }
    let quoted = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", escaped(&quoted, |c| format!("\\U{:08x}", u32::from(c))))
}

/// What to do with [`under_headings`].
pub(crate) fn hint(path: &Path) -> String {
    format!("add to `{}`, each line under its heading:", path.display())
}

/// The lines under their tables, to be pasted into the file.
pub(crate) fn under_headings(lines: &[Line]) -> impl Iterator<Item = String> {
    ["columns", "values", "labels"].into_iter().flat_map(|table| {
        let lines = lines.iter().filter(move |line| line.table == table);
        let heading = lines.clone().next().map(|_| format!("[{table}]"));
        heading.into_iter().chain(lines.map(|line| line.text.clone()))
    })
}

#[cfg(test)]
mod tests {
    use crate::printable::is_printable;

    #[test]
    fn a_pasted_line_says_the_same_text() {
        let tower = format!("a{}", "\u{301}".repeat(20));
        for (text, line) in [
            ("pages", r#"k = "pages""#.to_owned()),
            ("a\nb = 1\u{202e}\"\\\u{e0041}日", r#"k = "a\U0000000ab = 1\U0000202e\"\\\U000e0041日""#.into()),
            (&tower, format!("k = \"{}{}\"", &tower[..17], r"\U00000301".repeat(12))),
        ] {
            let shown = format!("k = {}", crate::preflight::guard::schema::lines::text(text));
            assert_eq!(shown, line);
            assert!(is_printable(&shown), "{shown}");
            let read: toml::Table = toml::from_str(&shown).unwrap();
            assert_eq!(read["k"].as_str(), Some(text));
        }
    }
}
