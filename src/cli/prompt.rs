//! The questions, on a terminal or answered by flags. A question without a terminal stops at once and names the flag.

use std::io::IsTerminal;

use async_trait::async_trait;

use super::output::{Screen, Stream, ask, grouped, plural, say, say_all};
use crate::config::Endpoint;
use crate::dependents::{describe, losses};
use crate::error::{Error, Kind, Result};
use crate::preflight::catalog::Facts;
use crate::preflight::guard::owner::{Owner, Owners, User};
use crate::preflight::guard::stake::{Size, Stake};
use crate::preflight::guard::target_identity::Ends;
use crate::preflight::guard::triggers;
use crate::preflight::{Preflight, Sides};
use crate::printable::{columns, padded, value};
use crate::sync::ask::{Ask, Unfinished};
use crate::sync::changes::Changes;

/// How many times an answer may be none of those offered.
const TRIES: usize = 3;

/// What `staged` asks.
const CHANGE: &str = "whether to change the target's books";

/// Who asks, and with which answers given beforehand.
pub(super) struct Prompt<'a> {
    pub(super) sides: &'a Sides,
    pub(super) screen: &'a Screen,
    /// `--yes`.
    pub(super) yes: bool,
}

/// Whether somebody can be asked.
pub(super) fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && Stream::Err.is_terminal()
}

fn declined(what: &str) -> Error {
    Error::new(Kind::Declined, what)
}

fn nobody_to_ask(what: &str) -> Error {
    declined(&format!("could not ask {what}"))
        .because("there is no terminal to ask on")
        .hint("add `--yes` to answer beforehand, or `--dry-run` to look first")
}

impl Prompt<'_> {
    /// Closes the idle connections first, so that none waits for a person; the next transaction opens its own.
    async fn rest(&self) {
        self.sides.source.server().close().await;
        self.sides.target.server().close().await;
        self.screen.clear();
    }

    async fn line(&self, question: &[String]) -> Result<String> {
        self.rest().await;
        ask(question);
        read_line().await
    }
}

/// A line from the terminal, read on a thread of its own, so that a signal is still heard.
pub(super) async fn read_line() -> Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|bytes| (bytes, line))
    });
    let failed = |cause: String| Error::new(Kind::Declined, "could not read the answer").because(cause);
    match read.await {
        Ok(Ok((0, _))) => Err(failed("the terminal was closed".into())),
        Ok(Ok((_, line))) => Ok(line.trim().to_owned()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Asks for the name of a target that nobody has marked, saying what is known of it.
///
/// # Errors
/// [`Kind::Declined`] when another text is typed.
pub(super) async fn name_is_typed(ends: Ends<'_>, target: &Facts, stake: &Stake) -> Result<()> {
    let Size { books, users } = stake.target;
    let address = target.address.as_deref().unwrap_or("a local socket");
    let users = users.map(|users| format!(" and {}", plural(users, "user", "users"))).unwrap_or_default();
    let mut lines = vec![format!(
        "{} was never marked as a development database. Its server is at {address} and it holds {}{users}.",
        ends.target,
        plural(books, "book", "books"),
    )];
    lines.extend(stake.clauses().iter().map(|clause| sentence(clause)));
    lines.push(format!(
        "If it is a development database and not production, type its name, {}: ",
        ends.name()
    ));
    ask(&lines);
    ends.check_typed(&read_line().await?)
}

/// A clause that stands alone.
fn sentence(clause: &str) -> String {
    let mut chars = clause.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    let end = if clause.ends_with('?') { "" } else { "." };
    first.into_iter().chain(chars).chain(end.chars()).collect()
}

/// Whether an answer means yes.
pub(super) fn is_yes(answer: &str) -> bool {
    matches!(answer.to_lowercase().as_str(), "y" | "yes")
}

#[async_trait]
impl Ask for Prompt<'_> {
    fn show(&self, found: &Preflight, owners: &Owners) {
        self.screen.note_all(&header(self.sides, found, owners));
    }

    fn waits(&self) -> bool {
        !self.yes && on_terminal()
    }

    fn answerable(&self) -> Result<()> {
        if self.yes || on_terminal() { Ok(()) } else { Err(nobody_to_ask(CHANGE)) }
    }

    async fn resume(&self, unfinished: &Unfinished) -> Result<bool> {
        let Unfinished { run_id, strategy, started_at, state, .. } = unfinished;
        let began = started_at.get(..16).unwrap_or(started_at).replace('T', " ");
        let question = format!(
            "Run {run_id} ({}, begun {began} UTC) ended early: {}. Resume it? [Y/n] ",
            strategy.name(),
            value(state)
        );
        let answer = self.line(&[question]).await?;
        Ok(answer.is_empty() || is_yes(&answer))
    }

    async fn choose_owner(&self, users: &[User], preselected: Option<i32>) -> Result<Owner> {
        if !on_terminal() {
            return Err(declined("could not choose among the target's users")
                .because(format!("there are {} of them and nobody can be asked", users.len()))
                .hint("add `--user-id N` or `--user-email EMAIL`; `dewey-sync users` lists them"));
        }
        let width = users.iter().map(|user| user.id.to_string().len()).max().unwrap_or(1);
        let listed = users.iter().map(|user| {
            let mark = if Some(user.id) == preselected { '*' } else { ' ' };
            format!("{mark} {:>width$}  {}", user.id, value(&user.email))
        });
        self.screen.clear();
        let Endpoint { origin, .. } = self.sides.target.server().endpoint();
        say(&format!("Users of {}, from {origin}:", self.sides.target.server().endpoint()));
        say_all(listed);
        let offer = preselected.map_or_else(String::new, |id| format!(" [{id}]"));
        for _ in 0..TRIES {
            let answer =
                self.line(&[format!("Which user should own the books? Id or e-mail{offer}: ")]).await?;
            let chosen = match (answer.as_str(), preselected) {
                ("", Some(id)) => users.iter().find(|user| user.id == id),
                (answer, _) => {
                    users.iter().find(|user| user.email == answer || user.id.to_string() == answer)
                }
            };
            if let Some(user) = chosen {
                return Ok(Owner { user: user.clone(), how: "chosen" });
            }
        }
        Err(declined("no owner was chosen"))
    }

    async fn mark(&self, found: &Preflight) -> Result<()> {
        let (ends, stake) = (self.sides.ends(), found.stake());
        if self.yes || !on_terminal() {
            return Err(ends.unmarked(&stake, None));
        }
        self.rest().await;
        name_is_typed(ends, &found.target, &stake).await
    }

    async fn confirm(&self, found: &Preflight, owners: &Owners) -> Result<()> {
        let question = question(self.sides, found, owners);
        self.ask(found, owners, "whether to replace the target's books", question).await
    }

    async fn confirm_changes(&self, found: &Preflight, owners: &Owners, changes: &Changes) -> Result<()> {
        let target = self.sides.target.server().endpoint();
        let mut question = changed(changes);
        question.extend(triggers::told(&found.target));
        question.push(format!("Change the books of {target}? [y/N] "));
        self.ask(found, owners, CHANGE, question).await
    }
}

impl Prompt<'_> {
    /// Asks `question`, unless a flag has answered it.
    async fn ask(&self, found: &Preflight, owners: &Owners, what: &str, question: Vec<String>) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if !on_terminal() {
            return Err(nobody_to_ask(what));
        }
        // What a silent screen did not show belongs to the question.
        let shown = self.screen.shows_notes();
        let context = if shown { Vec::new() } else { header(self.sides, found, owners) };
        if is_yes(&self.line(&[context, question].concat()).await?) {
            return Ok(());
        }
        Err(declined("the sync was declined"))
    }
}

