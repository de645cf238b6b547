//! Whom a session waits for, and who is told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::mutex::locked;
use crate::config::Side;

/// Who is told that something waits.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&Waiting) + Send + Sync>);

impl Listener {
    /// Calls `told`, which must not block for long.
    pub fn new(told: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// A request that waits longer than most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// At which server.
    pub side: Side,
    /// Until now.
    pub waited: Duration,
    /// For what, and who has it.
    pub awaited: String,
}

/// What is known of all that waits at one server.
#[derive(Debug, Default)]
pub(crate) struct Told {
    listener: Option<Listener>,
    /// For whom was waited when it was told last, and when that was.
    named: Mutex<BTreeMap<String, Instant>>,
    /// One question at a time, so that it takes at most one connection more.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Told {
    pub(crate) fn to(listener: Listener) -> Self {
        Self { listener: Some(listener), ..Self::default() }
    }

    pub(crate) fn tell(&self, side: Side, waited: Duration, Awaited { text, whom }: &Awaited) {
        if let Some(Listener(told)) = &self.listener
            && self.is_news(whom)
        {
            told(&Waiting { side, waited, awaited: text.clone() });
        }
    }

    /// Several requests may wait for the same session, one after the other or at the same time.
    pub(crate) fn is_news(&self, whom: &str) -> bool {
        let mut named = locked(&self.named);
        let is_news = named.get(whom).is_none_or(|told| told.elapsed() >= AGAIN);
        if is_news {
            named.insert(whom.to_owned(), Instant::now());
        }
        is_news
    }
}

/// What was waited for, as the cause of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it waited for {text}")]
pub(crate) struct Awaited {
    pub(crate) text: String,
    /// Only the names.
    pub(crate) whom: String,
}

/// What still waits for the same is told again.
pub(crate) const AGAIN: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_waited_for_is_told_once_a_minute() {
        let told = Told::default();
        assert!(told.is_news("7"));
        assert!(!told.is_news("7"));
        assert!(told.is_news("7, 8"));
        tokio::time::advance(AGAIN).await;
        assert!(told.is_news("7"));
    }
}
