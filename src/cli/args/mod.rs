//! The command line as `--help` shows it.

mod actions;
mod after;
pub(super) mod shared;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::entered;
use crate::preflight::guard::empty_source::EmptySource;
use crate::sync::request::{Resume, Strategy, Tuning};
use crate::transfer::engine::Engine;
pub(super) use actions::{DemoArgs, DoctorArgs, MigrateAction, UndoArgs, UsersAction};
use shared::{ConsentArgs, MarkArgs, OwnerArgs, PatienceArgs, duration};

/// Copies production's `"Book"` rows into a development database, under a local user, and verifies every row
#[derive(Debug, Parser)]
#[command(version, bin_name = "dewey-sync", max_term_width = 100)]
#[command(after_help = after::BRIEF, after_long_help = after::exit_codes())]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Directory of `.env.production` (source), `.env` (target) and `dewey-sync.toml`
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// File with the source's URL [default: `.env.production` in `--dir`]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) source_env: Option<PathBuf>,
    /// File with the target's URL [default: `.env` in `--dir`]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) target_env: Option<PathBuf>,
    /// Schema mapping file: renamed, skipped and constant columns [default: `dewey-sync.toml` in `--dir`, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Output format: `human` is text, `json` is JSON Lines on stdout
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human", hide_possible_values = true)]
    pub(super) output: Output,
    /// Log more to stderr [default: warnings]; `-vv`: also every step, and the round trips and bytes of each phase
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Show only questions, results and errors: no progress, notes or warnings
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// When to use colour: `always`, `never`, or `auto`, which asks `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, then the terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(super) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Human,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// `verify` asks nothing, and knows the last sync.
const VERIFIED_OWNER: &str = "Id of the target's user who should own the books (see `users`) [default: as at the last sync, else the only user]";
/// `doctor` marks nothing.
const CHECKED_MARK: &str = "Check that a sync would accept this name: the database's, or `NAME@HOST:PORT`; only if it is not production";

impl Color {
    /// Whether the call wants it, if it says so.
    pub(super) fn wanted(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Always => Some(true),
            Self::Never => Some(false),
        }
    }

    /// [`Color::wanted`] of a call that cannot be parsed.
    pub(super) fn of_call(words: &[String]) -> Option<bool> {
        let next = || words.iter().skip_while(|word| *word != "--color").nth(1).map(String::as_str);
        let word = words.iter().find_map(|word| word.strip_prefix("--color=")).or_else(next)?;
        Self::from_str(word, false).ok()?.wanted()
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make development's books identical to production's and verify every row
    #[command(after_long_help = after::SYNC_EXAMPLES)]
    Sync(SyncArgs),
    /// Compare both databases (read-only)
    ///
    /// The exit code is 0 if the target equals the source, and 4 if it differs.
    #[command(mut_arg("user_id", |arg| arg.help(VERIFIED_OWNER)))]
    Verify(OwnerArgs),
    /// List the target's users, or add one
    Users {
        #[command(subcommand)]
        action: Option<UsersAction>,
    },
    /// Create, remove or list this tool's objects in the target
    Migrate {
        #[command(subcommand)]
        action: MigrateAction,
    },
    /// Set up a fresh development database: migrate, add a user if there is none, sync
    Setup {
        #[command(flatten)]
        sync: SyncArgs,
        /// E-mail of the user to add to a target without users
        #[arg(long, value_name = "EMAIL", default_value = "developer@example.org", value_parser = entered::email)]
        #[arg(help_heading = None::<&'static str>)]
        email: String,
    },
    /// Check everything a sync depends on and suggest fixes (read-only)
    #[command(mut_arg("mark_development", |arg| arg.help(CHECKED_MARK)))]
    Doctor(DoctorArgs),
    /// List past runs, or show one
    History {
        /// Run number [default: list all runs]
        run: Option<i64>,
    },
    /// Restore what the last sync replaced
    Undo(UndoArgs),
    /// Walk through a sync on two temporary servers
    Demo(DemoArgs),
}

impl Command {
    /// As it is typed.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sync(_) => "sync",
            Self::Verify(_) => "verify",
            Self::Users { action: None } => "users",
            Self::Users { action: Some(UsersAction::Add { .. }) } => "users add",
            Self::Migrate { action: MigrateAction::Up { .. } } => "migrate up",
            Self::Migrate { action: MigrateAction::Down { .. } } => "migrate down",
            Self::Migrate { action: MigrateAction::Status } => "migrate status",
            Self::Setup { .. } => "setup",
            Self::Doctor(_) => "doctor",
            Self::History { .. } => "history",
            Self::Undo(_) => "undo",
            Self::Demo(_) => "demo",
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct SyncArgs {
    /// Check and count everything; write nothing anywhere
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) consent: ConsentArgs,
    /// Accept a production without any books: delete all books of the target
    #[arg(long)]
    pub(super) allow_empty_source: bool,
    #[command(flatten)]
    pub(super) owner: OwnerArgs,
    /// Resume an unfinished run by its number (see `history`) [default: the newest]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "newest", conflicts_with = "dry_run")]
    #[arg(value_parser = resume)]
    pub(super) resume: Option<Resume>,
    /// Also write the summary, of success or failure, to this file: one JSON object
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// How the sync is split into transactions [default: staged; with `--resume`, as the run began]
    #[arg(long, value_enum)]
    pub(super) strategy: Option<Strategy>,
    /// Skip the rehearsal: it writes up to 100 books and rolls them back before anything else is written. It uses up to 100
    /// ids and runs triggers, with their effects outside the database
    #[arg(long)]
    pub(super) no_rehearsal: bool,
    /// How books are written [default: insert; with `--resume`, as the run began]
    #[arg(long, value_enum, help_heading = "Tuning")]
    pub(super) engine: Option<Engine>,
    #[command(flatten)]
    pub(super) tuning: TuningArgs,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tuning")]
pub(super) struct TuningArgs {
    /// Maximum books per batch, 1 to 1000000 [default: 1000, with `--engine copy` 3000]
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) batch_size: Option<u32>,
    /// Batches copied in parallel, 1 to 64; `atomic` copies one at a time
    #[arg(long, value_name = "N", default_value_t = 2, hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) jobs: u8,
    #[command(flatten)]
    pub(super) patience: PatienceArgs,
    /// Time limit per connection attempt, such as `500ms` or `30s` [default: the URL's `connect_timeout`, else 10s]
    #[arg(long, value_name = "TIME", hide_short_help = true)]
    #[arg(value_parser = |text: &str| duration(text, Duration::from_millis(100)))]
    pub(super) connect_timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) mark: MarkArgs,
}

fn resume(text: &str) -> Result<Resume, String> {
    match text.parse() {
        _ if text == "newest" => Ok(Resume::Newest),
        Ok(run_id) if run_id > 0 => Ok(Resume::Run(run_id)),
        _ => Err("not the number of a run".into()),
    }
}

impl SyncArgs {
    pub(super) fn empty_source(&self) -> EmptySource {
        if self.allow_empty_source { EmptySource::Allowed } else { EmptySource::Refused }
    }
}

impl TuningArgs {
    pub(super) fn tuning(&self, engine: Option<Engine>) -> Tuning {
        let batch_size = self.batch_size.unwrap_or_else(|| engine.unwrap_or_default().batch_size());
        Tuning { batch_size, jobs: usize::from(self.jobs), ..self.patience.tuning() }
    }
}
