//! `sync`: replaces the target's books by the source's.

use super::args::SyncArgs;
use super::end::{Details, Ended, Outcome, SyncEnd};
use super::output::{print_all, print_json};
use super::preview::Preview;
use super::prompt::Prompt;
use super::report::Report;
use super::session::Session;
use super::traced::Traced;
use crate::error::Result;
use crate::preflight::guard::target_identity::Marking;
use crate::preflight::{GuardOptions, Sides};
use crate::sync;
use crate::sync::call::Call;
use crate::sync::context::Context;
use crate::sync::intent::Intent;
use crate::sync::outcome::{SYNC, Synced, UNCHANGED};
use crate::sync::request::{Rehearsal, Request, Resume};
use crate::sync::tally::{Summary, Tally};
use crate::sync::verify::before::Compared;

pub(super) async fn run(session: &Session, args: &SyncArgs) -> Result<Ended> {
    let report = args.report.as_deref().map(Report::create).transpose()?;
    let (done, summary) = match session.sides(&args.owner, args.tuning.connect_timeout) {
        Ok(sides) => Box::pin(sync(session, args, &sides)).await,
        Err(error) => (Err(error), Summary::default()),
    };
    session.screen.clear();
    let end = end(args, summary);
    let ended = match done {
        Ok(done) => succeeded(session, args, end, done),
        Err(error) => Ended::failed(error, Details::Sync(Box::new(end))),
    };
    Ok(Ended { report, ..ended })
}

/// What there is to say however it ended: of the run, or before there is one, of the call.
fn end(args: &SyncArgs, summary: Summary) -> SyncEnd {
    let call = || (args.strategy.unwrap_or_default(), args.engine.unwrap_or_default());
    let (strategy, engine) = summary.how.unwrap_or_else(call);
    SyncEnd::new(summary.run_id, strategy, engine, summary)
}

/// How a sync succeeded.
enum Done {
    Synced(Synced),
    DryRun(Box<Intent>, Compared),
}

/// Shows what a dry run found, in front of its end.
fn succeeded(session: &Session, args: &SyncArgs, end: SyncEnd, done: Done) -> Ended {
    let (outcome, end) = match done {
        Done::Synced(Synced { nothing_to_do: true, verified, .. }) => {
            (Outcome::Unchanged, end.verified(verified))
        }
        Done::Synced(Synced { verified, .. }) => (Outcome::Verified, end.verified(verified)),
        Done::DryRun(intent, compared) => {
            let preview = Preview::new(&intent, &compared, end.strategy(), batch_size(args));
            if session.screen.is_json() {
                print_json(&preview);
            } else {
                print_all(preview.text());
            }
            (Outcome::DryRun, end.would_change(preview.changes()))
        }
    };
    Ended::new(outcome, Details::Sync(Box::new(end)))
}

fn batch_size(args: &SyncArgs) -> u64 {
    args.tuning.tuning(args.engine).batch_size.into()
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
        guards: GuardOptions {
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
