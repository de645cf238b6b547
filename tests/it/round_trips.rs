//! What a slow line to either server is charged for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::proxy::line::Line;
use crate::support::proxy::waits::Waits;
use crate::support::sandbox::{BOOKS, Sandbox, WAYS};
use crate::support::say;
use crate::support::servers::{SERVERS, connect, execute};

/// Both sides, connecting included, once there is a ledger.
const ROUND_TRIPS_MAX: [(&str, u64); 3] = [("staged", 45), ("atomic", 40), ("batched", 45)];

/// The same when both sides are equal.
const UNCHANGED_MAX: u64 = 28;

/// A server on another continent.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Waits that follow each other on the way to both sides, with default settings and SCRAM, by servers that are not asked for
/// encryption; each after what is done to the target.
const WAITS_MAX: [(&str, &str, usize); 3] = [
    ("into an empty book table", r#"DELETE FROM "Book""#, 17),
    ("with a change", r#"UPDATE "Book" SET title = title || '!' WHERE id % 50 = 0"#, 17),
    ("unchanged", "", 9),
];

/// On a busy machine one of two connections may lag behind the other one, and what would be waited for at the same time is
/// waited for twice. A run that waits too often by itself does so each time.
const RUNS: usize = 5;

fn without_encryption(url: &str) -> String {
    format!("{url}{}sslmode=disable", if url.contains('?') { '&' } else { '?' })
}

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
            say(&shown);
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
    for (what, before, most) in WAITS_MAX {
        let mut runs = Vec::new();
        while runs.len() < RUNS && runs.last().is_none_or(|(waits, _)| *waits > most) {
            execute(&sandbox.target_admin_url(), before).await;
            let waits = waits_of_a_sync(&sandbox).await;
            runs.push((waits.count(), waits.to_string()));
        }
        let (fewest, shown) = runs.into_iter().min().unwrap();
        let shown = format!("{what}: {fewest} waits\n{shown}");
        say(&shown);
        assert!(fewest <= most, "{shown}");
    }
}

async fn waits_of_a_sync(sandbox: &Sandbox) -> Arc<Waits> {
    let waits = Arc::<Waits>::default();
    let line = |side| Line::new(side, ROUND_TRIP, &waits);
    let source = Proxy::at_the_end_of(line("source"), SERVERS.source.port()).await;
    let target = Proxy::at_the_end_of(line("target"), SERVERS.target.port()).await;
    let urls = [source.through(&sandbox.source_url()), target.through(&sandbox.target_url())];
    let [source_url, target_url] = urls.map(|url| without_encryption(&url));
    sandbox.set_urls(&source_url, &target_url);
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    waits
}

#[tokio::test]
async fn the_trace_counts_what_the_line_carries() {
    /// TCP, start-up and twice SCRAM.
    const CONNECTING: u64 = 4;
    let sandbox = Sandbox::with_long_text(BOOKS).await;
    assert_eq!(sandbox.run(&["migrate", "up"]).await.code, Some(0));
    let mut source = connect(&sandbox.source_url()).await;
    let bytes = r#"SELECT sum(octet_length(record_send(b)))::float8 FROM "Book" b"#;
    let bytes: f64 = sqlx::query_scalar(bytes).fetch_one(&mut source).await.unwrap();
    let books_mib = bytes / f64::from(1 << 20);
    for (strategy, engine) in WAYS {
        let source = Proxy::start(SERVERS.source.port()).await;
        let target = Proxy::start(SERVERS.target.port()).await;
        let [source_url, target_url] = [
            without_encryption(&source.through(&sandbox.source_url())),
            without_encryption(&target.through(&sandbox.target_url())),
        ];
        sandbox.set_urls(&source_url, &target_url);
        execute(&sandbox.target_admin_url(), r#"DELETE FROM "Book""#).await;
        let run = sandbox.run(&["-vv", "sync", "--yes", "--strategy", strategy, "--engine", engine]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let whole = run.stderr.lines().find(|line| line.contains("whole: "));
        let whole = whole.unwrap_or_else(|| panic!("{run:?}"));
        for (side, proxy) in [("source", &source), ("target", &target)] {
            let requests = proxy.round_trips() - CONNECTING * proxy.connections();
            let told = format!("{side} {requests} round trips, ");
            assert!(whole.contains(&told), "{told} {whole}");
            let way = if side == "source" { " received" } else { " sent" };
            let of_side = whole.split(side).nth(1).unwrap();
            let told =
                of_side.split(", ").find_map(|part| part.split_once(&format!(" MiB{way}"))?.0.parse().ok());
            let told: f64 = told.unwrap_or_else(|| panic!("{side}: {whole}"));
            assert!((0.9..1.2).contains(&(told / books_mib)), "{told} of {books_mib} {whole}");
        }
    }
}
