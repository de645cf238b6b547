//! What a slow line to either server is charged for.

use std::io::Write;

use crate::support::proxy::Proxy;
use crate::support::sandbox::Sandbox;
use crate::support::servers::{SERVERS, execute};

/// Both sides, connecting included, once there is a ledger.
const ROUND_TRIPS_MAX: [(&str, u64); 3] = [("staged", 60), ("atomic", 45), ("batched", 55)];

/// The same when both sides are equal.
const UNCHANGED_MAX: u64 = 32;

#[tokio::test]
async fn a_run_over_357_books_takes_few_round_trips() {
    let sandbox = Sandbox::new().await;
    assert_eq!(sandbox.run(&["migrate", "up"]).await.code, Some(0));
    for (strategy, most) in ROUND_TRIPS_MAX {
        execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
        for (what, most) in [("every book changed", most), ("unchanged", UNCHANGED_MAX)] {
            let source = Proxy::start(SERVERS.source.port()).await;
            let target = Proxy::start(SERVERS.target.port()).await;
            sandbox.set_urls(&source.through(&sandbox.source_url()), &target.through(&sandbox.target_url()));
            let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
            assert_eq!(run.code, Some(0), "{run:?}");
            let (source, target) = (source.round_trips(), target.round_trips());
            let shown = format!("`{strategy}`, {what}: {source} + {target} round trips (source, target)");
            writeln!(std::io::stdout(), "{shown}").unwrap();
            assert!(source + target <= most, "{shown}");
        }
    }
}
