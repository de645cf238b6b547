//! One file a command; prompts; rendering. Nothing outside this folder and `progress` writes to the terminal.

mod args;
mod demo;
mod doctor;
mod history;
mod migrate;
mod output;
mod panic;
mod prompt;
mod removal;
mod report;
mod session;
mod setup;
mod signals;
mod sync;
mod traced;
mod undo;
mod users;
mod verify;

use std::ffi::OsString;
use std::sync::atomic::Ordering;

use clap::Parser;
use serde_json::json;

use crate::config::Environment;
use crate::error::{Error, Kind, Result};
use args::{Cli, Command, Global, Output};
use output::{colored, error_json, print_json, render_error, say};
use session::Session;
use signals::Interruption;

/// Parses `args`, runs the command, shows how it ended; the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    panic::tell_places_only();
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args),
    };
    log_to_stderr(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: could not start: {error}"));
            return Kind::Internal.exit_code();
        }
    };
    let code = runtime.block_on(Box::pin(run(cli)));
    // A thread may still wait for an answer on the terminal.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> u8 {
    let environment = Environment::of_process();
    let colored = colored(cli.global.color, environment.get("NO_COLOR").is_some());
    let json = cli.global.output == Output::Json;
    let interruption = match Interruption::listen() {
        Ok(interruption) => interruption,
        Err(error) => return finish(&error, colored),
    };
    let session = Session::new(cli.global, environment, interruption);
    let done = panic::caught(command(&session, cli.command)).await;
    match done.map_err(|error| session.interruption.attribute(error)) {
        Ok(()) => {
            session.screen.clear();
            0
        }
        Err(error) => {
            // A sync has written its own last line, with everything it counted.
            if json && !session.ended.load(Ordering::Acquire) {
                print_json(&json!({
                    "event": "end",
                    "outcome": error.kind.outcome(),
                    "exit_code": error.kind.exit_code(),
                    "error": error_json(&error),
                }));
            }
            session.screen.clear();
            finish(&error, colored)
        }
    }
}

async fn command(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Sync(args) => Box::pin(sync::run(session, &args)).await,
        Command::Verify(args) => Box::pin(verify::run(session, &args)).await,
        Command::Users { action } => Box::pin(users::run(session, action)).await,
        Command::Migrate { action } => Box::pin(migrate::run(session, action)).await,
        Command::Setup { sync, email } => Box::pin(setup::run(session, &sync, &email)).await,
        Command::History { run } => Box::pin(history::run(session, run)).await,
        Command::Undo(args) => Box::pin(undo::run(session, &args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(session, &args)).await,
        Command::Demo(args) => Box::pin(demo::run(session, &args)).await,
    }
}

fn finish(error: &Error, colored: bool) -> u8 {
    say(&render_error(error, colored));
    error.kind.exit_code()
}

/// A call that could not be parsed, or asked for help.
fn usage(error: &clap::Error, args: &[OsString]) -> u8 {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let told = error.render().to_string();
    let shown = without_urls(&told, &words);
    if shown == told {
        drop(error.print());
    } else {
        say(shown.trim_end());
    }
    if !error.use_stderr() {
        return 0;
    }
    if words.contains(&"--output=json") || words.windows(2).any(|pair| pair == ["--output", "json"]) {
        let kind = Kind::Usage;
        let message = shown.lines().next().unwrap_or_default();
        let error = Error::new(kind, message.strip_prefix("error: ").unwrap_or(message));
        print_json(&json!({
            "event": "end",
            "outcome": kind.outcome(),
            "exit_code": kind.exit_code(),
            "error": error_json(&error),
        }));
    }
    Kind::Usage.exit_code()
}

/// `text` without what follows `://` in a word of the call: a URL does not belong there, and may hold a password.
fn without_urls(text: &str, words: &[&str]) -> String {
    let rests =
        words.iter().filter_map(|word| Some(word.split_once("://")?.1)).filter(|rest| !rest.is_empty());
    rests.fold(text.to_owned(), |text, rest| text.replace(rest, "…"))
}

/// Our own records only: those of the driver may hold values.
fn log_to_stderr(global: &Global) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    let ours = Targets::new().with_target("dewey_sync", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(lines.without_time().with_filter(ours)).init();
}
