//! What a slow line to either server is charged for.

use std::io::Write;

use crate::support::proxy::Proxy;
use crate::support::sandbox::Sandbox;
use crate::support::servers::SERVERS;

/// Both sides, connecting included, once there is a ledger.
const ROUND_TRIPS_MAX: u64 = 30;

#[tokio::test]
async fn a_default_run_over_357_books_takes_few_round_trips() {
    let sandbox = Sandbox::new().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let source = Proxy::start(SERVERS.source.port()).await;
        let target = Proxy::start(SERVERS.target.port()).await;
        sandbox.set_urls(&source.through(&sandbox.source_url()), &target.through(&sandbox.target_url()));
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        runs.push((source.round_trips(), target.round_trips()));
    }
    let [first, second] = runs[..] else { panic!("{runs:?}") };
    let shown = format!(
        "round trips (source, target): {first:?} with a new ledger, {second:?} = {} afterwards",
        second.0 + second.1
    );
    writeln!(std::io::stdout(), "{shown}").unwrap();
    assert!(second.0 + second.1 <= ROUND_TRIPS_MAX, "{shown}");
}
