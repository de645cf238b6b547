//! One case's world: a source, a target with older books, the tool, and what may stand between them.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::Command;

use crate::expected::State;
use crate::proxy::{Action, Place, Proxy};
use crate::servers::{BATCH_SIZE, Pair, Which};
use crate::tool::{Ran, Tool};
use crate::way::Way;

/// After this long a run hangs. Its own limits sum up to less, also on a loaded machine.
pub(crate) const HANGS: Duration = Duration::from_mins(1);

/// Longer than a busy machine needs for a connection, in seconds.
const CONNECT_TIMEOUT: u8 = 10;

/// The tool's own default.
const RETRIES: u8 = 3;

/// What went wrong, as the report counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    Lost,
    Duplicated,
    HalfSynced,
    Hung,
    Leaked,
    /// The fault did not happen, so that nothing was shown.
    NotFired,
    /// A wrong exit code, a wrong ledger.
    Other,
}

/// A case that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) harm: Harm,
    pub(crate) text: String,
}

pub(crate) type Verdict<T = ()> = Result<T, Failure>;

/// Fails unless `holds`.
pub(crate) fn ensure(holds: bool, harm: Harm, text: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Failure { harm, text: text() }) }
}

pub(crate) struct World {
    pub(crate) pair: Arc<Pair>,
    pub(crate) way: Way,
    /// The names of its databases.
    pub(crate) source: String,
    pub(crate) target: String,
    /// The target before the first run.
    pub(crate) old: State,
    /// What the target shall hold in the end.
    pub(crate) new: State,
    /// What the source holds, with the target's owner.
    pub(crate) production: State,
    /// The tables and other relations that the target had before the first run.
    pub(crate) relations: Vec<String>,
    /// After which the tool gives an answer up.
    pub(crate) batch_timeout: &'static str,
    /// How often something is tried again: each attempt may wait for a connection that nobody answers.
    pub(crate) retries: u8,
    /// What the case itself does to the databases, so that some facts are not what they would be.
    pub(crate) changes: Changes,
    source_proxy: Option<Proxy>,
    target_proxy: Option<Proxy>,
    /// Those that only an earlier run goes through.
    aside: Vec<Proxy>,
    fault_set: bool,
    /// Everything that the tool said.
    pub(crate) said: Arc<Mutex<String>>,
}

/// What a case does besides its fault.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    /// The source's books; the case compares them itself.
    pub(crate) source: bool,
    /// The target's dependents; the case compares them itself.
    pub(crate) entries: bool,
    /// A killed run may be completed while the next one is on its way, past its comparison: then both are.
    pub(crate) runs: bool,
}

impl World {
    pub(crate) async fn new(pair: Arc<Pair>, way: Way, source: String, target: String) -> Self {
        pair.copy_target(way, &target).await;
        let before = pair.held.before(way);
        let (old, relations) = (before.state.clone(), before.relations.clone());
        let production = pair.held.production.clone();
        let new = if way.undoes() { pair.held.old_books().clone() } else { production.clone() };
        Self {
            pair,
            way,
            source,
            target,
            old,
            new,
            production,
            relations,
            batch_timeout: "1s",
            retries: RETRIES,
            changes: Changes::default(),
            source_proxy: None,
            target_proxy: None,
            aside: Vec::new(),
            fault_set: false,
            said: Arc::default(),
        }
    }

    /// Whether the run has done its work.
    pub(crate) fn is_new(&self, found: &State) -> bool {
        // An undo also has the ids and what hung on the books.
        if self.way.undoes() { *found == self.new } else { found.has_books_of(&self.new) }
    }

    /// The superuser's URL of one side.
    pub(crate) fn url(&self, which: Which) -> String {
        self.pair.url(which, self.database(which))
    }

    pub(crate) fn database(&self, which: Which) -> &str {
        if which == Which::Source { &self.source } else { &self.target }
    }

    /// Runs SQL as the superuser.
    pub(crate) async fn execute(&self, which: Which, sql: &str) {
        crate::support::servers::execute(&self.url(which), sql).await;
    }

    /// Puts a proxy before both sides, with a fault at a place of one of them.
    pub(crate) async fn fault(&mut self, which: Which, place: Place, action: Action) {
        self.fault_set = true;
        for side in Which::BOTH {
            let fault = (side == which).then_some((place, action));
            self.proxy(side, fault).await;
        }
    }

    /// Puts a proxy before one side.
    pub(crate) async fn proxy(&mut self, which: Which, fault: Option<(Place, Action)>) {
        let proxy = Some(Proxy::start(self.pair.port(which), fault).await);
        *(if which == Which::Source { &mut self.source_proxy } else { &mut self.target_proxy }) = proxy;
    }

