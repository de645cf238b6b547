//! What an apply is followed by.

use sqlx::postgres::PgRow;

use crate::postgres::Target;
use crate::sync::context::Context;
use crate::sync::request::Tuning;

/// Runs what an apply is followed by, in a transaction of its own; its rows. Failing to is not the run's failure.
pub(crate) async fn follow_up(
    target: &Target,
    tuning: &Tuning,
    context: &Context<'_>,
    sql: &str,
) -> Vec<PgRow> {
    let done = context.retry_on("the analysis", async |_| {
        let done = target.once(tuning.whole_table(), sql).await;
        done.map_err(|fault| fault.error("could not analyse the new books"))
    });
    done.await.unwrap_or_else(|error| {
        tracing::info!(%error, "the new books were not analysed");
        Vec::new()
    })
}
