//! The fault suite: every fault that networks, servers, people and other programs can do to a run, each at every point
//! where it can hit, on real servers, and what has to be true afterwards.
//!
//! `just faults` plays all cases; `--sample N --seed S` some of every kind; `--only TEXT` those whose name contains it.
//! A case whose fault did not fire fails.

#![expect(clippy::unwrap_used, reason = "a harness panics for the case that it plays")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod case;
mod check;
mod crashes;
mod disk;
mod expected;
mod frames;
mod killed;
mod live;
mod log;
mod network;
mod others;
mod play;
mod proxy;
mod question;
mod raised;
mod record;
mod report;
mod servers;
mod settings;
mod signals;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other half is for the tests")]
mod support;
mod templates;
mod tool;
mod way;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

use record::Recordings;
use servers::Pair;

#[derive(Debug, Parser)]
struct Arguments {
    /// Plays this many cases, at least one of every kind with each engine and of each work
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Chooses the sample [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only cases of this strategy
    #[arg(long)]
    strategy: Option<String>,
    /// Names the cases and plays none
    #[arg(long)]
    list: bool,
    /// Writes the table into the README beside this program
    #[arg(long)]
    write_readme: bool,
    /// Cases at the same time [default: processors + 2]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let pair = Arc::new(Pair::start().await);
    let recordings = Recordings::make(&pair).await;
    for recording in &recordings.0 {
        println!(
            "{}: {} messages with the target, {} with the source, {} more in no fixed place",
            recording.way,
            recording.target.len(),
            recording.source.len(),
            recording.unsteady
        );
    }
    let mut cases = case::all(&recordings);
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only));
    cases.retain(|case| {
        wanted(&case.name()) && arguments.strategy.as_ref().is_none_or(|s| s == case.way.strategy)
    });
    if let Some(count) = arguments.sample {
        let seed = arguments.seed.unwrap_or_else(rand::random);
        println!("the sample of seed {seed}; `--sample {count} --seed {seed}` repeats it");
        cases = case::sample(cases, count, seed);
    }
    if arguments.list {
        for case in &cases {
            println!("{}", case.name());
        }
        println!("{} cases", cases.len());
        return ExitCode::SUCCESS;
    }
    let workers =
        arguments.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(4, |n| n.get() + 2));
    let report = play::all(cases, workers, &pair).await;
    println!("{}", report.text(started.elapsed()));
    if arguments.write_readme {
        report.write_readme();
    }
    if report.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits, where waiting itself is the fault or a server tells nobody when it is ready.
#[expect(clippy::disallowed_methods, reason = "the tool may not wait outside `retry.rs`; a fault may")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
