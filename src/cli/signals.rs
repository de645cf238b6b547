//! The first signal asks the run to stop, the second ends the process at once; nothing is lost either way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// Fires at the first signal, and remembers which it was.
#[derive(Debug, Clone)]
pub(super) struct Interruption {
    pub(super) token: CancellationToken,
    terminated: Arc<AtomicBool>,
}

impl Interruption {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self> {
        let interruption = Self { token: CancellationToken::new(), terminated: Arc::default() };
        let open = |kind| signal(kind).map_err(listening);
        let signals =
            [open(SignalKind::interrupt())?, open(SignalKind::terminate())?, open(SignalKind::hangup())?];
        tokio::spawn(interruption.clone().stop(signals));
        Ok(interruption)
    }

    async fn stop(self, mut signals: [Signal; 3]) {
        loop {
            let [interrupt, terminate, hangup] = &mut signals;
            let kind = tokio::select! {
                _ = interrupt.recv() => Kind::Interrupted,
                _ = terminate.recv() => Kind::Terminated,
                _ = hangup.recv() => Kind::Terminated,
            };
            if self.token.is_cancelled() {
                at_once(kind);
            }
            self.terminated.store(kind == Kind::Terminated, Ordering::Release);
            // Said before the run can end by it.
            super::output::say("stopping safely; press Ctrl-C again to stop now");
            self.token.cancel();
        }
    }

    /// `error` with the kind of the signal that caused it.
    pub(super) fn attribute(&self, mut error: Error) -> Error {
        if error.kind == Kind::Interrupted && self.terminated.load(Ordering::Acquire) {
            error.kind = Kind::Terminated;
        }
        error
    }
}

fn listening(error: std::io::Error) -> Error {
    Error::new(Kind::Internal, "could not listen for signals").because(error)
}

#[expect(clippy::exit, reason = "the second signal does not wait for anything")]
fn at_once(kind: Kind) -> ! {
    std::process::exit(i32::from(kind.exit_code()))
}
