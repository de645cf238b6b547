//! What the README beside this program shows: who took how long, what it cost, and what a slow line makes of it.

use std::fmt::Write;
use std::time::Duration;

use crate::Anyhow;
use crate::contestants::Contestant;
use crate::document::{SAID, Said};
use crate::measured::{Measured, median};
use crate::slow_line::{OnLines, ROUND_TRIPS};

/// In fewer books the start is most of what each costs.
const MANY_BOOKS: u32 = 10_000;

/// Where its tables are.
const BEGIN: &str = "<!-- bench: written by `just bench --write-readme` -->";
const END: &str = "<!-- /bench -->";

#[derive(Debug)]
pub(crate) struct Report {
    /// What the figures hold for.
    pub(crate) conditions: String,
    pub(crate) contestants: Vec<&'static Contestant>,
    pub(crate) sizes: Vec<Size>,
    pub(crate) slow: Vec<OnLines>,
}

/// All runs over one number of books.
#[derive(Debug)]
pub(crate) struct Size {
    pub(crate) books: u32,
    /// The first one is what the others are compared with.
    pub(crate) measured: Vec<Measured>,
}

impl Size {
    /// Every figure, a line for each contestant.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "| {} books | median | fastest | slowest | to `COPY` | client CPU | peak memory | source CPU | target CPU |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|",
            thousands(self.books)
        );
        for one in &self.measured {
            let _ = write!(
                table,
                "\n| {} | {} | {} | {} | {:.2} | {} | {:.1} MiB | {} | {} |",
                one.contestant.name,
                seconds(Some(one.time())),
                seconds(one.times().min()),
                seconds(one.times().max()),
                self.ratio(one),
                seconds(Some(one.cpu())),
                one.peak_mib(),
                seconds(one.server_cpu(0)),
                seconds(one.server_cpu(1)),
            );
        }
        table
    }

    fn ratio(&self, one: &Measured) -> f64 {
        one.time().as_secs_f64() / self.measured[0].time().as_secs_f64()
    }

    fn of(&self, contestant: &Contestant) -> Option<&Measured> {
        self.measured.iter().find(|one| std::ptr::eq(one.contestant, contestant))
    }
}

