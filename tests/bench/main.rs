//! How long a whole sync takes, and what it costs, beside the ways it replaces.
//!
//! Each contestant fills the emptied, indexed book table of the same two servers in turn, several rounds, and the data are
//! compared after each run. `just bench` does everything, `just bench quick` some of it, `just bench 100000` one size.

#![expect(clippy::print_stdout, reason = "the tables are the result")]

mod contestants;
mod document;
mod lab;
mod measured;
mod old;
mod plot;
#[path = "../it/support/proxy/mod.rs"]
#[expect(dead_code, reason = "the other half is for the tests")]
#[expect(clippy::unwrap_used, reason = "support code panics for the test that called it")]
mod proxy;
mod report;
mod resources;
mod slow_line;

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;

use contestants::{Contestant, Start};
use lab::{Lab, PairOfServers};
use measured::{Measured, Ran};
use old::Old;
use report::{Report, Size};

pub(crate) type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The small ones are those of the document that describes the tool that this one replaces.
const SIZES: [u32; 8] = [100, 357, 500, 1_000, 5_000, 10_000, 100_000, 1_000_000];
const SIZES_SLOW: [u32; 2] = [100, 357];
const ROUNDS: usize = 5;

/// `quick`, in under three minutes.
const QUICK_SIZES: [u32; 2] = [357, 10_000];
const QUICK_SIZES_SLOW: [u32; 1] = [357];
const QUICK_ROUNDS: usize = 3;

/// Each contestant fills this many once before anything is measured.
const WARM_UP_BOOKS: u32 = 100;

#[derive(Debug, Parser)]
struct Arguments {
    /// `quick`, or numbers of books [default: from 100 to 1,000,000, and a slow line]
    sizes: Vec<Asked>,
    /// Only contestants whose names contain this, and the COPY pipe
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// No contestants whose names contain this
    #[arg(long, value_name = "TEXT")]
    skip: Option<String>,
    /// Without larger sizes than this
    #[arg(long, value_name = "BOOKS", default_value_t = u32::MAX, hide_default_value = true)]
    up_to: u32,
    /// Runs of each contestant
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Writes the tables into the README beside this program, and the plot
    #[arg(long)]
    write_readme: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
    #[command(flatten)]
    old: Old,
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Quick,
    Books(u32),
}

impl FromStr for Asked {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "quick" { Ok(Self::Quick) } else { text.parse().map(Self::Books) }
    }
}

/// What is measured.
struct Programme {
    sizes: Vec<u32>,
    sizes_slow: Vec<u32>,
    rounds: usize,
    rounds_slow: usize,
    contestants: Vec<&'static Contestant>,
}

impl Programme {
    fn new(arguments: &Arguments) -> Self {
        let contestants = Contestant::chosen(arguments.only.as_deref(), arguments.skip.as_deref());
        let rounds = |otherwise| arguments.rounds.unwrap_or(otherwise).max(1);
        if arguments.sizes.iter().any(|size| matches!(size, Asked::Quick)) {
            return Self {
                sizes: QUICK_SIZES.into(),
                sizes_slow: QUICK_SIZES_SLOW.into(),
                rounds: rounds(QUICK_ROUNDS),
                rounds_slow: 1,
                contestants,
            };
        }
        let books = |asked: &Asked| if let Asked::Books(books) = asked { Some(*books) } else { None };
        let asked: Vec<u32> = arguments.sizes.iter().filter_map(books).collect();
        let rounds = rounds(ROUNDS);
        if asked.is_empty() {
            let sizes = SIZES.into_iter().filter(|size| *size <= arguments.up_to).collect();
            let sizes_slow = SIZES_SLOW.into();
            return Self { sizes, sizes_slow, rounds, rounds_slow: rounds, contestants };
        }
        Self { sizes: asked, sizes_slow: Vec::new(), rounds, rounds_slow: 0, contestants }
    }
}

#[tokio::main]
async fn main() -> Anyhow<()> {
    let arguments = Arguments::parse();
    if let Some(way) = arguments.old.way {
        return way.run(&arguments.old).await;
    }
    let programme = Programme::new(&arguments);
    let servers = PairOfServers::start()?;
    let mut report = Report {
        conditions: format!(
            "{} cores for both servers and the client, {}, {} rounds, medians:",
            std::thread::available_parallelism()?,
            servers.version()?,
            programme.rounds
        ),
        contestants: programme.contestants.clone(),
        sizes: Vec::new(),
        slow: Vec::new(),
    };
    println!("{}\n", report.conditions);
    let lab = Lab::new(&servers, WARM_UP_BOOKS).await?;
    measure(&lab, &programme.contestants, 1)?;
    lab.drop().await?;
    for &books in &programme.sizes {
        let lab = Lab::new(&servers, books).await?;
        let size = Size { books, measured: measure(&lab, &programme.contestants, programme.rounds)? };
        println!("{}\n", size.table());
        report.sizes.push(size);
        lab.drop().await?;
    }
    for &books in &programme.sizes_slow {
        let lab = Lab::new(&servers, books).await?;
        let measured = slow_line::measure(&lab, &programme.contestants, programme.rounds_slow).await?;
        report.slow.extend(measured);
        lab.drop().await?;
    }
    println!("{}", report.summary());
    if arguments.write_readme {
        report.write_readme()?;
        plot::write(&report)?;
    }
    Ok(())
}

/// The runs of each contestant that can do as many books.
fn measure(lab: &Lab, contestants: &[&'static Contestant], rounds: usize) -> Anyhow<Vec<Measured>> {
    let able = contestants.iter().filter(|contestant| contestant.is_able(lab));
    let mut measured: Vec<_> = able.map(|contestant| Measured { contestant, runs: Vec::new() }).collect();
    for _ in 0..rounds {
        for Measured { contestant, runs } in &mut measured {
            if contestant.start == Start::Empty {
                lab.empty_target()?;
            }
            lab.checkpoint()?;
            let before = lab.servers_cpu();
            let spent = contestant.run(lab, &lab.urls)?;
            let since = |(now, before): ([Duration; 2], [Duration; 2])| {
                [0, 1].map(|side| now[side].saturating_sub(before[side]))
            };
            let servers_cpu = lab.servers_cpu().zip(before).map(since);
            lab.compare().map_err(|error| format!("{}: {error}", contestant.name))?;
            runs.push(Ran { spent, servers_cpu });
        }
    }
    Ok(measured)
}
