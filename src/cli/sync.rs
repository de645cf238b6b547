//! `sync`: replaces the target's books by the source's.

use std::time::{Duration, Instant};

use serde_json::json;

use super::args::SyncArgs;
use super::output::{error_json, grouped, plural, print_all, print_json};
use super::prompt::{Prompt, changed, owned, replaced};
use super::report::Report;
use super::session::Session;
use super::traced::Traced;
use crate::dependents::{Dependents, describe, losses as lost};
use crate::error::Result;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::guard::triggers;
use crate::preflight::{Preflight, Sides, Wishes};
use crate::printable::cut;
use crate::sync::call::Call;
use crate::sync::changes::Changes;
use crate::sync::context::Context;
use crate::sync::intent::Intent;
use crate::sync::outcome::{MODE, SYNC, Synced, UNCHANGED, Verified};
use crate::sync::request::{Rehearsal, Request, Resume, Strategy};
use crate::sync::tally::{Summary, Tally};
use crate::sync::verify::before::Compared;
use crate::sync::{self, losses};
use crate::transfer::engine::Engine;

/// A title stands alone on a line of 80 columns.
const TITLE_COLUMNS: usize = 78;

pub(super) async fn run(session: &Session, args: &SyncArgs) -> Result<()> {
    let started = Instant::now();
    let report = args.report.as_deref().map(Report::create).transpose()?;
    let (done, summary) = match session.sides(&args.owner, args.tuning.connect_timeout) {
        Ok(sides) => Box::pin(sync(session, args, &sides)).await,
        Err(error) => (Err(error), Summary::default()),
    };
    let done = done.map_err(|error| session.interruption.attribute(error));
    session.screen.clear();
    let ended = Ended { args, summary, duration: started.elapsed() };
    if let Some(report) = report {
        report.write(&ended.json(&done));
    }
    if session.screen.is_json() {
        if let Ok(Done::DryRun(intent, compared)) = &done {
            print_json(&ended.preview_json(intent, compared));
        }
        session.end(&ended.json(&done));
    } else if let Ok(done) = &done {
        print_all(ended.text(done));
    }
    done.map(drop)
}

/// How a sync succeeded.
enum Done {
    Synced(Synced),
    DryRun(Box<Intent>, Compared),
}

async fn sync(session: &Session, args: &SyncArgs, sides: &Sides) -> (Result<Done>, Summary) {
    let traced = Traced::new(&session.screen, sides);
    let tally = Tally::new(&traced);
    let prompt = Prompt { sides, screen: &session.screen, yes: args.consent.yes };
    let request = request(args);
    let (policy, cancel) = (request.tuning.retry, &session.interruption.token);
    let context = Context { work: SYNC, policy, cancel, progress: &tally };
    let call = Call { sides, request: &request, ask: &prompt, context };
    let done = if args.dry_run {
        preview(call, &prompt).await
    } else {
        Box::pin(sync::run(call)).await.map(Done::Synced)
    };
    tokio::join!(sides.source.server().close(), sides.target.server().close());
    traced.end();
    (done, tally.summary())
}

async fn preview(call: Call<'_>, prompt: &Prompt<'_>) -> Result<Done> {
    let (intent, compared) = Box::pin(sync::preview::preview(call)).await?;
    if intent.marking == Marking::MustBeTyped && prompt.yes {
        return Err(call.sides.ends().unmarked(&intent.found.stake(), None).state(UNCHANGED));
    }
    Ok(Done::DryRun(Box::new(intent), compared))
}

fn request(args: &SyncArgs) -> Request {
    Request {
        wishes: Wishes {
            owner: args.owner.wanted(),
            mark_development: args.tuning.mark.mark_development.clone(),
            agreement: args.consent.agreement(),
            empty_source: args.empty_source(),
        },
        strategy: args.strategy,
        engine: args.engine,
        resume: args.resume.unwrap_or(Resume::Offer),
        rehearsal: if args.no_rehearsal { Rehearsal::LeftOut } else { Rehearsal::Wanted },
        tuning: args.tuning.tuning(args.engine),
        os_user: whoami::username().unwrap_or_default(),
        host: whoami::hostname().unwrap_or_default(),
    }
}

