//! `setup`: migrate, a user if there is none, sync.

use super::args::SyncArgs;
use super::session::Session;
use super::{migrate, sync, users};
use crate::error::Result;

pub(super) async fn run(session: &Session, args: &SyncArgs, email: &str) -> Result<()> {
    if !args.dry_run {
        let target = session.target()?;
        let prepared = session
            .unless_interrupted(async {
                migrate::up(session, &target, &args.tuning.mark).await?;
                if users::all(&target).await?.is_empty() {
                    users::add(session, &target, email, None, None).await?;
                }
                Ok(())
            })
            .await;
        target.server().close().await;
        prepared?;
    }
    Box::pin(sync::run(session, args)).await
}
