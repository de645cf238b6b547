//! Both databases go on being used: production changes in every way while it is copied, the application writes into the
//! target while it is synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};
use tokio::task::JoinHandle;

use crate::case::{Case, Lane};
use crate::check::{self, texts};
use crate::expected::{Book, State};
use crate::pause;
use crate::record::Recording;
use crate::servers::{Which, connect};
use crate::way::Way;
use crate::world::{Changes, Harm, Verdict, World, ensure};

/// What production does, transaction by transaction; `$n` is the transaction's number. Each leaves the page counts of the
/// first and the last book alike, so that a mixture of two snapshots can be told from one.
const PRODUCTION: [(&str, &str); 7] = [
    ("updates", ""),
    (
        "inserts",
        r#"INSERT INTO "Book" SELECT (jsonb_populate_record(b, jsonb_build_object('id', 9000 + $n, 'isbn10', 'n' || $n,
           'isbn13', 'new' || $n))).* FROM "Book" b WHERE id = 30 AND $n <= 500"#,
    ),
    ("deletes", r#"DELETE FROM "Book" WHERE id = 3 + 3 * ($n % 50) AND $n % 5 = 0 AND id NOT IN (3, 30)"#),
    (
        "isbn swaps",
        r#"CREATE TEMPORARY TABLE swapped ON COMMIT DROP AS
             SELECT a.id one, a.isbn10 isbn_of_one, b.id other, b.isbn10 isbn_of_other FROM "Book" a, "Book" b
             WHERE a.id = 6 + 3 * ($n % 20) AND b.id = 93 + 3 * ($n % 20);
           UPDATE "Book" SET isbn10 = 'swapping' WHERE id = (SELECT one FROM swapped);
           UPDATE "Book" SET isbn10 = (SELECT isbn_of_one FROM swapped) WHERE id = (SELECT other FROM swapped);
           UPDATE "Book" SET isbn10 = (SELECT isbn_of_other FROM swapped) WHERE id = (SELECT one FROM swapped)"#,
    ),
    (
        "an isbn that moves between ranges",
        r#"UPDATE "Book" SET id = CASE WHEN id < 1000 THEN id + 7000 ELSE id - 7000 END
           WHERE id IN (6 + 3 * ($n % 10), 7006 + 3 * ($n % 10))"#,
    ),
    (
        "a book deleted and added again",
        r#"CREATE TEMPORARY TABLE again ON COMMIT DROP AS SELECT * FROM "Book" WHERE isbn13 =
             (SELECT isbn13 FROM "Book" WHERE id NOT IN (3, -7, 30) ORDER BY isbn13 OFFSET $n % 30 LIMIT 1);
           DELETE FROM "Book" WHERE id IN (SELECT id FROM again);
           UPDATE again SET id = 10000 + $n, title = title || '+';
           INSERT INTO "Book" SELECT * FROM again"#,
    ),
    (
        "long texts",
        r#"UPDATE "Book" SET synopsis = repeat('zmarkerz ', 1000 + $n % 500) WHERE id = 6 + 3 * ($n % 40)"#,
    ),
];

/// Keeps its invariant in every transaction.
const PAIR: &str = r#"UPDATE "Book" SET "pageCount" = $n WHERE id IN (3, 180)"#;

