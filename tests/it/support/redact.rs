//! What differs from run to run, taken out of what the tool said.

use super::sandbox::Sandbox;
use super::servers::SERVERS;

impl Sandbox {
    /// `text` with `DIR`, `DB`, `SOURCE` and `TARGET` in place of this sandbox's directory, database and ports, and
    /// without the server's version.
    pub(crate) fn redacted(&self, text: &str) -> String {
        let mut text =
            text.replace(&self.directory().display().to_string(), "DIR").replace(&self.database, "DB");
        for (server, name) in [(&SERVERS.source, "SOURCE"), (&SERVERS.target, "TARGET")] {
            text = text.replace(&format!(":{}", server.port()), &format!(":{name}"));
        }
        masked(&masked(&text, "PostgreSQL "), "run ")
    }
}

/// `N` in place of each number that follows `before`.
pub(crate) fn masked(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = if rest.len() < part.len() { "N" } else { "" };
        shown + before + number + rest
    })
}
