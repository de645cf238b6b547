//! One file a command; prompts; rendering. Nothing outside this folder and `progress` writes to the terminal.

mod args;
mod demo;
mod doctor;
mod end;
mod entered;
mod history;
mod log;
mod migrate;
pub mod naming;
mod output;
mod panic;
mod preview;
mod prompt;
mod removal;
mod report;
mod session;
mod setup;
mod signals;
mod sync;
mod traced;
mod undo;
mod usage;
mod users;
mod verify;

use std::ffi::OsString;

use clap::Parser;

use crate::config::Environment;
use crate::error::{Error, Kind, Result};
use args::{Cli, Command};
use end::Ended;
use output::{Stream, say, say_error};
use session::Session;
use signals::Interruption;

/// Parses `args`, runs the command, shows how it ended; the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    panic::tell_places_only();
    let args: Vec<OsString> = args.into_iter().collect();
    let environment = Environment::of_process();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
            return usage::show(error, &words, &environment);
        }
    };
    let colored = environment.allows_color(cli.global.color.wanted(), Stream::Err.is_terminal());
    log::log_to_stderr(&cli.global, colored);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: could not start: {error}"));
            return Kind::Internal.exit_code();
        }
    };
    let code = runtime.block_on(Box::pin(run(cli, environment, colored)));
    // A thread may still wait for an answer on the terminal.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli, environment: Environment, colored: bool) -> u8 {
    let interruption = match Interruption::listen() {
        Ok(interruption) => interruption,
        Err(error) => return finish(&error, colored),
    };
    let session = Session::new(cli.global, environment, interruption, cli.command.name());
    let done = panic::caught(command(&session, cli.command)).await;
    match session.end(done) {
        Ok(()) => 0,
        Err(error) => finish(&error, colored),
    }
}

async fn command(session: &Session, command: Command) -> Result<Ended> {
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
    say_error(error, colored);
    error.kind.exit_code()
}