/// What the application does in the target, transaction by transaction.
const APPLICATION: [(&str, &str); 5] = [
    (
        "adds books",
        r#"INSERT INTO "Book" ("ownerId", isbn10, isbn13, title, "titleLong", language, synopsis, image, "pageCount",
             binding, "datePublished", "imageOriginal", publisher, "updatedAt")
           VALUES (1, 'app' || $n, 'app' || $n, 'zmarkerz', '', '', '', '', 1, '', '', '', '', now()) ON CONFLICT DO NOTHING"#,
    ),
    (
        "changes books",
        r#"UPDATE "Book" SET title = 'zmarkerz application ' || $n
           WHERE id = (SELECT id FROM "Book" ORDER BY id OFFSET $n % 50 LIMIT 1)"#,
    ),
    (
        "puts books on a reading list",
        r#"INSERT INTO "BookInReadingList" ("bookId", "readingListId", notes)
           SELECT id, 1, 'zmarkerz ' || $n FROM "Book" ORDER BY id OFFSET $n % 50 LIMIT 1 ON CONFLICT DO NOTHING"#,
    ),
    (
        "takes books off a reading list",
        r#"DELETE FROM "BookInReadingList" WHERE id = (SELECT id FROM "BookInReadingList" ORDER BY id OFFSET $n % 20 LIMIT 1)"#,
    ),
    (
        "removes books",
        r#"DELETE FROM "Book" WHERE id = (SELECT id FROM "Book" ORDER BY id OFFSET $n % 50 LIMIT 1)"#,
    ),
];

/// Between two transactions.
const GAPS: [(&str, Duration); 2] = [("fast", Duration::from_millis(1)), ("slow", Duration::from_millis(12))];

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    for (pace, gap) in GAPS {
        for jobs in [1, 3] {
            for (name, sql) in PRODUCTION.iter().filter(|_| !recording.way.undoes()) {
                cases.push(production(recording.way, format!("{name}, {pace}, {jobs} jobs"), sql, gap, jobs));
            }
            for (name, sql) in APPLICATION {
                let point = format!("{name}, {pace}, {jobs} jobs");
                cases.push(if recording.way.undoes() {
                    application_and_undo(recording.way, point, sql, gap)
                } else {
                    application(recording.way, point, sql, gap, jobs)
                });
            }
        }
    }
    cases
}

/// Somebody who writes until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    writing: JoinHandle<u32>,
}

impl Writer {
    fn start(url: String, statements: String, gap: Duration) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        let writing = tokio::spawn(async move {
            let mut connection = connect(&url).await;
            let mut written = 0;
            for number in 1.. {
                let sql = format!("BEGIN; {}; COMMIT", statements.replace("$n", &number.to_string()));
                // It may lose a deadlock, or a book that is not there any more; so does an application.
                match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await {
                    Ok(_) => written += 1,
                    Err(_) => drop(sqlx::raw_sql("ROLLBACK").execute(&mut connection).await),
                }
                if told.load(Relaxed) {
                    break;
                }
                pause(gap).await;
            }
            connection.close().await.unwrap();
            written
        });
        Self { stop, writing }
    }

    /// How many transactions it committed.
    async fn stop(self) -> u32 {
        self.stop.store(true, Relaxed);
        self.writing.await.unwrap()
    }
}

fn production(way: Way, point: String, sql: &'static str, gap: Duration, jobs: u8) -> Case {
    Case::new("production changes all the time", way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            world.changes = Changes { source: true, entries: true, runs: true };
            world.execute(Which::Source, &PAIR.replace("$n", "0")).await;
            let all = if sql.is_empty() { PAIR.to_owned() } else { format!("{PAIR}; {sql}") };
            let writer = Writer::start(world.url(Which::Source), all, gap);
            let mut call = world.call(jobs);
            call.extend(["--yes", "--allow-cascade"].map(str::to_owned));
            let ran = world.start_call(&call).end().await;
            let written = writer.stop().await;
            let ran = ran?;
            ensure(written > 0, Harm::NotFired, || "the fault did not fire".into())?;
            check::code(&ran, &[0])?;
            one_snapshot(world).await?;
            check::verified(world).await?;
            // Production is quiet now, and what it holds is known.
            let mut source = connect(&world.url(Which::Source)).await;
            world.new = State::of_source(&mut source).await;
            source.close().await.unwrap();
            let ran = world.run().await?;
            check::code(&ran, &[0])?;
            let found = check::target(world).await;
            ensure(found.has_books_of(&world.new), Harm::HalfSynced, || found.difference(&world.new))
        })
    })
}

