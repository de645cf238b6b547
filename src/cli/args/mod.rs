//! The command line as `--help` shows it.

mod actions;
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

const EXIT_CODES: &str = "\
Exit codes: 0 verified, or nothing to do; 1 internal error; 2 usage, configuration, credentials, no such database, \
table or user; 3 a guard refused; 4 the target differs from the source; 5 not completed; 6 unreachable after retries; \
7 another run is active; 8 declined; 130 SIGINT; 143 SIGTERM or SIGHUP";

/// Copies production's `"Book"` rows into a development database, under a local user, and verifies every row
#[derive(Debug, Parser)]
#[command(version, bin_name = "dewey-sync", after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Where `.env.production` (source) and `.env` (target) are
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// Read the source's URL from this file instead of `.env.production`
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) source_env: Option<PathBuf>,
    /// Read the target's URL from this file instead of `.env`
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) target_env: Option<PathBuf>,
    /// Schema mapping file (renamed, skipped and constant columns) [default: `dewey-sync.toml` beside the env files]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Output format: text, or JSON Lines on stdout
    #[arg(long, global = true, value_name = "FORM", default_value = "human")]
    pub(super) output: Output,
    /// Log more to stderr; twice for every step, and the round trips and bytes of each phase
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// No progress, only results and errors
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// When to use colour; `auto`: `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, then whether it is a terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
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
    Sync(SyncArgs),
    /// Compare both databases (read-only)
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
    /// Migrate, add a user if there is none, sync: a fresh development environment
    Setup {
        #[command(flatten)]
        sync: SyncArgs,
        /// The e-mail of the user that is added to a target without users
        #[arg(long, value_name = "EMAIL", default_value = "developer@example.org", value_parser = entered::email)]
        email: String,
    },
    /// Check everything a sync depends on and suggest fixes (read-only)
    Doctor(DoctorArgs),
    /// List past runs, or show one
    History {
        /// Run number [default: all]
        run: Option<i64>,
    },
    /// Restore what the last sync replaced
    Undo(UndoArgs),
    /// Walk through a sync on two temporary servers
    Demo(DemoArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct SyncArgs {
    /// Check and count everything; write nothing anywhere
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) consent: ConsentArgs,
    /// Accept that production has no books at all, though the target has some
    #[arg(long, hide_short_help = true)]
    pub(super) allow_empty_source: bool,
    #[command(flatten)]
    pub(super) owner: OwnerArgs,
    /// Resume an unfinished run [default: the newest]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "newest", conflicts_with = "dry_run")]
    #[arg(value_parser = resume)]
    pub(super) resume: Option<Resume>,
    /// Write the summary, success or failure, to this file: one JSON object
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) report: Option<PathBuf>,
    /// How the sync is split into transactions [default: staged]
    #[arg(long, value_enum)]
    pub(super) strategy: Option<Strategy>,
    /// Skip the rehearsal, which writes at most 100 books and rolls them back before anything else: it uses up to 100 ids and
    /// runs triggers, with their effects outside the database
    #[arg(long, hide_short_help = true)]
    pub(super) no_rehearsal: bool,
    /// How books are written [default: insert]
    #[arg(long, value_enum, hide_short_help = true, help_heading = "Tuning")]
    pub(super) engine: Option<Engine>,
    #[command(flatten)]
    pub(super) tuning: TuningArgs,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tuning")]
pub(super) struct TuningArgs {
    /// Maximum books per batch [default: 1000, with `--engine copy` 3000]
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) batch_size: Option<u32>,
    /// Batches copied in parallel (not with `atomic`)
    #[arg(long, value_name = "N", default_value_t = 2, hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) jobs: u8,
    #[command(flatten)]
    pub(super) patience: PatienceArgs,
    /// Time limit per connection attempt [default: the URL's `connect_timeout`, else 10s]
    #[arg(long, value_name = "D", hide_short_help = true)]
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
