//! Lines of `dewey-sync.toml` that a hint gives.

use std::path::Path;

/// A line and the table that it belongs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without brackets.
    pub table: &'static str,
    /// TOML.
    pub text: String,
}

/// A key, in quotes where it needs them.
pub(super) fn key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { name.to_owned() } else { text(name) }
}

/// A text in quotes.
pub(super) fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The lines under their tables, to be pasted into the file.
pub(super) fn hint(lines: &[Line], path: &Path) -> String {
    let under = |table: &'static str| {
        let lines = lines.iter().filter(move |line| line.table == table);
        let heading = lines.clone().next().map(|_| format!("\n  [{table}]"));
        heading.into_iter().chain(lines.map(|line| format!("\n  {}", line.text)))
    };
    let lines: String = ["columns", "values", "labels"].into_iter().flat_map(under).collect();
    format!("add to `{}`, each line under its heading:{lines}", path.display())
}
