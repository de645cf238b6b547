//! One connection through the proxy: its two directions, message by message.

use std::future::pending;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::io::AsyncReadExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc::Sender;

use super::Counters;
use super::line::{Line, Piece};
use super::namer::Namer;
use super::waits::Stamp;

/// The codes in place of a protocol version that are answered by one byte and followed by another start-up.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Bytes that one read takes at least, if they are there: more than is ever pipelined.
const READ_MIN: usize = 64 * 1024;

/// The text of a query that does nothing else.
const COMMIT: &[u8] = b"COMMIT\0";

/// Takes what comes and passes nothing on, not even that the end has closed.
async fn swallow(mut from: ReadHalf<'_>) -> io::Result<()> {
    let mut lost = Vec::new();
    while from.read_buf(&mut lost).await.is_ok_and(|length| length > 0) {
        lost.clear();
    }
    pending().await
}

/// Who speaks. A client's messages have no type until one of them was the true start-up.
enum Side {
    Client { starting: bool, namer: Namer },
    Server,
}

/// What the two directions of one connection know of each other.
pub(super) struct Exchange<'a> {
    pub(super) counters: &'a Counters,
    pub(super) line: &'a Line,
    /// What the server heard last.
    pub(super) heard: Mutex<Option<Stamp>>,
    pub(super) client_spoke_last: AtomicBool,
    /// The server's next message is the bare byte that answers a request for encryption.
    pub(super) byte_due: AtomicBool,
    /// The server's next message does not arrive, and nothing after it.
    pub(super) answer_is_lost: AtomicBool,
}

impl Exchange<'_> {
    pub(super) async fn ask(&self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, pieces) = self.line.direction();
        let side = Side::Client { starting: true, namer: Namer::default() };
        tokio::try_join!(self.pump(from, sender, side), Line::to_server(pieces, to, &self.heard)).map(drop)
    }

    pub(super) async fn answer(&self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> io::Result<()> {
        let (sender, pieces) = self.line.direction();
        tokio::try_join!(self.pump(from, sender, Side::Server), self.line.to_client(pieces, to)).map(drop)
    }

    async fn pump(&self, mut from: ReadHalf<'_>, to: Sender<Piece>, mut side: Side) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(READ_MIN);
        while from.read_buf(&mut bytes).await? > 0 {
            let mut whole = 0;
            while let Some(length) = self.message(&bytes[whole..], &mut side) {
                if self.is_cut(&bytes[whole..whole + length], &side) {
                    bytes.truncate(whole);
                    self.send(&to, &mut side, bytes).await;
                    return if self.counters.silent.load(SeqCst) { swallow(from).await } else { Ok(()) };
                }
                let answered = self.client_spoke_last.swap(matches!(side, Side::Client { .. }), SeqCst);
                if answered && matches!(side, Side::Server) {
                    self.counters.turns.fetch_add(1, SeqCst);
                }
                whole += length;
            }
            let sent = bytes.drain(..whole).collect();
            self.send(&to, &mut side, sent).await;
            bytes.reserve(READ_MIN);
        }
        if self.counters.is_half_open() { pending().await } else { Ok(()) }
    }

    async fn send(&self, to: &Sender<Piece>, side: &mut Side, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let stamp = match side {
            Side::Client { namer, .. } => Some(self.line.stamp(&namer.take())),
            Side::Server => self.heard.lock().unwrap().clone(),
        };
        self.line.send(to, stamp, bytes).await;
    }

    /// Counts a message; whether the connection ends in its place.
    fn is_cut(&self, message: &[u8], side: &Side) -> bool {
        let Counters {
            messages,
            cut_at,
            gone,
            silent,
            half_open_after,
            commits,
            lost_commit,
            unsent_commit,
            ..
        } = self.counters;
        let number = messages.fetch_add(1, SeqCst) + 1;
        let first = cut_at.load(SeqCst);
        if number == first || (gone.load(SeqCst) && number > first) {
            return true;
        }
        match side {
            Side::Server => self.answer_is_lost.load(SeqCst),
            Side::Client { .. } => {
                let mut awaited = half_open_after.lock().unwrap();
                if !awaited.is_empty() && message.windows(awaited.len()).any(|part| part == *awaited) {
                    awaited.clear();
                    silent.store(true, SeqCst);
                    gone.store(true, SeqCst);
                    cut_at.store(number + 1, SeqCst);
                }
                if message.first() == Some(&b'Q')
                    && message.ends_with(COMMIT)
                    && !message[5..].starts_with(b"BEGIN")
                {
                    let number = commits.fetch_add(1, SeqCst) + 1;
                    self.answer_is_lost.store(number == lost_commit.load(SeqCst), SeqCst);
                    return number == unsent_commit.load(SeqCst);
                }
                false
            }
        }
    }

    /// The length of the message at the start of `bytes`, if all of it is there.
    fn message(&self, bytes: &[u8], side: &mut Side) -> Option<usize> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let length = match side {
            Side::Server if !bytes.is_empty() && self.byte_due.swap(false, SeqCst) => 1,
            Side::Client { starting: true, .. } => word(0)? as usize,
            _ => 1 + word(1)? as usize,
        };
        if bytes.len() < length {
            return None;
        }
        if let Side::Client { starting, namer } = side {
            if *starting {
                *starting = matches!(word(4)?, SSL_REQUEST | GSS_REQUEST);
                self.byte_due.store(*starting, SeqCst);
                namer.start(*starting);
            } else {
                namer.message(&bytes[..length]);
            }
        }
        Some(length)
    }
}
