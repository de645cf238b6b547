//! What a sync would do, without doing it.

use tokio_util::sync::CancellationToken;

use super::ask::Ask;
use super::decide::look;
use super::outcome::{SYNC, unchanged, unchanged_if_interrupted};
use super::prepared::Prepared;
use super::request::Request;
use super::tally::Tally;
use super::verify::before::{self, Compared};
use crate::error::Result;
use crate::preflight::{Sides, Spare};
use crate::retry::unless_cancelled;

/// Looks at everything that [`run`](super::run()) would look at, and writes nothing.
pub async fn preview(
    sides: &Sides,
    request: &Request,
    ask: &dyn Ask,
    cancel: &CancellationToken,
    progress: &Tally<'_>,
) -> Result<(Prepared, Compared)> {
    let previewed = async {
        crate::preflight::connect(sides, Spare::Unwanted, progress).await?;
        let prepared = look(sides, request, ask, progress).await?;
        let compared = before::compare(sides, &prepared, &request.tuning, progress).await;
        let compared = compared.map_err(unchanged)?;
        if let Compared::Different { dependents, .. } = &compared {
            let all = &prepared.found.target_books.dependents;
            let doomed = if prepared.strategy.removes_all() { all } else { dependents };
            crate::dependents::check(doomed, request.wishes.agreement).map_err(unchanged)?;
        }
        Ok((prepared, compared))
    };
    Box::pin(unless_cancelled(cancel, SYNC, previewed)).await.map_err(unchanged_if_interrupted)
}
