//! The ways to fill a book table. Connecting counts for all of them.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dewey_sync_entity::book;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{Database, DatabaseConnection, EntityTrait, QueryOrder, TransactionTrait};

use crate::lab::{Anyhow, Lab};

/// What the old tool's Enhanced inserts at a time.
const OLD_BATCH: usize = 100;

/// How often a running process is asked for its peak memory.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// One way to fill a book table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Contestant {
    /// `psql` to `psql`, in PostgreSQL's binary format: the least that can be done, and nothing is verified.
    CopyPipe,
    /// Every row by a statement of its own, all in one transaction, as the old tool's Original did.
    RowByRow,
    /// A hundred rows a transaction, one after the other, as the old tool's Enhanced did.
    Hundreds,
    /// This tool, by the name of its strategy.
    Tool(&'static str),
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    pub(crate) time: Duration,
    /// Of the tool's own process, where the system tells.
    pub(crate) peak_kib: Option<u32>,
}

impl Contestant {
    /// The first one is what the others are compared with.
    pub(crate) const ALL: [Self; 5] =
        [Self::CopyPipe, Self::Tool("atomic"), Self::Tool("batched"), Self::RowByRow, Self::Hundreds];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CopyPipe => "`COPY` pipe of two `psql`, nothing verified",
            Self::RowByRow => "row by row in one transaction, nothing verified",
            Self::Hundreds => "a hundred rows a transaction, nothing verified",
            Self::Tool("atomic") => "**`atomic`**",
            Self::Tool(_) => "**`batched`**",
        }
    }

    pub(crate) async fn run(self, lab: &Lab) -> Anyhow<Ran> {
        let started = Instant::now();
        let peak_kib = match self {
            Self::CopyPipe => copy_pipe(lab)?,
            Self::RowByRow => row_by_row(lab).await?,
            Self::Hundreds => hundreds(lab).await?,
            Self::Tool(strategy) => tool(lab, strategy)?,
        };
        Ok(Ran { time: started.elapsed(), peak_kib })
    }
}

fn copy_pipe(lab: &Lab) -> Anyhow<Option<u32>> {
    let columns = Lab::columns();
    let copy_out =
        format!(r#"COPY (SELECT {columns}, {} FROM "Book") TO STDOUT (FORMAT binary)"#, lab.developer);
    let copy_in = format!(r#"COPY "Book" ({columns}, "ownerId") FROM STDIN (FORMAT binary)"#);
    let mut out = lab.psql(&lab.source, &copy_out).stdout(Stdio::piped()).spawn()?;
    let pipe = out.stdout.take().ok_or("no pipe")?;
    let copied = lab.psql(&lab.target, &copy_in).stdin(pipe).stdout(Stdio::null()).status()?;
    if out.wait()?.success() && copied.success() { Ok(None) } else { Err("psql failed".into()) }
}

async fn row_by_row(lab: &Lab) -> Anyhow<Option<u32>> {
    let books = all_books(lab).await?;
    let target = Database::connect(&lab.target).await?;
    let transaction = target.begin().await?;
    book::Entity::delete_many().exec(&transaction).await?;
    for book in books {
        book::Entity::insert(book).exec_without_returning(&transaction).await?;
    }
    transaction.commit().await?;
    close(target).await
}

async fn hundreds(lab: &Lab) -> Anyhow<Option<u32>> {
    let books = all_books(lab).await?;
    let target = Database::connect(&lab.target).await?;
    book::Entity::delete_many().exec(&target).await?;
    for batch in books.chunks(OLD_BATCH) {
        let transaction = target.begin().await?;
        let insert = book::Entity::insert_many(batch.to_vec()).on_conflict_do_nothing();
        insert.exec_without_returning(&transaction).await?;
        transaction.commit().await?;
    }
    close(target).await
}

/// The whole source in memory, as the old tool had it.
async fn all_books(lab: &Lab) -> Anyhow<Vec<book::ActiveModel>> {
    let source = Database::connect(&lab.source).await?;
    let books = book::Entity::find().order_by_asc(book::Column::Id).all(&source).await?;
    source.close().await?;
    let owned =
        |book: book::Model| book::ActiveModel { id: NotSet, owner_id: Set(lab.developer), ..book.into() };
    Ok(books.into_iter().map(owned).collect())
}

async fn close(connection: DatabaseConnection) -> Anyhow<Option<u32>> {
    connection.close().await?;
    Ok(None)
}

fn tool(lab: &Lab, strategy: &str) -> Anyhow<Option<u32>> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_dewey-sync"))
        .args(["--quiet", "sync", "--yes", "--strategy", strategy])
        .env("DEWEY_SOURCE_DATABASE_URL", &lab.source)
        .env("DEWEY_TARGET_DATABASE_URL", &lab.target)
        .spawn()?;
    let status = format!("/proc/{}/status", process.id());
    let peak = thread::spawn(move || peak_kib(&status));
    let ended = process.wait()?;
    let peak = peak.join().map_err(|_| "the thread that watched the memory panicked")?;
    if ended.success() { Ok(peak) } else { Err(format!("dewey-sync: {ended}").into()) }
}

/// The last peak that a process reports before it ends.
fn peak_kib(status: &str) -> Option<u32> {
    let mut peak = None;
    while let Some(now) = fs::read_to_string(status).ok().and_then(|text| high_water_mark(&text)) {
        peak = Some(now);
        thread::sleep(POLL_INTERVAL);
    }
    peak
}

/// `VmHWM:     12345 kB`, which a process that has ended lacks.
fn high_water_mark(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
