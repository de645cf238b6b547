//! The protocol's frames and what they say, in a few words that do not differ from run to run.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::proxy::Place;

/// The codes in place of a protocol version that are answered by one byte and followed by another start-up.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Where one connection is in its framing.
#[derive(Default)]
pub(crate) struct Frames {
    /// The client's start-up has come: from then on its messages have a type.
    started: AtomicBool,
    /// The server's next message is the bare byte that answers a request for encryption.
    byte_due: AtomicBool,
}

impl Frames {
    /// The length of the message at the start of `bytes`, if all of it is there.
    pub(crate) fn next(&self, bytes: &[u8], side: Side) -> Option<usize> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let starting = side == Side::Client && !self.started.load(SeqCst);
        if side == Side::Server && !bytes.is_empty() && self.byte_due.swap(false, SeqCst) {
            return Some(1);
        }
        let length = if starting { word(0)? as usize } else { 1 + word(1)? as usize };
        if bytes.len() < length {
            return None;
        }
        if starting {
            let encrypting = matches!(word(4)?, SSL_REQUEST | GSS_REQUEST);
            self.byte_due.store(encrypting, SeqCst);
            self.started.store(!encrypting, SeqCst);
        }
        Some(length)
    }
}

/// Whether the client's message is of its start-up.
pub(crate) fn is_start(message: &[u8]) -> bool {
    matches!(message[0], 0 | b'p')
}

/// Whether it takes the lock of a run.
pub(crate) fn locks(message: &[u8]) -> bool {
    const LOCK: &[u8] = b"; SELECT pg_try_advisory_xact_lock(";
    message.windows(LOCK.len()).any(|bytes| bytes == LOCK)
}

/// What a message is, and whether it asks for a COMMIT. `asked` is what the client said last on this connection.
pub(crate) fn what(message: &[u8], place: Place, asked: &mut String) -> (String, bool) {
    let kind = message[0];
    if place.side == Side::Server {
        let kind = if kind.is_ascii_graphic() { char::from(kind).to_string() } else { kind.to_string() };
        return (format!("{kind} of {asked}"), false);
    }
    let text = match kind {
        b'Q' => &message[5..],
        b'P' => message[5..].splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default(),
        _ => {
            let name = match kind {
                0 => "start",
                b'p' => "password",
                b'X' => "farewell",
                b'B' | b'D' | b'E' | b'C' | b'S' | b'H' => "rest",
                _ => "other",
            };
            // What a COPY sends comes after an answer of its own.
            if let Some(part) = COPY_PARTS.iter().find_map(|(of, part)| (*of == kind).then_some(part)) {
                return (format!("{part} of {asked}"), false);
            }
            // Bind, Execute and Sync belong to the Parse before them.
            if name == "rest" {
                return (format!("{} of {asked}", char::from(kind)), false);
            }
            name.clone_into(asked);
            return (name.to_owned(), false);
        }
    };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    *asked = label(&text);
    (asked.clone(), is_commit(&text))
}

/// `CopyData`, `CopyDone` and `CopyFail`.
const COPY_PARTS: [(u8, &str); 3] = [(b'd', "rows"), (b'c', "end"), (b'f', "failure")];

/// Whether the last of the statements is COMMIT.
fn is_commit(text: &str) -> bool {
    text.trim_end_matches([';', ' ', '\n']).rsplit(';').next().is_some_and(|last| last.trim() == "COMMIT")
}

/// How many words of a statement tell it from the others.
const WORDS: usize = 5;

/// The first words of the first statement that neither begins a transaction nor makes a setting, without values.
fn label(text: &str) -> String {
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    let settles = |statement: &&str| {
        ["BEGIN", "SET LOCAL", "SET TRANSACTION", "SELECT current_setting", "SELECT set_config", "DEALLOCATE"]
            .iter()
            .any(|start| statement.starts_with(start))
    };
    let telling = statements.clone().find(|statement| !settles(statement)).unwrap_or("BEGIN");
    let words: Vec<&str> = telling.split_whitespace().take(WORDS).collect();
    let words = words.join(" ");
    let words: String = words.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(48).collect();
    match (is_commit(text), text.starts_with("BEGIN")) {
        (true, true) => format!("{words} … COMMIT"),
        (true, false) if words != "COMMIT" => format!("{words}, COMMIT"),
        _ => words,
    }
}
