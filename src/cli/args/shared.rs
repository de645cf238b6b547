//! Arguments that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::dependents::Agreement;
use crate::preflight::guard::owner::OwnerChoice;
use crate::retry::Policy;
use crate::sync::request::Tuning;

#[derive(Debug, Clone, Args)]
pub(crate) struct OwnerArgs {
    /// Id of the target's user who owns the books (see `users`) [default: the only user]
    #[arg(long, value_name = "N", conflicts_with = "user_email", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) user_id: Option<i32>,
    /// The same user by e-mail
    #[arg(long, value_name = "EMAIL")]
    pub(crate) user_email: Option<String>,
    /// Owner map: the target's owner for each of production's owners [default: `[owners]` in `dewey-sync.toml`, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) owner_map: Option<PathBuf>,
}

impl OwnerArgs {
    pub(crate) fn wanted(&self) -> OwnerChoice {
        match (self.user_id, &self.user_email) {
            (Some(id), _) => OwnerChoice::Id(id),
            (None, Some(email)) => OwnerChoice::Email(email.clone()),
            (None, None) => OwnerChoice::Any,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConsentArgs {
    /// Skip the confirmation; safety checks still apply
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// With `--yes`: also delete or change rows of other tables that foreign keys or triggers tie to deleted or changed books
    #[arg(long)]
    pub(crate) allow_cascade: bool,
}

impl ConsentArgs {
    pub(crate) fn agreement(&self) -> Agreement {
        match (self.allow_cascade, self.yes) {
            (true, _) => Agreement::ByFlag,
            (false, false) => Agreement::ByQuestion,
            (false, true) => Agreement::Unasked,
        }
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tuning")]
pub(crate) struct PatienceArgs {
    /// Retries after a transient error
    #[arg(long, value_name = "N", default_value_t = 3, hide_short_help = true)]
    pub(crate) max_retries: u32,
    /// Delay before the first retry, such as `500ms` or `2s`; it doubles for each next one, up to 30s
    #[arg(long, value_name = "TIME", default_value = "1s", hide_short_help = true)]
    #[arg(value_parser = |text: &str| duration(text, Duration::ZERO))]
    pub(crate) retry_delay: Duration,
    /// Time limit per statement of a batch, such as `30s` or `2m`; longer statements fail when the server is silent for this long
    #[arg(long, value_name = "TIME", default_value = "30s", hide_short_help = true)]
    #[arg(value_parser = |text: &str| duration(text, Duration::from_millis(100)))]
    pub(crate) batch_timeout: Duration,
    /// How long to wait for another run on the target to end, such as `30s` or `5m`
    #[arg(long, value_name = "TIME", default_value = "3s")]
    #[arg(value_parser = |text: &str| duration(text, Duration::ZERO))]
    pub(crate) lock_wait: Duration,
}

impl PatienceArgs {
    /// For work without batches.
    pub(crate) fn tuning(&self) -> Tuning {
        Tuning {
            batch_size: 1,
            jobs: 1,
            retry: Policy { retries_max: self.max_retries, delay_first: self.retry_delay },
            batch_timeout: self.batch_timeout,
            lock_wait: self.lock_wait,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MarkArgs {
    /// Mark the target as a development database, by the name of its database or as `NAME@HOST:PORT`; only if it is not production
    // Under `Options`, also where it is flattened into a struct with a heading.
    #[arg(long, value_name = "NAME", help_heading = None::<&'static str>)]
    pub(crate) mark_development: Option<String>,
}

/// Longer waits than this are mistakes, and the server's settings have limits.
pub(crate) const DURATION_MAX: Duration = Duration::from_hours(1);

pub(crate) fn duration(text: &str, min: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (min..=DURATION_MAX).contains(&duration) {
        return Ok(duration);
    }
    let [min, max] = [min, DURATION_MAX].map(humantime::format_duration);
    Err(format!("not between {min} and {max}"))
}
