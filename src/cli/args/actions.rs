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
        /// The user's id at the application's login service; without one the user cannot log in
        #[arg(long, value_name = "ID", value_parser = entered::one_line)]
        clerk_id: Option<String>,
        /// Name shown in the application [default: none]
        #[arg(long, value_name = "NAME", value_parser = entered::one_line)]
        name: Option<String>,
        #[command(flatten)]
        mark: MarkArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Create or update the ledger; in a schema without any of the application's tables, create those as well
    ///
    /// If you have the application, run `prisma migrate deploy` first: it creates all of the application's tables. Existing
    /// objects are adopted and never altered; if there are any, no table of the application is created.
    Up {
        #[command(flatten)]
        mark: MarkArgs,
    },
    /// Remove the ledger and the tables that `up` created; adopted tables stay
    Down {
        /// Skip the confirmation, which lists what is removed
        #[arg(short, long)]
        yes: bool,
    },
    /// List the objects that exist and who created them
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
    /// Also rehearse, as a sync does: write up to 100 books and roll them back. It uses up to 100 ids and runs triggers, with
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
    /// Leave both servers running and print their URLs
    #[arg(long)]
    pub(crate) keep: bool,
    /// Number of books in production, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 357)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) books: u32,
}