/// The two books that production always changes together.
async fn one_snapshot(world: &World) -> Verdict {
    let isbns = r#"SELECT quote_literal(isbn13) FROM "Book" WHERE id IN (3, 180)"#;
    let isbns = texts(&world.url(Which::Source), isbns).await.join(", ");
    let pages = format!(r#"SELECT count(DISTINCT "pageCount")::text FROM "Book" WHERE isbn13 IN ({isbns})"#);
    let pages = texts(&world.url(Which::Target), &pages).await;
    ensure(pages == ["1"], Harm::HalfSynced, || "a mixture of two of production's states".into())
}

/// What the application wrote meanwhile may make the run fail, but not lie.
fn application(way: Way, point: String, sql: &'static str, gap: Duration, jobs: u8) -> Case {
    Case::new("the application writes meanwhile", way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            world.changes.entries = true;
            let writer = Writer::start(world.url(Which::Target), sql.to_owned(), gap);
            let mut call = world.call(jobs);
            call.extend(["--yes", "--allow-cascade"].map(str::to_owned));
            let ran = world.start_call(&call).end().await;
            let written = writer.stop().await;
            let ran = ran?;
            ensure(written > 0, Harm::NotFired, || "the fault did not fire".into())?;
            // 3: more would be lost than was counted; 4 and 5: its books are in the way.
            check::code(&ran, &[0, 3, 4, 5])?;
            let kept = kept_entries(world).await;
            check::recover(world).await?;
            if way.strategy != "staged" {
                return Ok(());
            }
            let after = kept_entries(world).await;
            ensure(kept == after, Harm::Lost, || format!("{} entries of {}", after.len(), kept.len()))
        })
    })
}

/// An undo does all or nothing, but for what the application wrote.
fn application_and_undo(way: Way, point: String, sql: &'static str, gap: Duration) -> Case {
    Case::new("the application writes meanwhile", way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let writer = Writer::start(world.url(Which::Target), sql.to_owned(), gap);
            let ran = world.run().await;
            let written = writer.stop().await;
            let ran = ran?;
            ensure(written > 0, Harm::NotFired, || "the fault did not fire".into())?;
            // 3: the books are not those that the sync left.
            check::code(&ran, &[0, 3])?;
            let state = if ran.code == Some(0) { &world.new } else { &world.old };
            let found = check::target(world).await;
            let right = is_but_for_the_application(&found, state, sql);
            ensure(right, Harm::HalfSynced, || format!("{}\n{ran}", found.difference(state)))?;
            let mut target = connect(&world.url(Which::Target)).await;
            check::leftovers(world, &mut target).await?;
            target.close().await.unwrap();
            Ok(())
        })
    })
}

/// Whether `found` is `state` but for what `sql` writes.
fn is_but_for_the_application(found: &State, state: &State, sql: &str) -> bool {
    let removes = sql.starts_with(r#"DELETE FROM "Book" "#);
    let has_titles = sql.contains("zmarkerz application");
    let is_left = |(isbn, was): (&String, &Book)| match found.books.get(isbn) {
        None => removes,
        Some(book) if has_titles && book.content.contains("zmarkerz application") => book.id == was.id,
        Some(book) => book == was,
    };
    let is_known = |isbn: &String| state.books.contains_key(isbn) || isbn.starts_with("app");
    state.books.iter().all(is_left)
        && found.books.keys().all(is_known)
        && (removes || sql.contains("BookInReadingList") || found.entries == state.entries)
}

/// Entries of reading lists whose books are in the source as well.
async fn kept_entries(world: &World) -> Vec<String> {
    let isbns: Vec<String> = world.new.books.keys().map(|isbn| format!("'{isbn}'")).collect();
    let entries = format!(
        r#"SELECT e::text FROM "BookInReadingList" e JOIN "Book" b ON b.id = e."bookId" WHERE b.isbn13 IN ({})
           ORDER BY e.id"#,
        isbns.join(", ")
    );
    texts(&world.url(Which::Target), &entries).await
}