/// What an apply changes, in numbers.
pub(super) fn changed(changes: &Changes) -> Vec<String> {
    let Changes { new, changed, removed, unchanged, private, dependents } = changes;
    let [added, altered, removed, unchanged] =
        [new, changed, removed, unchanged].map(|books| grouped(*books));
    let mut lines = vec![format!(
        "Books: {added} to add, {altered} to change, {removed} to delete (not in production), {unchanged} unchanged."
    )];
    if *private > 0 {
        lines.push(format!("{} of the books to add or change are PRIVATE in production.", grouped(*private)));
    }
    lines.extend(losses(dependents).map(|lost| format!("Also lost: {}.", describe(lost))));
    lines
}

/// Both sides, where each URL came from, and the owner.
fn header(sides: &Sides, found: &Preflight, owners: &Owners) -> Vec<String> {
    let endpoints = [sides.source.server().endpoint(), sides.target.server().endpoint()];
    let shown = endpoints.map(ToString::to_string);
    let width = shown.iter().map(|name| columns(name)).max().unwrap_or_default();
    let encrypted = [&found.source, &found.target].map(|facts| facts.tls == Some(true));
    let side = |index: usize, facts: &Facts, read_only: &str| {
        let Endpoint { side, origin, .. } = endpoints[index];
        let name = padded(&shown[index], width);
        let version = facts.major_version();
        // Without a column for what neither side has, the line fits a terminal of 80.
        let tls = match encrypted {
            [false, false] => "",
            _ if encrypted[index] => "  TLS",
            _ => "     ",
        };
        let line = format!("{side}  {name}  PostgreSQL {version}{tls}  {read_only:9}  {origin}");
        line.trim_end().to_owned()
    };
    let mut lines = vec![side(0, &found.source, "read-only"), side(1, &found.target, "")];
    if let Some(Owner { user: User { id, email, .. }, how }) = &owners.others {
        lines.push(format!("owner   {} (user {id}, {how})", value(email)));
    }
    if !owners.named.is_empty() {
        let named = owners.named.iter().map(|(from, to)| format!("{} to {}", from.0, to.0));
        lines.push(format!("owners  {} as the owner map says", named.collect::<Vec<_>>().join(", ")));
    }
    lines
}

/// `all owned by ada@example.org`.
pub(super) fn owned(owners: &Owners) -> String {
    match &owners.others {
        Some(owner) if owners.named.is_empty() => format!("all owned by {}", value(&owner.user.email)),
        Some(owner) => format!("owned as the owner map says, the others by {}", value(&owner.user.email)),
        None => "owned as the owner map says".into(),
    }
}

/// What will be deleted and copied, as the question before it.
fn question(sides: &Sides, found: &Preflight, owners: &Owners) -> Vec<String> {
    let target = sides.target.server().endpoint();
    let mut lines = vec![
        replaced(found),
        format!(
            "{} books of production will replace them, {}.",
            grouped(found.source_books.books),
            owned(owners)
        ),
    ];
    lines
        .extend(losses(&found.target_books.dependents).map(|lost| format!("Also lost: {}.", describe(lost))));
    lines.extend(triggers::told(&found.target));
    lines.push(format!("Replace the books of {target}? [y/N] "));
    lines
}

/// `412 books will be deleted: 400 of ada@example.org, 12 of bob@example.org.`
pub(super) fn replaced(found: &Preflight) -> String {
    let books = &found.target_books;
    let owners: Vec<String> = books
        .owners
        .iter()
        .flatten()
        .map(|owner| format!("{} of {}", grouped(owner.books), value(&owner.email)))
        .collect();
    let whose = if owners.is_empty() { String::new() } else { format!(": {}", owners.join(", ")) };
    format!("{} books will be deleted{whose}.", grouped(books.books))
}
