//! An empty book table is filled while later batches are staged: whatever comes in the way of that, nobody sees half of it,
//! and the run ends as it would without.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::retries::{BATCHES, check_verified, retries, sandbox_with_ledger, sync, writing};
use crate::support::deadline::PATIENCE;
use crate::support::gate::{having, stopping};
use crate::support::inspect::{BOOKS, dump, no_session_left};
use crate::support::proxy::Proxy;
use crate::support::running::{Running, until};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{SERVERS, connect, execute};

/// What holds a run here would hold its rehearsal.
const CALL: [&str; 6] = ["sync", "--yes", "--no-rehearsal", "--batch-size", "10", "--jobs"];

/// A book of the fourth of ten batches.
const STOP: &str = r#"SELECT isbn13 FROM "Book" WHERE id = 105"#;

/// Batches that are staged while the fourth is held: two more than are filled.
const STAGED_MEANWHILE: &str = "5";

/// The advisory locks that a session has which stands before lock 1 or 2.
const REACHED: [u32; 2] = [11, 12];

/// A book of the seventh batch waits on its way to the stage, for advisory lock 2.
pub(crate) fn stop_stage() -> String {
    format!(
        "CREATE FUNCTION stop_stage() RETURNS trigger LANGUAGE plpgsql AS $$ {} $$;
         CREATE TRIGGER stop BEFORE INSERT ON dewey_sync.stage FOR EACH ROW WHEN (NEW.source_id = 210)
           EXECUTE FUNCTION stop_stage();",
        stopping(2, REACHED[1])
    )
}

/// A run that fills a book table ahead and is held in the middle of it.
pub(crate) struct Held {
    pub(crate) sandbox: Sandbox,
    run: Running,
    holder: PgConnection,
}

impl Held {
    async fn new() -> Self {
        Self::with("", &["1"]).await
    }

    /// `before` is run on the target, and `more` ends the call.
    pub(crate) async fn with(before: &str, more: &[&str]) -> Self {
        let sandbox = sandbox_with_ledger(100).await;
        let stop = String::from_utf8(dump(&sandbox.source_admin_url(), STOP)).unwrap();
        let trigger = format!(
            r#"CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
                 $$ {} $$;
               CREATE TRIGGER stop BEFORE INSERT ON "Book" FOR EACH ROW WHEN (NEW.isbn13 = '{}')
                 EXECUTE FUNCTION stop(); {before}"#,
            stopping(1, REACHED[0]),
            stop.trim()
        );
        execute(&sandbox.target_admin_url(), &trigger).await;
        let mut holder = connect(&sandbox.target_admin_url()).await;
        sqlx::raw_sql("SELECT pg_advisory_lock(1), pg_advisory_lock(2)").execute(&mut holder).await.unwrap();
        let run = Running::start(&sandbox, &[&CALL, more].concat());
        let held = Self { sandbox, run, holder };
        held.until_reached(1);
        held
    }

    fn one(&self, query: &str) -> String {
        self.until(query, |_| true)
    }

    /// What `query` finds on the target, as soon as that is as it should be.
    pub(crate) fn until(&self, query: &str, is_so: impl Fn(&str) -> bool) -> String {
        until(&self.sandbox.target_admin_url(), query, is_so)
    }

    fn books(&self) -> String {
        self.one(r#"SELECT count(*) FROM "Book""#)
    }

    /// Until a session stands before advisory lock `lock`.
    pub(crate) fn until_reached(&self, lock: usize) {
        self.until(&having(REACHED[lock - 1]), |sessions| sessions == "1");
    }

    /// Until as many batches are staged as may be.
    pub(crate) fn until_staged(&self, batches: &str) {
        self.until("SELECT count(*) FROM dewey_sync.stage_checkpoint", |staged| staged == batches);
    }

    /// Whoever waits for advisory lock `lock` has it.
    pub(crate) async fn let_go(&mut self, lock: i64) {
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(lock).execute(&mut self.holder).await.unwrap();
    }

    /// Ends the session that stands before advisory lock `lock`, as soon as one does.
    async fn end_session(&self, lock: usize) {
        self.until_reached(lock);
        let end = having(REACHED[lock - 1]).replace("count(*)", "pg_terminate_backend(pid)");
        execute(&self.sandbox.target_admin_url(), &end).await;
    }

    /// Lets the run go on, to its end; that, and the sandbox.
    pub(crate) async fn go_on(self) -> (Option<i32>, Value, Sandbox) {
        let Self { sandbox, mut run, holder } = self;
        holder.close().await.unwrap();
        let (code, end, said) = tokio::time::timeout(PATIENCE, run.end()).await.expect("it hangs");
        assert!(code.is_some(), "{said}");
        (code, end, sandbox)
    }
}

pub(crate) fn book_of_the_application(isbn13: &str) -> String {
    format!(
        r#"INSERT INTO "Book" ("ownerId", isbn10, isbn13, title, "titleLong", language, synopsis, image, "pageCount", binding,
                               "datePublished", "imageOriginal", publisher, "updatedAt")
           SELECT id, 'own', '{isbn13}', '', '', '', '', '', 1, '', '', '', '', now() FROM "User" LIMIT 1"#
    )
}

