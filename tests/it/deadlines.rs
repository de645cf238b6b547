//! Nothing is waited for without an end: a server that says nothing is given up, one that is at work is not, and what was
//! left alone on the target is ended.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};

use crate::support::deadline::Deadline;
use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::proxy::Proxy;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::{SERVERS, connect, execute};

/// Two attempts that wait for two seconds and the time that a server has to report its own time-out, and a busy machine.
const BOUND: Duration = Duration::from_secs(45);

const STRATEGIES: [&str; 2] = ["atomic", "batched"];

const BATCH_SIZE: usize = 20;

/// A target with the books as they were once, and a source whose books have changed since, both behind proxies.
struct World {
    sandbox: Sandbox,
    source: Proxy,
    target: Proxy,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::with_books(120).await;
        let first = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(first.code, Some(0), "{first:?}");
        let old = dump(&sandbox.target_url(), BOOKS);
        execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || ', revised'"#).await;
        let new = dump(&sandbox.source_url(), BOOKS);
        let [source, target] = [Proxy::start(SERVERS.source.port()), Proxy::start(SERVERS.target.port())];
        let (source, target) = (source.await, target.await);
        sandbox.set_urls(&source.through(&sandbox.source_url()), &target.through(&sandbox.target_url()));
        Self { sandbox, source, target, old, new }
    }

    async fn sync(&self, strategy: &str, more: &[&str]) -> Run {
        let batch_size = BATCH_SIZE.to_string();
        let call = [
            "sync",
            "--yes",
            "--output",
            "json",
            "--strategy",
            strategy,
            "--batch-size",
            &batch_size,
            "--jobs",
            "1",
        ];
        // The rehearsal sends what the places below are found by.
        let quick = ["--max-retries", "1", "--retry-delay", "10ms", "--no-rehearsal"];
        self.sandbox.run(&[&call[..], &quick, more].concat()).await
    }

    /// Old, new, or, where a strategy has more than one transaction, some of the new books.
    fn check_books(&self, strategy: &str) {
        let books = dump(&self.sandbox.target_url(), BOOKS);
        if books == self.old || books == self.new {
            return;
        }
        assert_eq!(strategy, "batched", "half-synced");
        let [books, new] = [&books, &self.new].map(|text| text.split_inclusive(|byte| *byte == b'\n'));
        let (count, new) = (books.clone().count(), new.collect::<Vec<_>>());
        assert_eq!(count % BATCH_SIZE, 0, "part of a batch");
        assert!(books.clone().all(|book| new.contains(&book)), "other books than the new ones");
    }

    fn check_says_no_value(&self, run: &Run) {
        let isbns = dump(&self.sandbox.source_url(), r#"SELECT isbn13 FROM "Book""#);
        for isbn in String::from_utf8(isbns).unwrap().lines().chain([", revised"]) {
            assert!(!run.stdout.contains(isbn) && !run.stderr.contains(isbn), "{isbn}: {run:?}");
        }
    }

    /// The run gives up in time, and when the connections are gone another one does what it did not.
    async fn check_given_up(self, strategy: &str, place: &str) {
        let began = Instant::now();
        let run = self.sync(strategy, &["--batch-timeout", "2s", "--connect-timeout", "6s"]).await;
        let took = began.elapsed();
        assert!(
            self.source.is_half_open() || self.target.is_half_open(),
            "not reached: {place}, {strategy}: {run:?}"
        );
        let end = run.json_end();
        assert_eq!(
            (run.code, &end["outcome"]),
            (Some(6), &"unreachable".into()),
            "{place}, {strategy}: {run:?}"
        );
        assert!(took < BOUND, "{place}, {strategy}: {took:?}, {run:?}");
        self.check_books(strategy);
        self.check_says_no_value(&run);
        let Self { sandbox, source, target, new, .. } = self;
        drop((source, target));
        no_session_left(&sandbox.target_admin_url()).await;
        no_session_left(&sandbox.source_admin_url()).await;
        sandbox.set_urls(&sandbox.source_url(), &sandbox.target_url());
        let again = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(again.code, Some(0), "{place}, {strategy}: {again:?}");
        assert!(dump(&sandbox.target_url(), BOOKS) == new);
    }
}

