//! What programs and servers use of the machine.

use std::fs;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::Anyhow;

/// How often a running process is asked for its peak memory.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// What Linux counts the time of processes in, towards all programs and on all machines.
const TICKS_PER_SECOND: u32 = 100;

/// What the programs of one run needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    /// Of all programs that ran at the same time.
    pub(crate) peak_bytes: u64,
}

/// Runs one step after the other; the programs of a step are a pipe.
pub(crate) fn run(steps: Vec<Vec<Command>>) -> Anyhow<Spent> {
    let started = Instant::now();
    let mut spent = Spent::default();
    for programs in steps {
        let step = pipe(programs)?;
        spent.cpu += step.cpu;
        spent.peak_bytes = spent.peak_bytes.max(step.peak_bytes);
    }
    Ok(Spent { time: started.elapsed(), ..spent })
}

/// What the last program writes concerns nobody.
fn pipe(programs: Vec<Command>) -> Anyhow<Spent> {
    let mut said = tempfile::tempfile()?;
    let (mut from, mut running) = (Stdio::null(), Vec::new());
    let last = programs.len() - 1;
    for (number, mut program) in programs.into_iter().enumerate() {
        program.stdin(from).stdout(if number < last { Stdio::piped() } else { Stdio::null() });
        let mut child = program.stderr(said.try_clone()?).spawn()?;
        from = child.stdout.take().map_or_else(Stdio::null, Into::into);
        running.push(thread::spawn(move || wait(child)));
    }
    let mut spent = Spent::default();
    let mut failed = Vec::new();
    for running in running {
        let (status, program) = running.join().map_err(|_| "a thread that waited panicked")??;
        spent.cpu += program.cpu;
        spent.peak_bytes += program.peak_bytes;
        failed.extend(Some(status).filter(|status| !status.success()));
    }
    let Some(status) = failed.first() else { return Ok(spent) };
    let mut text = String::new();
    said.rewind()?;
    said.read_to_string(&mut text)?;
    Err(format!("{status}\n{text}").into())
}

fn wait(mut child: Child) -> Anyhow<(ExitStatus, Spent)> {
    let status = format!("/proc/{}/status", child.id());
    let peak = thread::spawn(move || watch(&status));
    let ended = child.wait4()?;
    let watched = peak.join().map_err(|_| "the thread that watched the memory panicked")?;
    let usage = ended.rusage;
    // The system's own figure includes processes that the child started, but begins with the peak of this one, whose
    // memory a child shares until it is a program of its own.
    let mine = fs::read_to_string("/proc/self/status").ok().and_then(|text| high_water_mark(&text));
    let told = Some(usage.maxrss).filter(|&told| mine.is_none_or(|mine| told > mine));
    let peak_bytes = watched.max(told).unwrap_or_default();
    Ok((ended.status, Spent { time: Duration::ZERO, cpu: usage.utime + usage.stime, peak_bytes }))
}

/// The last peak that a process reports before it ends, in bytes.
fn watch(status: &str) -> Option<u64> {
    let mut peak = None;
    while let Some(now) = fs::read_to_string(status).ok().and_then(|text| high_water_mark(&text)) {
        peak = Some(now);
        thread::sleep(POLL_INTERVAL);
    }
    peak
}

/// `VmHWM:     12345 kB`, which a process that has ended lacks.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kib: u64| kib * 1024)
}

/// The computing time of a server with all its processes, those that have ended included; none where there is no `/proc`.
pub(crate) fn server_cpu(postmaster: u32) -> Option<Duration> {
    loop {
        let own = Times::of(postmaster)?;
        let running = fs::read_dir("/proc").ok()?.flatten();
        let pids = running.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = pids.filter_map(Times::of).filter(|process| process.parent == postmaster);
        let ticks: u32 = children.map(|child| child.own).sum::<u32>() + own.own + own.ended_children;
        // One that ended meanwhile may have been missed in both places.
        if Times::of(postmaster)?.ended_children == own.ended_children {
            return Some(Duration::from_secs(1) * ticks / TICKS_PER_SECOND);
        }
    }
}

/// In ticks.
struct Times {
    parent: u32,
    own: u32,
    ended_children: u32,
}

impl Times {
    /// `PID (NAME) STATE PARENT …`, see `proc(5)`; none if the process has ended.
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u32>().ok();
        Some(Self {
            parent: field(4)?,
            own: field(14)? + field(15)?,
            ended_children: field(16)? + field(17)?,
        })
    }
}