/// Everything that the last line says.
struct Ended<'a> {
    args: &'a SyncArgs,
    summary: Summary,
    duration: Duration,
}

impl Ended<'_> {
    fn json(&self, done: &Result<Done>) -> serde_json::Value {
        let (outcome, exit_code) = match done {
            Ok(Done::Synced(Synced { nothing_to_do: true, .. })) => ("unchanged", 0),
            Ok(Done::Synced(_)) => ("verified", 0),
            Ok(Done::DryRun(..)) => ("dry_run", 0),
            Err(error) => (error.kind.outcome(), error.kind.exit_code()),
        };
        let fingerprint = match done {
            Ok(Done::Synced(synced)) => Some(synced.verified.fingerprint()),
            _ => None,
        };
        json!({
            "event": "end",
            "run_id": self.summary.run_id,
            "outcome": outcome,
            "exit_code": exit_code,
            "strategy": self.strategy(),
            "mode": MODE,
            "engine": self.engine(),
            "counts": self.summary.counts,
            "batches": self.summary.batches,
            "losses": self.summary.losses,
            "not_undone": self.summary.not_undone,
            "retries": self.summary.retries,
            "apply_ms": self.summary.apply_ms,
            "duration_ms": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "fingerprint": fingerprint.map(|print| json!({ "rows": print.rows, "digest": print.digest_hex() })),
            "error": done.as_ref().err().map(error_json),
        })
    }

    /// That of the run; before there is one, that of the call.
    fn strategy(&self) -> Strategy {
        self.summary.how.map_or_else(|| self.args.strategy.unwrap_or_default(), |(strategy, _)| strategy)
    }

    fn engine(&self) -> Engine {
        self.summary.how.map_or_else(|| self.args.engine.unwrap_or_default(), |(_, engine)| engine)
    }

    fn preview_json(&self, intent: &Intent, compared: &Compared) -> serde_json::Value {
        let Intent { found, owners, .. } = intent;
        json!({
            "event": "preview",
            "source_books": found.source_books.books,
            "source_private_books": found.source_books.private,
            "target_books": found.target_books.books,
            "changes": changes(found, compared),
            "owners_remapped": found.source_books.owners,
            "owner": owners.others.as_ref().map(|owner| &owner.user),
            "owner_map": owners.named,
            "batches": self.batches_planned(found),
            "titles": found.source_books.titles,
            "dependents": predicted(found, compared, intent.strategy),
            "triggers": found.target.triggers.as_deref().unwrap_or_default(),
            "marked": intent.marking == Marking::Marked,
        })
    }

    fn batches_planned(&self, found: &Preflight) -> u64 {
        found.source_books.books.div_ceil(u64::from(self.args.tuning.tuning(self.args.engine).batch_size))
    }

    fn text(&self, done: &Done) -> Vec<String> {
        match done {
            Done::Synced(Synced { nothing_to_do: true, verified, .. }) => nothing_to_do(verified),
            Done::Synced(synced) => self.synced_text(synced),
            Done::DryRun(intent, compared) => {
                let mut lines = match compared {
                    Compared::Equal(verified) => nothing_to_do(verified),
                    Compared::Different { .. } => self.preview_text(intent, compared),
                };
                lines.push("Nothing was written.".into());
                lines
            }
        }
    }

    fn synced_text(&self, synced: &Synced) -> Vec<String> {
        let Summary { counts, batches, retries, apply_ms, .. } = self.summary;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "shown without digits"
        )]
        let per_second = (counts.exported as f64 / self.summary.copying.as_secs_f64()) as u64;
        let retried =
            if retries == 0 { String::new() } else { format!("  {}", plural(retries, "retry", "retries")) };
        let speed = format!(
            "{} books/s  {}{retried}",
            grouped(per_second),
            plural(batches.done as u64, "batch", "batches")
        );
        let mut lines = match apply_ms {
            Some(apply_ms) => vec![
                format!("staged    {} books  {speed}", grouped(counts.exported)),
                format!(
                    "applied   {} new, {} changed, {} removed, {} unchanged  in {} ms",
                    grouped(counts.inserted),
                    grouped(counts.updated),
                    grouped(counts.deleted),
                    grouped(counts.unchanged),
                    grouped(apply_ms)
                ),
            ],
            None => vec![
                format!("removed   {} old books", grouped(counts.deleted)),
                format!("copied    {}/{}  {speed}", grouped(counts.inserted), grouped(counts.exported)),
            ],
        };
        let Summary { losses, not_undone, .. } = &self.summary;
        if !losses.is_empty() {
            lines.push(format!("elsewhere {}", losses::describe(losses)));
        }
        if !not_undone.is_empty() {
            lines.push(format!("note      `undo` does not restore {}", losses::describe(not_undone)));
        }
        lines.push(verified_line(&synced.verified));
        lines
    }

    fn preview_text(&self, intent: &Intent, compared: &Compared) -> Vec<String> {
        let Intent { found, owners, .. } = intent;
        let source = &found.source_books;
        let mut lines = Vec::new();
        if self.strategy().removes_all() {
            lines.push(replaced(found).replace("are removed", "would be removed"));
            lines.extend(
                lost(&found.target_books.dependents)
                    .map(|lost| format!("Lost with the old ones: {}.", describe(lost))),
            );
            if let Compared::Different { dependents, .. } = compared {
                let [all, fewer] = [&found.target_books.dependents, dependents]
                    .map(|found| lost(found).map(|lost| lost.rows).sum::<u64>());
                if all > fewer {
                    let kept = grouped(all - fewer);
                    lines.push(format!("`--strategy staged` would keep {kept} of these {}.", grouped(all)));
                }
            }
        } else if let Some(changes) = changes(found, compared) {
            lines.extend(changed(&changes));
        }
        lines.push(format!(
            "{} books of {} would be copied in {}, {}.",
            grouped(source.books),
            plural(source.owners, "owner", "owners"),
            plural(self.batches_planned(found), "batch", "batches"),
            owned(owners)
        ));
        if source.private > 0 {
            lines.push(format!("{} of them are PRIVATE in production.", grouped(source.private)));
        }
        if intent.marking == Marking::MustBeTyped {
            lines.push(
                "The target is not marked as a development database: its name would have to be typed.".into(),
            );
        }
        lines.extend(triggers::told(&found.target));
        let titles = source.titles.as_deref().unwrap_or_default();
        lines.extend(titles.iter().map(|title| format!("  {}", cut(title, TITLE_COLUMNS))));
        lines
    }
}

/// Rows that foreign keys delete or change along.
fn predicted<'a>(found: &'a Preflight, compared: &'a Compared, strategy: Strategy) -> &'a [Dependents] {
    match compared {
        _ if strategy.removes_all() => &found.target_books.dependents,
        Compared::Different { dependents, .. } => dependents,
        Compared::Equal(_) => &[],
    }
}

/// What `staged` would change.
fn changes(found: &Preflight, compared: &Compared) -> Option<Changes> {
    let Compared::Different { difference, dependents } = compared else { return None };
    let crate::sync::verify::Difference { missing, extra, different } = *difference;
    Some(Changes {
        new: missing,
        changed: different,
        removed: extra,
        unchanged: found.target_books.books.saturating_sub(extra + different),
        private: 0,
        dependents: dependents.clone(),
    })
}

fn nothing_to_do(verified: &Verified) -> Vec<String> {
    vec!["unchanged nothing to do".into(), verified_line(verified)]
}

fn verified_line(verified: &Verified) -> String {
    let time = verified.snapshot_at().get(11..19).unwrap_or_default();
    let books = grouped(verified.fingerprint().rows.unsigned_abs());
    format!("verified  {books} books, every copied column and the owner, as production stood at {time} UTC")
}
