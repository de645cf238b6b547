//! What a sync would do, without doing it.

use super::call::Call;
use super::decide::look;
use super::intent::Intent;
use super::outcome::{unchanged, unchanged_if_interrupted};
use super::verify::before::{self, Compared};
use crate::error::Result;

/// Looks at everything that [`run`](super::run()) would look at, and writes nothing.
pub async fn preview(call: Call<'_>) -> Result<(Intent, Compared)> {
    let previewed = async {
        crate::preflight::connect(call.sides, call.context.progress).await?;
        let intent = look(call).await?;
        let compared = before::compare(call, &intent).await.map_err(unchanged)?;
        if let Compared::Different { dependents, .. } = &compared {
            let all = &intent.found.target_books.dependents;
            let deleted = if intent.strategy.removes_all() { all } else { dependents };
            crate::dependents::check(deleted, call.request.guards.agreement).map_err(unchanged)?;
        }
        Ok((intent, compared))
    };
    call.context.cancellable(previewed).await.map_err(unchanged_if_interrupted)
}
