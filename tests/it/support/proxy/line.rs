//! The line between client and server: what it delivers arrives later, in order, and as many pieces at once as were sent.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use super::waits::{Stamp, Waits};

/// Pieces on a line that takes time. One that takes none lets each end feel the other's pace.
const PIECES_UNDERWAY_MAX: usize = 1 << 16;

/// How far away one server is.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    side: &'static str,
    round_trip: Duration,
    waits: Arc<Waits>,
}

impl Line {
    /// `waits` is shared by all lines of a run.
    pub(crate) fn new(side: &'static str, round_trip: Duration, waits: &Arc<Waits>) -> Self {
        Self { side, round_trip, waits: Arc::clone(waits) }
    }

    /// To a server beside the client.
    pub(super) fn short() -> Self {
        Self::new("server", Duration::ZERO, &Arc::default())
    }

    /// Lets the time pass that connecting takes.
    pub(super) async fn connect(&self) {
        let stamp = self.stamp("connect");
        if !self.round_trip.is_zero() {
            sleep_until(Instant::now() + self.round_trip).await;
        }
        self.waits.answered(&stamp);
    }

    /// What the client says now.
    pub(super) fn stamp(&self, what: &str) -> Stamp {
        self.waits.stamp(self.side, what)
    }

    /// One direction of one connection.
    pub(super) fn direction(&self) -> (Sender<Piece>, Receiver<Piece>) {
        mpsc::channel(if self.round_trip.is_zero() { 1 } else { PIECES_UNDERWAY_MAX })
    }

    /// Sends a piece on its way.
    pub(super) async fn send(&self, to: &Sender<Piece>, stamp: Option<Stamp>, bytes: Vec<u8>) {
        let piece = Piece { due: Instant::now() + self.round_trip / 2, stamp, bytes };
        // Without a receiver the connection is ending.
        to.send(piece).await.ok();
    }

    /// Hands the client's pieces to the server until no more come.
    pub(super) async fn to_server(
        mut pieces: Receiver<Piece>,
        mut to: WriteHalf<'_>,
        heard: &Mutex<Option<Stamp>>,
    ) -> io::Result<()> {
        while let Some(piece) = pieces.recv().await {
            piece.arrive().await;
            *heard.lock().unwrap() = piece.stamp;
            to.write_all(&piece.bytes).await?;
        }
        Ok(())
    }

    /// Hands the server's pieces to the client until no more come.
    pub(super) async fn to_client(
        &self,
        mut pieces: Receiver<Piece>,
        mut to: WriteHalf<'_>,
    ) -> io::Result<()> {
        while let Some(piece) = pieces.recv().await {
            piece.arrive().await;
            if let Some(stamp) = &piece.stamp {
                self.waits.answered(stamp);
            }
            to.write_all(&piece.bytes).await?;
        }
        Ok(())
    }
}

/// Whole messages that were sent at once.
pub(super) struct Piece {
    due: Instant,
    /// Of the client's last piece that the sender knew.
    stamp: Option<Stamp>,
    bytes: Vec<u8>,
}

impl Piece {
    /// A timer has milliseconds, which a line that takes no time has not.
    async fn arrive(&self) {
        if self.due > Instant::now() {
            sleep_until(self.due).await;
        }
    }
}
