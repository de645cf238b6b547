//! A proxy in front of one server that numbers the messages of each connection and direction, and does one thing to one
//! of them. Numbered so, a message has the same number in every run, also where connections work side by side; those that
//! are opened at once are alike until they are used, and the one that holds the lock is the last of them.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::frames::{Frames, Side, is_start, locks, what};
use crate::pause;

/// How long the server does not hear that its client was cut off: the time in which its session is a zombie.
const LINGER: Duration = Duration::from_millis(150);
/// How long a delayed answer is held.
const DELAY: Duration = Duration::from_millis(300);
/// Between the bytes of a slow answer.
const SLOW: Duration = Duration::from_millis(5);

/// One message: `2>17` is the 17th that the client says on the second connection, `2<17` the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) connection: u32,
    pub(crate) side: Side,
    pub(crate) number: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.side == Side::Client { '>' } else { '<' };
        write!(f, "{}{arrow}{}", self.connection, self.number)
    }
}

/// What happens at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Both ends are closed in the message's place.
    Cut,
    /// It is forwarded; its sender's end is closed at once, the other end a little later.
    CutAfter,
    /// Nothing of this connection is forwarded any more, and neither end hears of it.
    HalfOpen,
    /// The same, after this message.
    HalfOpenAfter,
    /// The same for all connections, also those to come.
    Dark,
    /// The message waits until [`Proxy::release`].
    Hold,
    /// It is forwarded, and the server's next message waits likewise.
    HoldAnswer,
    /// It is forwarded; both ends are closed in place of the answer.
    LoseAnswer,
    /// It is forwarded; the answer comes late.
    DelayAnswer,
    /// It is forwarded; the answer comes byte by byte.
    SlowAnswer,
}

/// A message that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) place: Place,
    /// What it is, in words.
    pub(crate) what: String,
    /// When.
    pub(crate) at: std::time::Instant,
    /// Whether it asks for a COMMIT.
    pub(crate) commits: bool,
}

/// Ends with its connections when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    fault: Option<(Place, Action)>,
    fired: watch::Sender<bool>,
    released: watch::Sender<bool>,
    dark: watch::Sender<bool>,
    connections: AtomicU32,
    /// The numbers of those that have asked nothing since their start-up.
    unused: Mutex<Vec<Arc<AtomicU32>>>,
    seen: Mutex<Vec<Seen>>,
}

impl Proxy {
    /// Forwards to a port of this machine, whose server must not have TLS.
    pub(crate) async fn start(server_port: u16, fault: Option<(Place, Action)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            fault,
            fired: watch::Sender::new(false),
            released: watch::Sender::new(false),
            dark: watch::Sender::new(false),
            connections: AtomicU32::new(0),
            unused: Mutex::default(),
            seen: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, server_port, Arc::clone(&shared)));
        Self { port, shared, accepting }
    }

    /// The same URL, but through the proxy.
    pub(crate) fn through(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }

    /// Everything that passed, by connection.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen = self.shared.seen.lock().unwrap().clone();
        seen.sort_by_key(|seen| seen.place.connection);
        seen
    }

    /// Whether the message came.
    pub(crate) fn fired(&self) -> bool {
        *self.shared.fired.borrow()
    }

    /// Waits for the message, for ever.
    pub(crate) async fn reached(&self) {
        self.shared.fired.subscribe().wait_for(|fired| *fired).await.unwrap();
    }

    /// Lets the message go that waits.
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server_port: u16, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let connection = Arc::new(AtomicU32::new(shared.connections.fetch_add(1, SeqCst) + 1));
        shared.unused.lock().unwrap().push(Arc::clone(&connection));
        let shared = Arc::clone(&shared);
        connections.spawn(async move { forward(client, server_port, connection, &shared).await.ok() });
    }
}

impl Shared {
    /// Gives a connection with its first request the highest number of the unused ones if it takes the lock, else the
    /// lowest.
    fn used(&self, connection: &Arc<AtomicU32>, request: &[u8]) {
        let mut unused = self.unused.lock().unwrap();
        let Some(at) = unused.iter().position(|other| Arc::ptr_eq(other, connection)) else { return };
        let number = |other: &&Arc<AtomicU32>| other.load(SeqCst);
        let in_order = unused.iter();
        let fitting = if locks(request) { in_order.max_by_key(number) } else { in_order.min_by_key(number) };
        connection.store(fitting.unwrap().swap(connection.load(SeqCst), SeqCst), SeqCst);
        unused.swap_remove(at);
    }
}

