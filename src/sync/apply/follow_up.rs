//! What an apply is followed by.

use crate::postgres::Target;
use crate::postgres::query::Queries;
use crate::sync::context::Context;
use crate::sync::request::Tuning;

/// Asks what an apply is followed by, in a transaction of its own. Failing to is not the run's failure.
pub(crate) async fn follow_up<Q: Queries>(
    target: &Target,
    tuning: &Tuning,
    context: &Context<'_>,
    queries: impl Fn() -> Q,
) -> Option<Q::Answers> {
    let done = context.retry_on("the analysis", async |_| {
        let done = target.once(tuning.whole_table(), queries()).await;
        done.map_err(|fault| fault.error("could not analyse the new books"))
    });
    done.await.inspect_err(|error| tracing::info!(%error, "the new books were not analysed")).ok()
}
