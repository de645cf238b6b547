//! What every command has: the global options, the screen, the signals, and the way to both sides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::Global;
use super::args::shared::OwnerArgs;
use super::end::{End, Ended};
use super::output::{Screen, print_all, print_json};
use super::signals::Interruption;
use crate::config::{self, Endpoint, Environment, Locations};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Listener, Server, Source, Target, Waiting};
use crate::preflight::Sides;
use crate::printable::value;
use crate::progress::{Event, Progress};

pub(super) struct Session {
    pub(super) global: Global,
    pub(super) environment: Environment,
    pub(super) screen: Arc<Screen>,
    pub(super) interruption: Interruption,
    /// As it is typed, without its arguments.
    command: &'static str,
    started: Instant,
}

impl Session {
    pub(super) fn new(
        global: Global,
        environment: Environment,
        interruption: Interruption,
        command: &'static str,
    ) -> Self {
        let screen = Arc::new(Screen::new(&global, &environment));
        Self { global, environment, screen, interruption, command, started: Instant::now() }
    }

    /// Both sides, not connected yet.
    pub(super) fn sides(&self, owners: &OwnerArgs, connect_timeout: Option<Duration>) -> Result<Sides> {
        let mut mapping = config::mapping(&self.locations(), self.global.config.as_deref())?;
        if let Some(path) = &owners.owner_map {
            mapping.owners = config::owner_lines(path)?;
        }
        let source = config::source(&self.locations(), &self.environment)?;
        let target = config::target(&self.locations(), &self.environment)?;
        Ok(Sides {
            source: Source::new(self.server(source, connect_timeout)),
            target: Target::new(self.server(target, connect_timeout)),
            mapping,
        })
    }

    /// The target alone.
    pub(super) fn target(&self) -> Result<Target> {
        let target = config::target(&self.locations(), &self.environment)?;
        Ok(Target::new(self.server(target, None)))
    }

    /// The source, if one is configured at all.
    ///
    /// # Errors
    /// When what is configured cannot be used: it may be the target under another name.
    pub(super) fn source_if_configured(&self) -> Result<Option<Source>> {
        let locations = self.locations();
        if !config::is_configured(config::Side::Source, &locations, &self.environment) {
            return Ok(None);
        }
        let source = config::source(&locations, &self.environment)?;
        Ok(Some(Source::new(self.server(source, None))))
    }

    /// Shows how the command ended, but for its error, and writes its report.
    pub(super) fn end(&self, done: Result<Ended>) -> Result<()> {
        let attributed = |error| self.interruption.attribute(error);
        let done = done.map_err(attributed);
        let done = done.map(|ended| Ended { result: ended.result.map_err(attributed), ..ended });
        let end = End::new(self.command, self.started.elapsed(), &done);
        self.screen.clear();
        if let Ok(Ended { report: Some(report), .. }) = &done {
            report.write(&end);
        }
        if self.screen.is_json() {
            print_json(&end);
        } else {
            print_all(end.text());
        }
        done?.result.map(drop)
    }

    /// Says where `endpoint` is and where its URL came from.
    pub(super) fn introduce(&self, endpoint: &Endpoint) {
        self.screen.note(&format!("{}  {endpoint}  {}", endpoint.side, endpoint.origin));
    }

    /// Runs `work` until it ends or the first signal comes.
    pub(super) async fn unless_interrupted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.interruption.token.cancelled() => Err(Error::new(Kind::Interrupted, "interrupted")),
        }
    }

    /// Says what the URL leaves open, gives the endpoint the base of its sessions' names, and has whoever keeps them waiting
    /// shown.
    fn server(&self, endpoint: Endpoint, connect_timeout: Option<Duration>) -> Server {
        if let Some(text) = endpoint.notice() {
            self.screen.event(&Event::Notice { text });
        }
        let screen = Arc::clone(&self.screen);
        server(endpoint, connect_timeout).telling(Listener::new(move |Waiting { side, waited, awaited }| {
            screen.event(&Event::Waiting {
                side: *side,
                waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                awaited: awaited.clone(),
            });
        }))
    }

    fn locations(&self) -> Locations {
        let Global { dir, source_env, target_env, .. } = &self.global;
        Locations { dir: dir.clone(), source_env: source_env.clone(), target_env: target_env.clone() }
    }
}

/// The base of the application names tells this process's sessions from those of any other run.
fn server(endpoint: Endpoint, connect_timeout: Option<Duration>) -> Server {
    let ignored = endpoint.ignored_parameters();
    if !ignored.is_empty() {
        let ignored: Vec<String> = ignored.iter().map(|name| value(name)).collect();
        tracing::warn!("parameters of the {}'s URL that are not used: {}", endpoint.side, ignored.join(", "));
    }
    let session_base = format!("dewey-sync {}-{:08x}", std::process::id(), rand::random::<u32>());
    Server::new(endpoint, session_base, connect_timeout)
}
