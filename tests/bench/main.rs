//! How long a whole sync takes, and in how much memory, beside the ways it replaces.
//!
//! Each contestant fills the emptied, indexed book table of the same two servers in turn, [`ROUNDS`] times, and the data
//! are compared after each run. Sizes other than the default ones are arguments: `just bench 100000`.

#![expect(clippy::print_stdout, reason = "the table is the result")]

mod contestant;
mod lab;

use std::time::Duration;

use contestant::{Contestant, Ran};
use lab::{Anyhow, Lab, PairOfServers};

/// The size of the collection that the tool was made for, and one that shows what a book costs.
const SIZES: [u32; 2] = [357, 10_000];

const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Anyhow<()> {
    let asked: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked };
    let servers = PairOfServers::start()?;
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores for both servers and the client, {}, {ROUNDS} rounds\n", servers.version()?);
    println!("| | books | median | fastest | slowest | to the COPY pipe | peak memory |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for books in sizes {
        let lab = Lab::new(&servers, books).await?;
        let measured = measure(&lab).await?;
        let floor = median(&measured[0]);
        for (contestant, runs) in Contestant::ALL.iter().zip(&measured) {
            println!("{}", line(contestant.name(), books, runs, floor));
        }
    }
    Ok(())
}

/// The runs of each contestant, in the order of [`Contestant::ALL`].
async fn measure(lab: &Lab) -> Anyhow<Vec<Vec<Ran>>> {
    let mut measured = vec![Vec::new(); Contestant::ALL.len()];
    // The round before the first one fills caches, and lets the tool create its ledger.
    for round in 0..=ROUNDS {
        for (contestant, runs) in Contestant::ALL.iter().zip(&mut measured) {
            lab.empty_target()?;
            let ran = contestant.run(lab).await?;
            lab.compare().map_err(|error| format!("{}: {error}", contestant.name()))?;
            if round > 0 {
                runs.push(ran);
            }
        }
    }
    Ok(measured)
}

fn line(name: &str, books: u32, runs: &[Ran], floor: Duration) -> String {
    let seconds = |time: Option<Duration>| format!("{:.3} s", time.unwrap_or_default().as_secs_f64());
    let times = || runs.iter().map(|ran| ran.time);
    let peak = runs.iter().filter_map(|ran| ran.peak_kib).max();
    format!(
        "| {name} | {books} | {} | {} | {} | {:.2} | {} |",
        seconds(Some(median(runs))),
        seconds(times().min()),
        seconds(times().max()),
        median(runs).as_secs_f64() / floor.as_secs_f64(),
        peak.map_or_else(String::new, |kib| format!("{:.1} MiB", f64::from(kib) / 1024.0)),
    )
}

fn median(runs: &[Ran]) -> Duration {
    let mut times: Vec<Duration> = runs.iter().map(|ran| ran.time).collect();
    times.sort_unstable();
    times[times.len() / 2]
}