#[tokio::test]
async fn a_target_that_says_nothing_is_given_up_in_time() {
    for strategy in STRATEGIES {
        let world = World::new().await;
        world.target.half_open_from(1);
        world.check_given_up(strategy, "connecting").await;
        let places: [(&str, &[u8]); 4] = [
            ("whole table", br#"DELETE FROM "Book""#),
            ("batch", br#"INSERT INTO "Book""#),
            ("verification", b"record_send"),
            ("COMMIT", b"END $dewey_sync$"),
        ];
        join_all(places.map(async |(place, request)| {
            let world = World::new().await;
            world.target.half_open_after(request);
            world.check_given_up(strategy, place).await;
        }))
        .await;
    }
}

#[tokio::test]
async fn a_source_that_says_nothing_is_given_up_in_time() {
    for strategy in STRATEGIES {
        let world = World::new().await;
        world.source.half_open_from(1);
        world.check_given_up(strategy, "connecting").await;
        let places: [(&str, &[u8]); 4] = [
            ("whole table", b"row_number()"),
            ("batch", br#"::integer AS "id""#),
            ("verification", b"record_send"),
            ("end of a snapshot", b"pg_current_xact_id_if_assigned() IS NULL"),
        ];
        join_all(places.map(async |(place, request)| {
            let world = World::new().await;
            world.source.half_open_after(request);
            world.check_given_up(strategy, place).await;
        }))
        .await;
    }
}

#[tokio::test]
async fn a_migration_without_an_answer_is_given_up_in_time() {
    let sandbox = Sandbox::with_books(1).await;
    let target = Proxy::start(SERVERS.target.port()).await;
    sandbox.set_urls(&sandbox.source_url(), &target.through(&sandbox.target_url()));
    target.half_open_after(b"DEALLOCATE ALL");
    let began = Instant::now();
    let run = sandbox.run(&["sync", "--yes", "--connect-timeout", "1s"]).await;
    assert!(target.is_half_open(), "not reached: {run:?}");
    assert_eq!(run.code, Some(6), "{run:?}");
    assert!(began.elapsed() < BOUND, "{run:?}");
}

#[tokio::test]
async fn a_whole_table_takes_as_long_as_the_server_is_alive() {
    let world = World::new().await;
    let slow = r#"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN PERFORM pg_sleep(7); RETURN NULL; END $$;
                  CREATE TRIGGER slow BEFORE DELETE ON "Book" FOR EACH STATEMENT EXECUTE FUNCTION slow()"#;
    execute(&world.sandbox.target_url(), slow).await;
    for strategy in STRATEGIES {
        let run = world.sync(strategy, &["--batch-timeout", "2s"]).await;
        assert_eq!((run.code, &run.json_end()["retries"]), (Some(0), &0.into()), "{run:?}");
        assert!(dump(&world.sandbox.target_url(), BOOKS) == world.new);
    }
}

/// Makes each removal of books wait for a lock, which the returned session holds.
async fn hold_deletes(sandbox: &Sandbox) -> PgConnection {
    let waiting = r#"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
                     CREATE TRIGGER wait AFTER DELETE ON "Book" FOR EACH STATEMENT EXECUTE FUNCTION wait()"#;
    execute(&sandbox.target_admin_url(), waiting).await;
    let mut holder = connect(&sandbox.target_admin_url()).await;
    sqlx::raw_sql("SELECT pg_advisory_lock(1)").execute(&mut holder).await.unwrap();
    holder
}

/// The process of the tool's session that waits for the lock, when it is another one than `before`.
fn waiting(sandbox: &Sandbox, before: &[u8]) -> Vec<u8> {
    let waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name LIKE 'dewey-sync%' AND wait_event = 'advisory'";
    let deadline = Deadline::new();
    loop {
        let found = dump(&sandbox.target_admin_url(), waiting);
        if !found.is_empty() && found != before {
            return found;
        }
        deadline.pause("nothing waits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_client_is_gone_is_ended_by_the_next_attempt() {
    for strategy in STRATEGIES {
        let world = World::new().await;
        let holder = hold_deletes(&world.sandbox).await;
        let (run, ()) = tokio::join!(world.sync(strategy, &[]), async {
            let first = tokio::task::block_in_place(|| waiting(&world.sandbox, b""));
            world.target.abandon();
            // The first one holds what the second one needs: it has to be gone for that one to come as far.
            tokio::task::block_in_place(|| waiting(&world.sandbox, &first));
            holder.close().await.unwrap();
        });
        assert_eq!((run.code, &run.json_end()["retries"]), (Some(0), &1.into()), "{run:?}");
        assert!(dump(&world.sandbox.target_url(), BOOKS) == world.new);
        no_session_left(&world.sandbox.target_admin_url()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_not_waited_for_because_the_server_is_alive() {
    for strategy in STRATEGIES {
        let world = World::new().await;
        let holder = hold_deletes(&world.sandbox).await;
        let (run, ()) = tokio::join!(world.sync(strategy, &["--batch-timeout", "5s"]), async {
            tokio::task::block_in_place(|| waiting(&world.sandbox, b""));
            world.target.make_half_open();
            holder.close().await.unwrap();
        });
        assert_eq!((run.code, &run.json_end()["retries"]), (Some(0), &1.into()), "{run:?}");
        assert!(dump(&world.sandbox.target_url(), BOOKS) == world.new);
    }
}
