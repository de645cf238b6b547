//! The arguments of the smaller commands.

use clap::{Args, Subcommand};

use super::shared::{ConsentArgs, MarkArgs, OwnerArgs, PatienceArgs};
use crate::cli::entered;

#[derive(Debug, Subcommand)]
pub(crate) enum UsersAction {
    /// Add a user to the target
    Add {
        /// E-mail of the new user; must not exist yet
        #[arg(long, value_name = "EMAIL", value_parser = entered::email)]
        email: String,
        /// The id at the application's login service; without it the user cannot log in
        #[arg(long, value_name = "ID", value_parser = entered::one_line)]
        clerk_id: Option<String>,
        /// The name that the application shows
        #[arg(long, value_name = "NAME", value_parser = entered::one_line)]
        name: Option<String>,
        #[command(flatten)]
        mark: MarkArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Create the ledger or bring it up to date, and create the application's tables in a schema that has none of them
    ///
    /// Where the application is at hand, `prisma migrate deploy` is the better first step: it knows all of the
    /// application's tables. Objects that are there are adopted and never altered, and nothing is created beside them.
    Up {
        #[command(flatten)]
        mark: MarkArgs,
    },
    /// Remove the ledger and the tables that `up` created; never an adopted table
    Down {
        /// Skip the confirmation, which lists what goes
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what is there and who made it
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    #[command(flatten)]
    pub(crate) patience: PatienceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Also rehearse: write at most 100 books and roll them back, as a sync does. It uses up to 100 ids and runs triggers, with
    /// their effects outside the database
    #[arg(long)]
    pub(crate) rehearse: bool,
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
    #[command(flatten)]
    pub(crate) mark: MarkArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave both servers running and show their URLs
    #[arg(long)]
    pub(crate) keep: bool,
    /// How many books production has
    #[arg(long, value_name = "N", default_value_t = 357)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) books: u32,
}
