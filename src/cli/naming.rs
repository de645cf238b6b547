//! The name that has to be typed before a database is changed.

use std::time::Duration;

use super::prompt::{name_is_typed, on_terminal};
use super::session::Session;
use crate::error::{Error, Result};
use crate::postgres::{Fault, Source, Target};
use crate::preflight::guard::target_identity::{Ends, Marking};
use crate::preflight::reach;
use crate::preflight::target_only::{CheckedTarget, check_target};

/// A run that is about to end is waited for.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(3);

/// How an unmarked target may come to be marked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming {
    /// By typing its name on a terminal, or by the flag.
    Typed,
    /// By the flag only: `--yes` answers no such question.
    ByFlag,
    /// By another command, because this one has no such flag.
    Elsewhere,
}

/// Reaches the target, and the source when one is configured, and passes the guards in front of every change that is no sync.
pub(super) async fn guarded(
    session: &Session,
    target: &Target,
    name: Option<&str>,
    naming: Naming,
) -> Result<CheckedTarget> {
    let source = session.source_if_configured()?;
    let checked = checked(target, source.as_ref(), name).await?;
    if checked.marking == Marking::MustBeTyped {
        named(session, target, source.as_ref(), &checked, naming).await?;
    }
    Ok(checked)
}

/// The guards without the one of the name.
pub(super) async fn checked(
    target: &Target,
    source: Option<&Source>,
    name: Option<&str>,
) -> Result<CheckedTarget> {
    reach(target.server()).await?;
    if let Some(source) = source {
        reach(source.server()).await?;
    }
    let checked = check_target(source, target, name).await;
    if let Some(source) = source {
        source.server().close().await;
    }
    checked.map_err(|error| error.state(UNCHANGED))
}

/// Whether an unmarked target is named.
pub(super) async fn named(
    session: &Session,
    target: &Target,
    source: Option<&Source>,
    CheckedTarget { facts, stake, .. }: &CheckedTarget,
    naming: Naming,
) -> Result<()> {
    let source = source.map(|source| source.server().endpoint());
    let ends = Ends { target: target.server().endpoint(), source };
    let named = match naming {
        Naming::Typed if on_terminal() => {
            target.server().close().await;
            session.screen.clear();
            name_is_typed(ends, facts, stake).await
        }
        Naming::Typed | Naming::ByFlag => Err(ends.unmarked(stake, None)),
        Naming::Elsewhere => Err(ends.unmarked(stake, Some("dewey-sync migrate up"))),
    };
    named.map_err(|error| error.state(UNCHANGED))
}

pub(super) fn failed(fault: Fault, doing: &str) -> Error {
    let kind = fault.kind_at_start();
    Error::new(kind, doing).because(fault).state("the target's schema is unchanged")
}

/// The state when nothing was written.
pub(super) const UNCHANGED: &str = "the target is unchanged";
