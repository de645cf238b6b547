//! A proxy in front of a server that reads the protocol's frames: it counts what a slow or broken network would
//! charge for, and cuts at an exact message.
//!
//! Invariant: one read of a client's bytes is forwarded by one write, so that what was pipelined stays so.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The codes in place of a protocol version that are answered by one byte and followed by another start-up.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// The text of a query that does nothing else.
const COMMIT: &[u8] = b"COMMIT\0";

/// Ends with its connections when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    counters: Arc<Counters>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    messages: AtomicU64,
    turns: AtomicU64,
    /// The number of the message to cut at; 0 for none.
    cut_at: AtomicU64,
    /// Whether every message after that one is cut as well.
    gone: AtomicBool,
    commits: AtomicU64,
    /// The number of the COMMIT whose answer is lost; 0 for none.
    lost_commit: AtomicU64,
}

impl Proxy {
    /// Forwards to a port of this machine, whose server must not have TLS.
    pub(crate) async fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counters = Arc::<Counters>::default();
        let accepting = tokio::spawn(accept(listener, server_port, Arc::clone(&counters)));
        Self { port, counters, accepting }
    }

    /// The same URL, but through the proxy.
    pub(crate) fn through(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }

    /// Connections that clients made.
    pub(crate) fn connections(&self) -> u64 {
        self.counters.connections.load(SeqCst)
    }

    /// Messages in both directions of all connections.
    pub(crate) fn messages(&self) -> u64 {
        self.counters.messages.load(SeqCst)
    }

    /// How often clients waited for the other end of the wire: once a connection, and once each time that the
    /// server answered after the client had spoken.
    pub(crate) fn round_trips(&self) -> u64 {
        self.connections() + self.counters.turns.load(SeqCst)
    }

    /// Ends the connection that carries message `number` (from 1, of all that the proxy sees) in its place.
    pub(crate) fn cut_at(&self, number: u64) {
        self.counters.cut_at.store(number, SeqCst);
    }

    /// The same, and lets no later message through: the server is gone for good.
    pub(crate) fn gone_from(&self, number: u64) {
        self.counters.gone.store(true, SeqCst);
        self.cut_at(number);
    }

    /// Ends the connection that carries COMMIT `number` (from 1, of those that are queries of their own) when the
    /// server has answered it, in place of the answer.
    pub(crate) fn lose_answer_to_commit(&self, number: u64) {
        self.counters.lost_commit.store(number, SeqCst);
    }

    /// COMMITs that were queries of their own.
    pub(crate) fn commits(&self) -> u64 {
        self.counters.commits.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server_port: u16, counters: Arc<Counters>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        counters.connections.fetch_add(1, SeqCst);
        let counters = Arc::clone(&counters);
        // How a connection ends concerns its two ends only.
        connections.spawn(async move { forward(client, server_port, &counters).await.ok() });
    }
}

/// Until either end closes or a cut closes both.
async fn forward(client: TcpStream, server_port: u16, counters: &Counters) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let exchange = Exchange {
        counters,
        client_spoke_last: AtomicBool::new(false),
        byte_due: AtomicBool::new(false),
        answer_is_lost: AtomicBool::new(false),
    };
    tokio::select! {
        ended = exchange.pump(from_client, to_server, Side::Client { starting: true }) => ended,
        ended = exchange.pump(from_server, to_client, Side::Server) => ended,
    }
}

/// Who speaks. A client's messages have no type until one of them was the true start-up.
enum Side {
    Client { starting: bool },
    Server,
}

/// What the two directions of one connection know of each other.
struct Exchange<'a> {
    counters: &'a Counters,
    client_spoke_last: AtomicBool,
    /// The server's next message is the bare byte that answers a request for encryption.
    byte_due: AtomicBool,
    /// The server's next message does not arrive, and nothing after it.
    answer_is_lost: AtomicBool,
}

impl Exchange<'_> {
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut side: Side) -> io::Result<()> {
        let mut bytes = Vec::new();
        while from.read_buf(&mut bytes).await? > 0 {
            let mut whole = 0;
            while let Some(length) = self.message(&bytes[whole..], &mut side) {
                if self.is_cut(&bytes[whole..whole + length], &side) {
                    return to.write_all(&bytes[..whole]).await;
                }
                let answered = self.client_spoke_last.swap(matches!(side, Side::Client { .. }), SeqCst);
                if answered && matches!(side, Side::Server) {
                    self.counters.turns.fetch_add(1, SeqCst);
                }
                whole += length;
            }
            to.write_all(&bytes[..whole]).await?;
            bytes.drain(..whole);
        }
        Ok(())
    }

    /// Counts a message; whether the connection ends in its place.
    fn is_cut(&self, message: &[u8], side: &Side) -> bool {
        let Counters { messages, cut_at, gone, commits, lost_commit, .. } = self.counters;
        let number = messages.fetch_add(1, SeqCst) + 1;
        let cut_at = cut_at.load(SeqCst);
        if number == cut_at || (gone.load(SeqCst) && number > cut_at) {
            return true;
        }
        match side {
            Side::Server => self.answer_is_lost.load(SeqCst),
            Side::Client { .. } => {
                if message.first() == Some(&b'Q')
                    && message.ends_with(COMMIT)
                    && message.len() == 5 + COMMIT.len()
                {
                    let number = commits.fetch_add(1, SeqCst) + 1;
                    self.answer_is_lost.store(number == lost_commit.load(SeqCst), SeqCst);
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
            Side::Client { starting: true } => word(0)? as usize,
            _ => 1 + word(1)? as usize,
        };
        if bytes.len() < length {
            return None;
        }
        if let Side::Client { starting: starting @ true } = side {
            *starting = matches!(word(4)?, SSL_REQUEST | GSS_REQUEST);
            self.byte_due.store(*starting, SeqCst);
        }
        Some(length)
    }
}
