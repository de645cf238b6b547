//! A proxy in front of a server that reads the protocol's frames: it counts what a slow or broken network would
//! charge for, is as slow as it is told, and cuts or goes half-open at an exact message.
//!
//! Invariant: one read of a client's bytes is forwarded by one write, so that what was pipelined stays so.

mod exchange;
pub(crate) mod line;
mod namer;
pub(crate) mod waits;

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use exchange::Exchange;
use line::Line;

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
    /// Whether a cut closes nothing, so that neither end knows of it.
    silent: AtomicBool,
    /// What the client's message before the one to cut at contains; empty for none.
    half_open_after: Mutex<Vec<u8>>,
    fate: watch::Sender<Fate>,
    commits: AtomicU64,
    /// The number of the COMMIT whose answer is lost; 0 for none.
    lost_commit: AtomicU64,
    /// The number of the COMMIT that is lost itself; 0 for none.
    unsent_commit: AtomicU64,
}

/// What becomes of the connections that there are; later ones are served.
#[derive(Clone, Copy, Default, PartialEq)]
enum Fate {
    #[default]
    Served,
    HalfOpen,
    Abandoned,
}

impl Proxy {
    /// Forwards to a port of this machine, whose server must not have TLS.
    pub(crate) async fn start(server_port: u16) -> Self {
        Self::at_the_end_of(Line::short(), server_port).await
    }

    /// The same, over a line that takes time.
    pub(crate) async fn at_the_end_of(line: Line, server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counters = Arc::<Counters>::default();
        let accepting = tokio::spawn(accept(listener, server_port, line, Arc::clone(&counters)));
        Self { port, counters, accepting }
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
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

    /// From message `number` on nothing passes, on no connection, and nobody is told: new ones are accepted, and what is
    /// closed on one end stays open on the other.
    pub(crate) fn half_open_from(&self, number: u64) {
        self.counters.silent.store(true, SeqCst);
        self.gone_from(number);
    }

    /// The same, from the message that follows the next one of a client that contains `bytes`.
    pub(crate) fn half_open_after(&self, bytes: &[u8]) {
        bytes.clone_into(&mut self.counters.half_open_after.lock().unwrap());
    }

    /// Whether one of the two has come about.
    pub(crate) fn is_half_open(&self) -> bool {
        self.counters.is_half_open()
    }

    /// Nothing passes any more on the connections that there are, and neither end is told.
    pub(crate) fn make_half_open(&self) {
        self.counters.fate.send_replace(Fate::HalfOpen);
    }

    /// Closes the connections that there are to the clients, and does not tell the server.
    pub(crate) fn abandon(&self) {
        self.counters.fate.send_replace(Fate::Abandoned);
    }

    /// Ends the connection that carries COMMIT `number` (from 1, of those that are queries of their own) when the
    /// server has answered it, in place of the answer.
    pub(crate) fn lose_answer_to_commit(&self, number: u64) {
        self.counters.lost_commit.store(number, SeqCst);
    }

    /// Ends the connection that carries COMMIT `number`, counted as for its answer, in its place.
    pub(crate) fn lose_commit(&self, number: u64) {
        self.counters.unsent_commit.store(number, SeqCst);
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

impl Counters {
    fn is_half_open(&self) -> bool {
        self.silent.load(SeqCst) && self.messages.load(SeqCst) + 1 >= self.cut_at.load(SeqCst)
    }
}

async fn accept(listener: TcpListener, server_port: u16, line: Line, counters: Arc<Counters>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        counters.connections.fetch_add(1, SeqCst);
        let (line, counters) = (line.clone(), Arc::clone(&counters));
        // How a connection ends concerns its two ends only.
        connections.spawn(async move { forward(client, server_port, &line, &counters).await.ok() });
    }
}

/// Until either end closes or a cut closes both.
async fn forward(
    mut client: TcpStream,
    server_port: u16,
    line: &Line,
    counters: &Counters,
) -> io::Result<()> {
    let mut fate = counters.fate.subscribe();
    let mut server = TcpStream::connect(("127.0.0.1", server_port)).await?;
    line.connect().await;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let exchange = Exchange {
        counters,
        line,
        heard: Mutex::default(),
        client_spoke_last: AtomicBool::new(false),
        byte_due: AtomicBool::new(false),
        answer_is_lost: AtomicBool::new(false),
    };
    tokio::select! {
        ended = exchange.ask(from_client, to_server) => ended,
        ended = exchange.answer(from_server, to_client) => ended,
        _ = fate.changed() => {
            if *fate.borrow() == Fate::Abandoned {
                drop(client);
            }
            pending().await
        }
    }
}