impl Report {
    /// All that is not said of one size alone.
    pub(crate) fn summary(&self) -> String {
        let all = self.by_size() + &self.said();
        let parts = [all, self.growth(), self.on_lines(), self.lists()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    fn by_size(&self) -> String {
        let columns = |cell: &dyn Fn(&Size) -> String| -> String {
            self.sizes.iter().map(|size| format!(" {} |", cell(size))).collect::<Vec<_>>().concat()
        };
        let mut table = format!("| books |{}\n|---|", columns(&|size| thousands(size.books)));
        table += &"--:|".repeat(self.sizes.len());
        for contestant in &self.contestants {
            let cell = |size: &Size| match size.of(contestant) {
                Some(one) => format!("{} ({:.2})", seconds(Some(one.time())), size.ratio(one)),
                None => contestant.absence().to_owned(),
            };
            let _ = write!(table, "\n| {} |{}", contestant.name, columns(&cell));
        }
        table
    }

    /// Further lines of that table.
    fn said(&self) -> String {
        let cells = |said: &Said| {
            self.sizes.iter().map(|size| format!(" {} |", said.time(size.books))).collect::<Vec<_>>().concat()
        };
        let lines = SAID.iter().map(|said| format!("\n| {} |{}", said.name, cells(said)));
        lines.collect::<Vec<_>>().concat()
    }

    /// What a book costs in the two largest sizes, and whether memory grows.
    fn growth(&self) -> String {
        let many: Vec<&Size> = self.sizes.iter().filter(|size| size.books >= MANY_BOOKS).collect();
        let [.., some, more] = many.as_slice() else { return String::new() };
        let (few, many) = (thousands(some.books), thousands(more.books));
        let mut table = format!(
            "| | a book of {few} | a book of {many} | | memory for {few} | for {many} |\n|---|--:|--:|--:|--:|--:|"
        );
        let ours = self.contestants.iter().filter(|contestant| contestant.is_ours());
        for (one, other) in ours.filter_map(|contestant| some.of(contestant).zip(more.of(contestant))) {
            let each = |one: &Measured, books| one.time().as_secs_f64() * 1e6 / f64::from(books);
            let (cheap, dear) = (each(one, some.books), each(other, more.books));
            let _ = write!(
                table,
                "\n| {} | {cheap:.1} µs | {dear:.1} µs | {:+.0} % | {:.1} MiB | {:.1} MiB |",
                one.contestant.name,
                (dear / cheap - 1.0) * 100.0,
                one.peak_mib(),
                other.peak_mib(),
            );
        }
        table
    }

    /// The waits are those on the longest lines, where their order is exact.
    fn on_lines(&self) -> String {
        if self.slow.is_empty() {
            return String::new();
        }
        let mut table = "| over a line of | books | round trips | waits |".to_owned();
        for round_trip in ROUND_TRIPS {
            let _ = write!(table, " {} ms |", round_trip.as_millis());
        }
        table = format!("{table}\n|---|--:|--:|--:|{}", "--:|".repeat(ROUND_TRIPS.len()));
        for OnLines { contestant, books, runs } in &self.slow {
            let longest = &runs[ROUND_TRIPS.len() - 1];
            let round_trips = |side: usize| median(longest.iter().map(|run| run.round_trips[side]));
            let waits = median(longest.iter().map(|run| run.waits));
            let _ = write!(
                table,
                "\n| {} | {} | {} + {} | {} |",
                contestant.name,
                thousands(*books),
                round_trips(0).unwrap_or_default(),
                round_trips(1).unwrap_or_default(),
                waits.unwrap_or_default(),
            );
            for runs in runs {
                let _ = write!(table, " {} |", seconds(median(runs.iter().map(|run| run.time))));
            }
        }
        table
    }

    /// What this tool waits for with default settings, in the largest of the small sizes.
    fn lists(&self) -> String {
        let books = self.slow.iter().map(|one| one.books).max();
        let shown = self.slow.iter().filter(|one| Some(one.books) == books && one.contestant.is_default());
        let list = |one: &OnLines| {
            let run = one.runs[ROUND_TRIPS.len() - 1].first()?;
            let title = format!("{}: {} waits over {} books", one.contestant.name, run.waits, one.books);
            Some(folded(&title, &format!("```\n{}```", run.list)))
        };
        shown.filter_map(list).collect::<Vec<_>>().join("\n\n")
    }

    /// Puts everything between the two comments of the README beside this program.
    pub(crate) fn write_readme(&self) -> Anyhow<()> {
        let tables = self.sizes.iter().map(Size::table).collect::<Vec<_>>().join("\n\n");
        let tables = folded("Fastest and slowest run, computing time and memory", &tables);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/README.md");
        let readme = std::fs::read_to_string(&path)?;
        let (before, rest) = readme.split_once(BEGIN).ok_or("the README has no place for the tables")?;
        let (_, after) = rest.split_once(END).ok_or("the README's tables have no end")?;
        let text = format!("{}\n\n{}\n\n{tables}", self.conditions, self.summary());
        std::fs::write(path, format!("{before}{BEGIN}\n{text}\n{END}{after}"))?;
        Ok(())
    }
}

fn folded(title: &str, text: &str) -> String {
    // Inside of HTML, Markdown's own marks show.
    let title = title.replace(['*', '`'], "");
    format!("<details><summary>{title}</summary>\n\n{text}\n\n</details>")
}

fn seconds(time: Option<Duration>) -> String {
    let Some(time) = time.map(|time| time.as_secs_f64()) else { return String::new() };
    if time < 10.0 { format!("{time:.3} s") } else { format!("{time:.1} s") }
}

/// `1,000,000`.
fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
