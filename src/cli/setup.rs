//! `setup`: migrate, a user if there is none, sync.

use serde_json::json;

use super::args::SyncArgs;
use super::end::Ended;
use super::naming::Naming;
use super::output::{print, print_json};
use super::session::Session;
use super::{migrate, sync, users};
use crate::error::Result;

pub(super) async fn run(session: &Session, args: &SyncArgs, email: &str) -> Result<Ended> {
    if !args.dry_run {
        let target = session.target()?;
        let naming = if args.consent.yes { Naming::ByFlag } else { Naming::Typed };
        let preparing = async {
            let objects = migrate::up(session, &target, &args.tuning.mark, naming).await?;
            migrate::show_step(session, &objects);
            if users::all(&target).await?.is_empty() {
                let added = users::add(&target, email.to_owned(), None, None).await?;
                if session.screen.is_json() {
                    print_json(&json!({ "event": "user_added", "user": added }));
                } else {
                    print(&added.text());
                }
            }
            Ok(())
        };
        let prepared = Box::pin(session.unless_interrupted(preparing)).await;
        target.server().close().await;
        prepared?;
    }
    Box::pin(sync::run(session, args)).await
}
