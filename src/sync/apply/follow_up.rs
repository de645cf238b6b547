//! What an apply is followed by.

use sqlx::postgres::PgRow;
use tokio_util::sync::CancellationToken;

use crate::postgres::Target;
use crate::progress::Progress;
use crate::retry::retry;
use crate::sync::request::Tuning;

/// Runs what an apply is followed by, in a transaction of its own; its rows. Failing to is not the run's failure.
pub(crate) async fn follow_up(
    target: &Target,
    tuning: &Tuning,
    progress: &dyn Progress,
    sql: &str,
) -> Vec<PgRow> {
    let never = CancellationToken::new();
    let done = retry(tuning.retry, "the analysis", &never, progress, async |_| {
        let done = target.once(tuning.whole_table(), sql).await;
        done.map_err(|fault| fault.error("could not analyse the new books"))
    });
    done.await.unwrap_or_else(|error| {
        tracing::info!(%error, "the new books were not analysed");
        Vec::new()
    })
}
