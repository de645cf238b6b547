//! What a line to both servers that takes time makes of few books.

use std::sync::Arc;
use std::time::Duration;

use crate::Anyhow;
use crate::contestants::{Contestant, Start};
use crate::lab::{Lab, Urls};
use crate::proxy::Proxy;
use crate::proxy::line::Line;
use crate::proxy::waits::Waits;

/// Of both lines; a waiting that follows another one is exact on the longest.
pub(crate) const ROUND_TRIPS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(50)];

/// One contestant on lines of all lengths.
#[derive(Debug)]
pub(crate) struct OnLines {
    pub(crate) contestant: &'static Contestant,
    pub(crate) books: u32,
    /// For each of [`ROUND_TRIPS`].
    pub(crate) runs: [Vec<Run>; ROUND_TRIPS.len()],
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) time: Duration,
    /// With the source and with the target, each wait counted.
    pub(crate) round_trips: [u64; 2],
    /// One after the other, with both sides.
    pub(crate) waits: usize,
    /// What was waited for.
    pub(crate) list: String,
}

pub(crate) async fn measure(
    lab: &Lab<'_>,
    contestants: &[&'static Contestant],
    rounds: usize,
) -> Anyhow<Vec<OnLines>> {
    let able = contestants.iter().filter(|contestant| contestant.is_able(lab));
    let new =
        |contestant: &&'static Contestant| OnLines { contestant, books: lab.books, runs: Default::default() };
    let mut measured: Vec<OnLines> = able.map(new).collect();
    for _ in 0..rounds {
        for (place, round_trip) in ROUND_TRIPS.into_iter().enumerate() {
            for OnLines { contestant, runs, .. } in &mut measured {
                runs[place].push(run(lab, contestant, round_trip).await?);
            }
        }
    }
    Ok(measured)
}

async fn run(lab: &Lab<'_>, contestant: &Contestant, round_trip: Duration) -> Anyhow<Run> {
    if contestant.start == Start::Empty {
        lab.empty_target()?;
    }
    let waits = Arc::<Waits>::default();
    let line = |side| Line::new(side, round_trip, &waits);
    let [source, target] = lab.proxies(line("source"), line("target")).await;
    // A server that is asked for encryption and has none would be waited for once more.
    let through = |proxy: &Proxy, url: &str| format!("{}?sslmode=disable", proxy.through(url));
    let urls =
        Urls { source: through(&source, &lab.urls.source), target: through(&target, &lab.urls.target) };
    // The proxies need the other threads.
    let spent = tokio::task::block_in_place(|| contestant.run(lab, &urls))?;
    lab.compare().map_err(|error| format!("{}: {error}", contestant.name))?;
    let round_trips = [source.round_trips(), target.round_trips()];
    Ok(Run { time: spent.time, round_trips, waits: waits.count(), list: waits.to_string() })
}
