//! A panic is a bug: it is told by its place and ends as an error. Its message may quote a value or a secret, so nobody
//! sees it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, set_hook};
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;

use super::output::{say, say_all};
use crate::error::{Error, Kind, Result};

/// Where the last one happened.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// From now on a panic says its place, and with `RUST_BACKTRACE=1` the way there, on whatever thread.
pub(super) fn tell_places_only() {
    set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), short);
        say(&format!("panicked at {place}"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            say_all(backtrace.to_string().lines());
        }
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }));
}

/// What `work` brings. Transactions that a panic leaves open end with their connections.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(bug()))
}

fn bug() -> Error {
    let version = env!("CARGO_PKG_VERSION");
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).take();
    Error::new(Kind::Internal, format!("stopped by a bug in dewey-sync {version}"))
        .because(format!("panicked at {}", place.as_deref().unwrap_or("an unknown place")))
        .state("unknown; what was not committed is rolled back, and `dewey-sync verify` compares both databases")
        .hint("report the first two lines and the command; a sync goes on with `--resume`, or starts anew without")
}

/// `src/sync/plan.rs:12`, or `bytes-1.11.1/src/lib.rs:12` of a dependency, without the folders of who built it.
fn short(location: &Location<'_>) -> String {
    let file = location.file();
    let file = match file.split_once("/registry/src/").and_then(|(_, file)| file.split_once('/')) {
        Some((_index, file)) => file,
        None => file,
    };
    format!("{file}:{}", location.line())
}
