//! Random schemas around `"Book"`, with random rows on both sides: dry run, sync and undo, each judged by the rows
//! themselves. Nothing is lost that was not announced, or measured and agreed to; an undo is exact or refused.
//!
//! `just schemas` plays 2,000 cases; `--sample N` fewer, in which every kind occurs; `--seed N` plays one again.

#![expect(clippy::unwrap_used, reason = "a harness panics for the case that it plays")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod acts;
mod check;
mod coverage;
mod dice;
mod draw;
mod kinds;
mod lab;
mod may;
mod meanwhile;
mod model;
mod play;
mod said;
mod script;
mod shrink;
mod simulate;
mod snapshot;
mod story;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other half is for the tests")]
mod support;
mod undone;

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use futures_util::FutureExt;
use futures_util::future::join_all;

use coverage::Coverage;
use lab::{Bench, Lab};
use model::Case;
use play::play;
use shrink::shrink;
use story::{Mismatch, Verdict};

/// How many mismatches are made smaller, unless it is one that was asked for.
const SHRUNK: usize = 3;

/// How many cases a sample is chosen from, for each that is played.
const CHOICE: u64 = 40;

#[derive(Debug, Parser)]
struct Arguments {
    /// Plays this many cases
    #[arg(long, value_name = "N", default_value_t = 2000)]
    cases: usize,
    /// Plays this many cases, at least one of every kind
    #[arg(long, value_name = "N", conflicts_with = "cases")]
    sample: Option<usize>,
    /// Plays the case of this seed
    #[arg(long, value_name = "N", conflicts_with_all = ["sample", "cases", "from"])]
    seed: Option<u64>,
    /// The first seed [default: another one each time]
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Only cases of the kinds whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Writes the scripts of the cases and plays none
    #[arg(long)]
    print: bool,
    /// Does not make failing cases smaller
    #[arg(long)]
    whole: bool,
    /// Cases at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let seeds = seeds(&arguments);
    if arguments.print {
        seeds.into_iter().for_each(print_case);
        return ExitCode::SUCCESS;
    }
    let lab = Arc::new(Lab::start().await);
    let planned = seeds.len();
    let run = Run {
        queue: Mutex::new(seeds.into()),
        planned,
        coverage: Mutex::default(),
        shrunk: AtomicUsize::new(if arguments.whole { 0 } else { SHRUNK }),
        has_column_lists: lab.has_column_lists,
    };
    join_all((0..arguments.workers.min(planned).max(1)).map(|worker| work(&run, &lab, worker))).await;
    let coverage = run.coverage.into_inner().unwrap();
    println!("{}", coverage.text(started.elapsed()));
    let whole = coverage.cases() == planned && planned > 0;
    if coverage.succeeded() && whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the workers share.
struct Run {
    queue: Mutex<VecDeque<u64>>,
    planned: usize,
    coverage: Mutex<Coverage>,
    /// How many more mismatches are made smaller.
    shrunk: AtomicUsize,
    has_column_lists: bool,
}

fn seeds(arguments: &Arguments) -> Vec<u64> {
    if let Some(seed) = arguments.seed {
        return vec![seed];
    }
    // Short enough to be typed.
    let first = arguments.from.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let count = arguments.sample.unwrap_or(arguments.cases);
    println!("{count} cases from `--from {first}` on");
    let wanted = |seed: &u64| {
        let only = arguments.only.as_deref();
        only.is_none_or(|only| kinds::kinds(&draw::draw(*seed)).iter().any(|kind| kind.contains(only)))
    };
    let mut choice = (first..).filter(wanted);
    if arguments.sample.is_none() {
        return choice.take(count).collect();
    }
    let mut seen: BTreeSet<&'static str> = BTreeSet::new();
    let all: Vec<u64> = choice.by_ref().take(count * usize::try_from(CHOICE).unwrap()).collect();
    let (mut chosen, others): (Vec<u64>, Vec<u64>) = all.into_iter().partition(|seed| {
        let new: Vec<_> =
            kinds::kinds(&draw::draw(*seed)).into_iter().filter(|kind| !seen.contains(kind)).collect();
        seen.extend(&new);
        !new.is_empty()
    });
    let more = count.saturating_sub(chosen.len());
    chosen.extend(others.into_iter().take(more));
    chosen
}

/// Plays what is in the queue, one after another.
async fn work(run: &Run, lab: &Arc<Lab>, worker: usize) {
    let mut bench = lab.bench(worker).await;
    loop {
        let Some(seed) = run.queue.lock().unwrap().pop_front() else { break };
        let mut case = draw::draw(seed);
        if !run.has_column_lists {
            case.keys.iter_mut().for_each(|key| key.set_columns.clear());
        }
        let ended = play_safely(&case, &mut bench).await;
        let done = {
            let mut coverage = run.coverage.lock().unwrap();
            coverage.add(seed, &kinds::kinds(&case), &ended);
            coverage.cases()
        };
        if let Err(mismatch) = ended {
            say(&mismatch, &case);
            let claimed =
                run.shrunk.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if claimed.is_ok() {
                let (case, mismatch) = Box::pin(shrink(case, mismatch, &mut bench)).await;
                say_smaller(&mismatch, &case);
            }
        }
        if done.is_multiple_of(100) {
            println!("{done} of {} cases", run.planned);
        }
    }
}

/// A panic is the case's mismatch; what it left open is left behind.
async fn play_safely(case: &Case, bench: &mut Bench) -> Verdict<story::Story> {
    let playing = AssertUnwindSafe(Box::pin(play(case, bench))).catch_unwind().await;
    let Err(panic) = playing else { return playing.unwrap() };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    bench.renew().await;
    Err(Mismatch { kind: "panicked", text: text.unwrap_or_default(), ran: Vec::new() })
}

fn say(mismatch: &Mismatch, case: &Case) {
    let Mismatch { kind, text, ran } = mismatch;
    println!("MISMATCH `--seed {}`: {kind}\n  {}", case.seed, text.replace('\n', "\n  "));
    for ran in ran {
        println!("  {}", ran.to_string().replace('\n', "\n  "));
    }
    println!();
}

fn say_smaller(mismatch: &Mismatch, case: &Case) {
    println!("smaller, of `--seed {}`:", case.seed);
    say(mismatch, case);
    print_scripts(case);
}

fn print_case(seed: u64) {
    let case = draw::draw(seed);
    println!("-- seed {seed}: {}", kinds::kinds(&case).into_iter().collect::<Vec<_>>().join("; "));
    print_scripts(&case);
}

fn print_scripts(case: &Case) {
    for (side, script) in [("production", script::source(case)), ("development", script::target(case))] {
        println!("-- {side}\n{}", script::shown(&script));
    }
    println!("-- {:?}", case.meanwhile);
}
