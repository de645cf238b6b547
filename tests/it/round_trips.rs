//! What a slow line to either server is charged for.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::proxy::line::Line;
use crate::support::proxy::waits::Waits;
use crate::support::sandbox::Sandbox;
use crate::support::servers::{SERVERS, connect, execute};

/// Both sides, connecting included, once there is a ledger.
const ROUND_TRIPS_MAX: [(&str, u64); 3] = [("staged", 45), ("atomic", 40), ("batched", 45)];

/// The same when both sides are equal.
const UNCHANGED_MAX: u64 = 28;

/// A server on another continent.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Waits that follow each other on the way to both sides, with default settings and SCRAM, by servers that are not asked for
/// encryption.
const WAITS_MAX: [(&str, usize); 2] = [("into an empty book table", 16), ("unchanged", 9)];

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

#[tokio::test]
async fn waits_at_the_same_time_count_once() {
    /// Connecting waits for TCP, encryption, start-up and twice for SCRAM.
    const ONE_AFTER_THE_OTHER: usize = 5 + 3;
    let sandbox = Sandbox::with_books(0).await;
    let waits = Arc::<Waits>::default();
    let line = |side| Line::new(side, ROUND_TRIP, &waits);
    let source = Proxy::at_the_end_of(line("source"), SERVERS.source.port()).await;
    let target = Proxy::at_the_end_of(line("target"), SERVERS.target.port()).await;
    let client = async |url: String| {
        let mut connection = connect(&url).await;
        for _ in 0..3 {
            sqlx::raw_sql("SELECT 1; SELECT 2").execute(&mut connection).await.unwrap();
        }
    };
    let started = Instant::now();
    tokio::join!(
        client(source.through(&sandbox.source_url())),
        client(target.through(&sandbox.target_url()))
    );
    let took = started.elapsed();
    assert!((ONE_AFTER_THE_OTHER..2 * ONE_AFTER_THE_OTHER).contains(&waits.count()), "{waits}");
    assert!(took >= ROUND_TRIP * u32::try_from(waits.count()).unwrap(), "{took:?}\n{waits}");
}

#[tokio::test]
async fn a_run_over_357_books_waits_seldom_for_the_line() {
    let sandbox = Sandbox::new().await;
    assert_eq!(sandbox.run(&["migrate", "up"]).await.code, Some(0));
    for (what, most) in WAITS_MAX {
        let waits = Arc::<Waits>::default();
        let line = |side| Line::new(side, ROUND_TRIP, &waits);
        let source = Proxy::at_the_end_of(line("source"), SERVERS.source.port()).await;
        let target = Proxy::at_the_end_of(line("target"), SERVERS.target.port()).await;
        let [source, target] = [source.through(&sandbox.source_url()), target.through(&sandbox.target_url())]
            .map(|url| format!("{url}{}sslmode=disable", if url.contains('?') { '&' } else { '?' }));
        sandbox.set_urls(&source, &target);
        let started = Instant::now();
        let run = sandbox.run(&["sync", "--yes"]).await;
        let took = started.elapsed();
        assert_eq!(run.code, Some(0), "{run:?}");
        let shown = format!("{what}: {} waits, {took:.2?}\n{waits}", waits.count());
        writeln!(std::io::stdout(), "{shown}").unwrap();
        assert!(waits.count() <= most, "{shown}");
    }
}