/// How one direction ended.
enum End {
    /// Both ends are closed.
    Closed,
    /// This end is closed later.
    Lingers(OwnedWriteHalf),
    /// None is.
    Open,
}

async fn forward(
    client: TcpStream,
    server_port: u16,
    connection: Arc<AtomicU32>,
    shared: &Shared,
) -> io::Result<()> {
    let mut dark = shared.dark.subscribe();
    if *dark.borrow_and_update() {
        return pending().await;
    }
    let server = TcpStream::connect(("127.0.0.1", server_port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let exchange = Exchange {
        shared,
        connection,
        frames: Frames::default(),
        asked: Mutex::default(),
        answer_is_next: AtomicBool::new(false),
    };
    let ended = {
        let mut asking = std::pin::pin!(exchange.pump(from_client, to_server, Side::Client));
        let mut answering = std::pin::pin!(exchange.pump(from_server, to_client, Side::Server));
        let ended = tokio::select! {
            ended = &mut asking => ended?,
            ended = &mut answering => ended?,
            _ = dark.changed() => End::Open,
        };
        if let End::Open = ended {
            // Both directions keep their sockets and are not polled again.
            return pending().await;
        }
        ended
    };
    if let End::Lingers(_end) = ended {
        pause(LINGER).await;
    }
    Ok(())
}

/// One connection's two directions.
struct Exchange<'a> {
    shared: &'a Shared,
    connection: Arc<AtomicU32>,
    frames: Frames,
    /// What the client asked last, for the names of the answers.
    asked: Mutex<String>,
    /// The server's next message is the answer that the fault is about.
    answer_is_next: AtomicBool,
}

impl Exchange<'_> {
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, side: Side) -> io::Result<End> {
        let mut bytes = Vec::new();
        let mut number = 0;
        while from.read_buf(&mut bytes).await? > 0 {
            let mut whole = 0;
            while let Some(length) = self.frames.next(&bytes[whole..], side) {
                number += 1;
                let message = &bytes[whole..whole + length];
                if side == Side::Client && !is_start(message) {
                    self.shared.used(&self.connection, message);
                }
                let place = Place { connection: self.connection.load(SeqCst), side, number };
                self.note(place, message);
                let Some(action) = self.action(place) else {
                    whole += length;
                    continue;
                };
                // What was said before it arrives.
                to.write_all(&bytes[..whole]).await?;
                bytes.drain(..whole);
                whole = 0;
                self.shared.fired.send_replace(true);
                match action {
                    Action::Cut | Action::LoseAnswer => return Ok(End::Closed),
                    Action::CutAfter => {
                        to.write_all(&bytes[..length]).await?;
                        return Ok(End::Lingers(to));
                    }
                    Action::HalfOpen => return Ok(End::Open),
                    Action::HalfOpenAfter => {
                        to.write_all(&bytes[..length]).await?;
                        return Ok(End::Open);
                    }
                    Action::Dark => {
                        self.shared.dark.send_replace(true);
                        return Ok(End::Open);
                    }
                    Action::Hold | Action::HoldAnswer => {
                        let mut released = self.shared.released.subscribe();
                        released.wait_for(|released| *released).await.unwrap();
                        whole += length;
                    }
                    Action::DelayAnswer => {
                        pause(DELAY).await;
                        whole += length;
                    }
                    Action::SlowAnswer => {
                        for byte in bytes.drain(..length) {
                            to.write_all(&[byte]).await?;
                            pause(SLOW).await;
                        }
                    }
                }
            }
            to.write_all(&bytes[..whole]).await?;
            bytes.drain(..whole);
        }
        Ok(End::Closed)
    }

    /// What to do with the message at `place` itself.
    fn action(&self, place: Place) -> Option<Action> {
        let (at, action) = self.shared.fault?;
        let of_answer = matches!(
            action,
            Action::HoldAnswer | Action::LoseAnswer | Action::DelayAnswer | Action::SlowAnswer
        );
        if of_answer && place.side == Side::Server {
            return self.answer_is_next.swap(false, SeqCst).then_some(action);
        }
        if at != place {
            return None;
        }
        if of_answer {
            self.answer_is_next.store(true, SeqCst);
            return None;
        }
        Some(action)
    }

    fn note(&self, place: Place, message: &[u8]) {
        let mut asked = self.asked.lock().unwrap();
        let (what, commits) = what(message, place, &mut asked);
        self.shared.seen.lock().unwrap().push(Seen { place, what, at: std::time::Instant::now(), commits });
    }
}