    pub(crate) fn proxy_of(&self, which: Which) -> &Proxy {
        let proxy = if which == Which::Source { &self.source_proxy } else { &self.target_proxy };
        proxy.as_ref().unwrap()
    }

    /// Fails unless every fault that was set has happened.
    pub(crate) fn fired(&self, ran: &Ran) -> Verdict {
        let fired = !self.fault_set || self.proxies().any(Proxy::fired);
        ensure(fired, Harm::NotFired, || format!("the fault did not fire: {ran}"))
    }

    /// From now on nothing stands between, and what a proxy kept open is closed.
    pub(crate) fn heal(&mut self) {
        self.source_proxy = None;
        self.target_proxy = None;
        self.aside.clear();
        self.fault_set = false;
        self.retries = RETRIES;
    }

    /// Runs to come reach the servers directly, those that go on keep their proxies.
    pub(crate) fn set_proxies_aside(&mut self) {
        self.aside.extend(self.source_proxy.take());
        self.aside.extend(self.target_proxy.take());
    }

    fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.source_proxy.iter().chain(&self.target_proxy).chain(&self.aside)
    }

    /// Lets the held message go.
    pub(crate) fn release(&self) {
        self.proxies().for_each(Proxy::release);
    }

    /// Starts a run and waits until it has come to the message that is held.
    pub(crate) async fn start_until_held(
        &mut self,
        which: Which,
        at: (Place, Action),
        more: &[&str],
    ) -> Verdict<Tool> {
        self.fault(which, at.0, at.1).await;
        let mut tool = self.start_with(more);
        tool.until_reached(self.proxy_of(which)).await?;
        Ok(tool)
    }

    fn url_of_tool(&self, which: Which) -> String {
        let url = self.pair.url_of_tool(which, self.database(which));
        let proxy = if which == Which::Source { &self.source_proxy } else { &self.target_proxy };
        let url = proxy.as_ref().map_or_else(|| url.clone(), |proxy| proxy.through(&url));
        format!("{url}?connect_timeout={CONNECT_TIMEOUT}")
    }

    /// Short limits; more books a batch than fit would be one batch.
    fn limits(&self) -> Vec<String> {
        let retries = self.retries.to_string();
        let mut limits = vec!["--retry-delay", "5ms", "--max-retries", &retries];
        limits.extend(["--batch-timeout", self.batch_timeout]);
        limits.extend(["--lock-wait", "1s"]);
        limits.into_iter().map(str::to_owned).collect()
    }

    /// The call of a new run, without `--yes`.
    pub(crate) fn call(&self, jobs: u8) -> Vec<String> {
        let size = BATCH_SIZE.to_string();
        let jobs = jobs.to_string();
        let Way { strategy, engine, .. } = self.way;
        if self.way.undoes() {
            return ["undo", "-v"].map(str::to_owned).into_iter().chain(self.limits()).collect();
        }
        let call = ["sync", "-v", "--user-id", "1", "--strategy", strategy, "--engine", engine];
        let call = call.into_iter().chain(["--batch-size", &size, "--jobs", &jobs]).map(str::to_owned);
        call.chain(self.limits()).collect()
    }

    /// The call that goes on with the newest unfinished run.
    pub(crate) fn resume_call(&self) -> Vec<String> {
        let call = ["sync", "-v", "--resume", "--yes", "--allow-cascade"].map(str::to_owned);
        call.into_iter().chain(self.limits()).collect()
    }

    /// The tool with its environment, to be started as the case likes.
    pub(crate) fn command(&self, call: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dewey-sync"));
        command
            .env_clear()
            .envs([("NO_COLOR", "1"), ("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent")])
            .env("DEWEY_SOURCE_DATABASE_URL", self.url_of_tool(Which::Source))
            .env("DEWEY_TARGET_DATABASE_URL", self.url_of_tool(Which::Target))
            .args(call)
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) fn start_call(&self, call: &[String]) -> Tool {
        let mut command = self.command(call);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Tool::follow(child, &self.said)
    }

    /// Starts a run that needs no answer.
    pub(crate) fn start(&self) -> Tool {
        self.start_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(&self, more: &[&str]) -> Tool {
        let mut call = self.call(1);
        call.extend(["--yes", "--allow-cascade"].iter().chain(more).map(|argument| (*argument).to_owned()));
        self.start_call(&call)
    }

    /// Runs to the end.
    pub(crate) async fn run(&self) -> Verdict<Ran> {
        self.start().end().await
    }
}
