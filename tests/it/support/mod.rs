//! What tests stand on: servers, databases, a proxy in between, and ways to look at what a run left.

pub(crate) mod deadline;
pub(crate) mod gate;
pub(crate) mod inspect;
pub(crate) mod pooler;
pub(crate) mod proxy;
pub(crate) mod redact;
pub(crate) mod running;
pub(crate) mod sandbox;
pub(crate) mod servers;
pub(crate) mod settings;
pub(crate) mod standby;
pub(crate) mod terminal;

/// A line on the test's own stdout, past the capture of `cargo test`.
#[expect(clippy::disallowed_methods, reason = "no text of strangers")]
pub(crate) fn say(text: &str) {
    use std::io::Write;
    std::io::stdout().write_all(format!("{text}\n").as_bytes()).unwrap();
}