pub(crate) fn is_as_the_source(sandbox: &Sandbox) {
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));
}

#[tokio::test]
async fn batches_are_inserted_before_all_are_staged_and_nobody_sees_them() {
    let held = Held::new().await;
    held.until_staged(STAGED_MEANWHILE);
    assert_eq!(held.books(), "0");
    assert_eq!(
        held.one("SELECT count(*) FROM dewey_sync.stage_checkpoint"),
        STAGED_MEANWHILE,
        "it lags behind"
    );
    let (code, end, sandbox) = held.go_on().await;
    assert_eq!((code, &end["outcome"], &end["retries"]), (Some(0), &json!("verified"), &json!(0)), "{end}");
    assert_eq!((&end["counts"]["inserted"], &end["batches"]["done"]), (&json!(100), &json!(10)), "{end}");
    is_as_the_source(&sandbox);
    let ids = dump(&sandbox.target_admin_url(), r#"SELECT min(id), max(id) FROM "Book""#);
    assert_eq!(String::from_utf8(ids).unwrap(), "1\t100\n", "each was inserted once");
}

/// The table is not locked, and the book is one that production lacks: what was filled is of no use.
#[tokio::test]
async fn a_book_that_the_application_writes_meanwhile_waits_for_nothing_and_is_not_overlooked() {
    let held = Held::new().await;
    let book = format!("SET lock_timeout = '300ms'; {}", book_of_the_application("9790000000001"));
    execute(&held.sandbox.target_admin_url(), &book).await;
    assert_eq!(held.books(), "1");
    let (code, end, sandbox) = held.go_on().await;
    assert_eq!((code, &end["outcome"]), (Some(0), &json!("verified")), "{end}");
    assert_eq!((&end["counts"]["inserted"], &end["counts"]["deleted"]), (&json!(100), &json!(1)), "{end}");
    is_as_the_source(&sandbox);
}

/// The fill has inserted the same book: neither may wait for the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_waits_for_a_book_gets_it() {
    let mut held = Held::new().await;
    let filled = dump(&held.sandbox.source_admin_url(), r#"SELECT isbn13 FROM "Book" WHERE id = 3"#);
    let target = held.sandbox.target_admin_url();
    let book = book_of_the_application(String::from_utf8(filled).unwrap().trim());
    let writing = tokio::spawn(async move {
        let mut application = connect(&target).await;
        let book = sqlx::query(sqlx::AssertSqlSafe(book)).execute(&mut application).await;
        book.map(|done| done.rows_affected())
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name NOT LIKE 'dewey-sync%' AND wait_event = 'transactionid'";
    held.until(waits, |waiting| waiting == "1");
    held.let_go(1).await;
    let written = tokio::time::timeout(PATIENCE, writing).await.expect("it hangs").unwrap();
    assert_eq!(written.unwrap(), 1, "as if nobody filled");
    let (code, end, sandbox) = held.go_on().await;
    assert_eq!((code, &end["outcome"]), (Some(0), &json!("verified")), "{end}");
    assert_eq!((&end["counts"]["inserted"], &end["counts"]["updated"]), (&json!(99), &json!(1)), "{end}");
    is_as_the_source(&sandbox);
}

/// One batch is lost for good while the next one waits for its turn.
#[tokio::test]
async fn a_batch_that_waits_does_not_begin_after_the_run_has_failed() {
    let held = Held::with(&stop_stage(), &["2", "--max-retries", "0"]).await;
    held.until_staged("6");
    held.end_session(2).await;
    let (code, end, _) = held.go_on().await;
    assert_eq!((code, &end["outcome"]), (Some(6), &json!("unreachable")), "{end}");
    assert_eq!(end["batches"], json!({ "total": 10, "done": 6, "failed": 1 }), "{end}");
}

#[tokio::test]
async fn a_session_that_is_lost_while_it_fills_is_done_without() {
    let held = Held::new().await;
    held.end_session(1).await;
    let (code, end, sandbox) = held.go_on().await;
    assert_eq!((code, &end["outcome"], &end["retries"]), (Some(0), &json!("verified"), &json!(0)), "{end}");
    is_as_the_source(&sandbox);
    no_session_left(&sandbox.target_admin_url()).await;
}

#[tokio::test]
async fn a_run_that_is_killed_while_it_fills_leaves_no_book_and_is_resumed() {
    let mut held = Held::new().await;
    held.until_staged(STAGED_MEANWHILE);
    held.run.signal("KILL");
    assert_eq!(held.run.end().await.0, None);
    no_session_left(&held.sandbox.target_admin_url()).await;
    assert_eq!(held.books(), "0");
    held.holder.close().await.unwrap();

    let run = held.sandbox.run(&["sync", "--yes", "--resume", "--output", "json"]).await;
    assert_eq!((run.code, &run.json_end()["outcome"]), (Some(0), &json!("verified")), "{run:?}");
    assert!(run.stdout.contains(r#""event":"resumed","batches":5"#), "{run:?}");
    is_as_the_source(&held.sandbox);
}

/// Its time-out ends the wait as well.
const SOONER_THAN_THE_LOCK: Duration = Duration::from_secs(25);

#[tokio::test]
async fn a_signal_does_not_wait_for_what_fills() {
    let mut held = Held::new().await;
    held.until_staged(STAGED_MEANWHILE);
    held.run.signal("INT");
    let (code, end, said) = tokio::time::timeout(SOONER_THAN_THE_LOCK, held.run.end()).await.unwrap();
    assert_eq!((code, &end["outcome"]), (Some(130), &json!("interrupted")), "{said}");
    assert_eq!(end["batches"]["done"], json!(5), "{end}");
    no_session_left(&held.sandbox.target_admin_url()).await;
    assert_eq!(held.books(), "0");
}

#[tokio::test]
async fn a_batch_that_fails_for_good_lets_the_others_be_staged() {
    let fails = r"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '22000'; END $$;
                  CREATE TRIGGER fail BEFORE INSERT ON dewey_sync.stage FOR EACH ROW WHEN (NEW.source_id = 57)
                    EXECUTE FUNCTION fail();";
    let sandbox = sandbox_with_ledger(100).await;
    execute(&sandbox.target_admin_url(), fails).await;
    let mut run = Running::start(&sandbox, &[&CALL, &["1"][..]].concat());
    let (code, end, said) = tokio::time::timeout(PATIENCE, run.end()).await.expect("it hangs");
    assert_eq!((code, &end["outcome"]), (Some(5), &json!("not_completed")), "{said}");
    assert_eq!(end["batches"], json!({ "total": 10, "done": 9, "failed": 1 }), "{end}");
    assert_eq!(dump(&sandbox.target_admin_url(), BOOKS), b"");
}

/// The run stands still while another one takes its place.
#[tokio::test]
async fn another_run_does_not_wait_for_what_fills() {
    let mut held = Held::new().await;
    held.run.signal("STOP");
    let lock = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
                WHERE datname = current_database() AND locktype = 'advisory' AND classid <> 0 AND granted
                  AND application_name LIKE 'dewey-sync%'";
    execute(&held.sandbox.target_admin_url(), lock).await;
    held.let_go(1).await;
    let other = held.sandbox.run(&["sync", "--yes", "--output", "json"]).await;
    assert_eq!((other.code, &other.json_end()["outcome"]), (Some(0), &json!("verified")), "{other:?}");
    is_as_the_source(&held.sandbox);
    held.run.signal("CONT");
    let (code, end, sandbox) = held.go_on().await;
    assert_eq!((code, &end["outcome"]), (Some(7), &json!("busy")), "{end}");
    is_as_the_source(&sandbox);
}

/// One connection to the target is cut somewhere, or a COMMIT is not answered.
#[tokio::test]
async fn whatever_the_network_loses_each_book_is_there_once() {
    const PARTS: u64 = 12;
    let sandbox = sandbox_with_ledger(120).await;
    let proxy = Proxy::start(SERVERS.target.port()).await;
    sandbox.set_urls(&sandbox.source_url(), &proxy.through(&sandbox.target_url()));
    let (from, to) = writing(&sandbox, &proxy, "staged").await;
    let empty = r#"DELETE FROM "Book""#;
    for part in 0..PARTS {
        execute(&sandbox.target_admin_url(), empty).await;
        let cut = proxy.messages() + from + (to - from) * part / PARTS;
        proxy.cut_at(cut);
        let run = sync(&sandbox, "staged", &BATCHES).await;
        check_verified(&sandbox, &run).await;
        assert!(proxy.messages() > cut, "part {part} was not cut");
    }
    // Those of six batches, then that of the books.
    for commit in [1, 6, 7] {
        execute(&sandbox.target_admin_url(), empty).await;
        proxy.lose_answer_to_commit(proxy.commits() + commit);
        let run = sync(&sandbox, "staged", &BATCHES).await;
        check_verified(&sandbox, &run).await;
        let classes: Vec<Value> = retries(&run).iter().map(|retry| retry["class"].clone()).collect();
        assert_eq!(classes, ["ambiguous"], "COMMIT {commit}: {run:?}");
        assert_eq!(run.json_end()["counts"]["inserted"], 120, "{run:?}");
    }
}
