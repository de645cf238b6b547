//! What has to be true after a fault, by content and by the servers' own catalogues, not by what the tool says.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::expected::{Entry, State, number, relations};
use crate::pause;
use crate::servers::{MARKER, PASSWORD, Which, connect};
use crate::tool::{Ran, Tool};
use crate::world::{Harm, Verdict, World, ensure};

/// The states of a run that `--resume` takes up.
const UNFINISHED: &str = "('running', 'interrupted', 'not_completed', 'unreachable', 'refused', 'failed')";

/// A session ends a little after its client.
const SESSIONS_END: Duration = Duration::from_secs(10);

/// The exit code is one of those that the case allows.
pub(crate) fn code(ran: &Ran, allowed: &[i32]) -> Verdict {
    let right = ran.code.is_some_and(|code| allowed.contains(&code));
    // 4 is the honest one, but that the sides differ is a harm for itself.
    let harm = if ran.code == Some(4) { Harm::HalfSynced } else { Harm::Other };
    ensure(right, harm, || format!("not one of {allowed:?}: {ran}"))
}

/// After a run that did not succeed: the target is old, new, or what the strategy lets a resume complete.
pub(crate) async fn between(world: &World) -> Verdict {
    let mut target = connect(&world.url(Which::Target)).await;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut target).await.unwrap();
    let found = State::of_target(&mut target).await;
    let whole_batches = whole_batches(world, &found, &mut target).await;
    let stage = stage_without_checkpoints(&mut target).await;
    target.close().await.unwrap();
    secrets(world)?;
    ensure(found.rows == found.books.len(), Harm::Duplicated, || found.difference(&world.old))?;
    ensure(stage == 0, Harm::HalfSynced, || format!("{stage} staged books of no checkpoint"))?;
    if world.changes.source || world.changes.entries {
        return Ok(());
    }
    let old = found == world.old;
    let new = world.is_new(&found);
    let allowed = old || new || (world.way.strategy == "batched" && whole_batches);
    ensure(allowed, Harm::HalfSynced, || {
        let from_old = found.difference(&world.old);
        format!("from old: {from_old}; from new: {}", found.difference(&world.new))
    })
}

/// Whether the books are exactly those of the ranges that have a checkpoint.
async fn whole_batches(world: &World, found: &State, target: &mut PgConnection) -> bool {
    let ranges = sqlx::raw_sql(
        "SELECT batch, coalesce(after_id, -2147483649), coalesce(through_id, 2147483647) FROM dewey_sync.checkpoint
         WHERE run_id = (SELECT max(run_id) FROM dewey_sync.checkpoint)",
    );
    let rows = ranges.fetch_all(target).await.unwrap();
    let ranges: Vec<(i64, i64)> =
        rows.iter().filter(|row| row.get::<i32, _>(0) > 0).map(|row| (row.get(1), row.get(2))).collect();
    let inside = |id: i64| ranges.iter().any(|(after, through)| id > *after && id <= *through);
    let mut expected = world.new.clone();
    expected.books.retain(|_, book| inside(book.id));
    expected.rows = expected.books.len();
    // Batch 0, the deletion.
    !rows.is_empty() && found.has_books_of(&expected)
}

/// Books in the stage that no checkpoint vouches for.
async fn stage_without_checkpoints(target: &mut PgConnection) -> i64 {
    number(
        target,
        "SELECT count(*) FROM dewey_sync.stage s WHERE NOT EXISTS (
           SELECT FROM dewey_sync.stage_checkpoint c WHERE c.run_id = s.run_id
             AND s.source_id > coalesce(c.after_id, -2147483649) AND s.source_id <= coalesce(c.through_id, 2147483647))",
    )
    .await
}

/// After a run that succeeded, and after [`recover`].
pub(crate) async fn verified(world: &World) -> Verdict {
    secrets(world)?;
    let mut target = connect(&world.url(Which::Target)).await;
    let found = State::of_target(&mut target).await;
    if !world.changes.source {
        books(world, &found)?;
    }
    if world.way.undoes() {
        ensure(found == world.new, Harm::Lost, || "an id or an entry is not what it was".into())?;
    } else if !world.changes.entries && !world.changes.source {
        dependents(world, &found)?;
    }
    ledger(world, &mut target).await?;
    let behind = r#"SELECT count(*) FROM "Book" WHERE id > (SELECT last_value FROM "Book_id_seq")"#;
    let behind = number(&mut target, behind).await;
    ensure(behind == 0, Harm::Other, || format!("{behind} ids are ahead of their sequence"))?;
    leftovers(world, &mut target).await?;
    if world.way.undoes() {
        nothing_to_undo(&mut target).await?;
    }
    target.close().await.unwrap();
    source(world).await
}

fn books(world: &World, found: &State) -> Verdict {
    let difference = || found.difference(&world.new);
    ensure(found.rows == found.books.len(), Harm::Duplicated, difference)?;
    let missing = world.new.books.keys().any(|isbn| !found.books.contains_key(isbn));
    ensure(!missing, Harm::Lost, difference)?;
    ensure(found.has_books_of(&world.new), Harm::HalfSynced, difference)
}

/// `staged` keeps the ids of books on both sides and what hangs on them; the others remove every book.
fn dependents(world: &World, found: &State) -> Verdict {
    let entries: Vec<Entry> = if world.way.strategy == "staged" {
        let kept = || world.old.books.iter().filter(|(isbn, _)| world.new.books.contains_key(*isbn));
        for (isbn, book) in kept() {
            let id = found.books.get(isbn).map(|book| book.id);
            ensure(id == Some(book.id), Harm::Lost, || format!("book {} is {id:?} now", book.id))?;
        }
        let ids: Vec<i64> = kept().map(|(_, book)| book.id).collect();
        world.old.entries.iter().filter(|entry| ids.contains(&entry.book)).cloned().collect()
    } else {
        Vec::new()
    };
    ensure(found.entries == entries, Harm::Lost, || {
        format!("{} entries of reading lists in place of {}", found.entries.len(), entries.len())
    })
}

async fn ledger(world: &World, target: &mut PgConnection) -> Verdict {
    let action = if world.way.undoes() { "undo" } else { "sync" };
    let states = format!("SELECT state FROM dewey_sync.run WHERE action = '{action}' ORDER BY run_id");
    let states = sqlx::raw_sql(AssertSqlSafe(states)).fetch_all(&mut *target);
    let states: Vec<String> = states.await.unwrap().iter().map(|row| row.get(0)).collect();
    let verified = states.iter().filter(|state| *state == "verified").count();
    let done = |state: &String| ["verified", "unchanged"].contains(&state.as_str());
    // `batched` commits its batches before it compares them: whoever takes over in between finds equal sides.
    let overtaken =
        world.way.strategy == "batched" && verified == 0 && states.iter().any(|state| state == "superseded");
    // A run over equal sides is `unchanged`.
    let right = states.last().is_some_and(done)
        && (verified == 1
            || overtaken
            || world.changes.source
            || world.changes.entries
            || (world.changes.runs && verified == 2))
        && !states.iter().any(|state| state == "running");
    ensure(right, Harm::Other, || format!("the ledger's runs are {states:?}"))?;
    if world.way.strategy != "batched" {
        return Ok(());
    }
    let finished = if overtaken { "superseded" } else { "verified" };
    let batches = format!(
        "SELECT count(*) FROM (SELECT batch, after_id, through_id FROM dewey_sync.checkpoint
         WHERE run_id = (SELECT max(run_id) FROM dewey_sync.run WHERE state = '{finished}')) c"
    );
    let batches = number(target, &batches).await;
    // The deletion and three batches; what was copied again adds to them.
    let right = batches == 4 || (world.changes.source && batches > 0);
    ensure(right, Harm::Other, || format!("{batches} checkpoints"))
}

/// No session, no lock, no stage, no table.
pub(crate) async fn leftovers(world: &World, target: &mut PgConnection) -> Verdict {
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'dewey-sync%'";
    let deadline = Instant::now() + SESSIONS_END;
    while number(target, sessions).await > 0 {
        ensure(Instant::now() < deadline, Harm::Leaked, || "a session is left".into())?;
        pause(Duration::from_millis(5)).await;
    }
    for (what, sql) in [
        (
            "advisory locks",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ),
        ("staged books", "SELECT count(*) FROM dewey_sync.stage"),
        ("checkpoints of a stage", "SELECT count(*) FROM dewey_sync.stage_checkpoint"),
    ] {
        let count = number(target, sql).await;
        ensure(count == 0, Harm::Leaked, || format!("{count} {what} are left"))?;
    }
    let relations = relations(target).await;
    ensure(relations == world.relations, Harm::Leaked, || format!("there are {relations:?}"))
}

/// An undo keeps nothing for another one.
async fn nothing_to_undo(target: &mut PgConnection) -> Verdict {
    let kept =
        "SELECT (SELECT count(*) FROM dewey_sync.replaced) + (SELECT count(*) FROM dewey_sync.generation)";
    let kept = number(target, kept).await;
    ensure(kept == 0, Harm::Leaked, || format!("{kept} rows are kept for another undo"))
}

/// The source holds what it held; that it was only read is for its statement log to say.
async fn source(world: &World) -> Verdict {
    let mut source = connect(&world.url(Which::Source)).await;
    let found = State::of_source(&mut source).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'dewey-sync%'";
    let deadline = Instant::now() + SESSIONS_END;
    while number(&mut source, sessions).await > 0 {
        ensure(Instant::now() < deadline, Harm::Leaked, || "a session is left on the source".into())?;
        pause(Duration::from_millis(5)).await;
    }
    source.close().await.unwrap();
    let untouched = world.changes.source || found == world.production;
    ensure(untouched, Harm::Lost, || format!("the source changed: {}", found.difference(&world.production)))
}

/// No output showed a password or a title.
fn secrets(world: &World) -> Verdict {
    let said = world.said.lock().unwrap();
    for secret in [MARKER, PASSWORD] {
        ensure(!said.contains(secret), Harm::Leaked, || "a secret or a title was shown".into())?;
    }
    Ok(())
}

/// With nothing in between, the next run has to come to the end.
pub(crate) async fn recover(world: &mut World) -> Verdict {
    world.heal();
    // Of an undo that is committed nothing is left to undo.
    let done = world.way.undoes() && target(world).await == world.new;
    let ran = resume_or_run(world).await.end().await?;
    code(&ran, if done { &[2] } else { &[0] })?;
    verified(world).await
}

/// Starts to resume, or anew where there is nothing to resume.
pub(crate) async fn resume_or_run(world: &World) -> Tool {
    let mut target = connect(&world.url(Which::Target)).await;
    let planned =
        format!("SELECT count(*) FROM dewey_sync.run WHERE state IN {UNFINISHED} AND plan IS NOT NULL");
    let planned = number(&mut target, &planned).await > 0;
    target.close().await.unwrap();
    let resumes = planned && world.way.strategy != "atomic" && !world.way.undoes();
    if resumes { world.start_call(&world.resume_call()) } else { world.start() }
}

/// The usual end of a case: what the run came to, then a recovery unless it succeeded.
pub(crate) async fn ended(world: &mut World, ran: &Ran, allowed: &[i32]) -> Verdict {
    world.fired(ran)?;
    code(ran, allowed)?;
    if ran.code == Some(0) {
        world.heal();
        return verified(world).await;
    }
    world.heal();
    between(world).await?;
    recover(world).await
}

/// What the target holds now.
pub(crate) async fn target(world: &World) -> State {
    let mut target = connect(&world.url(Which::Target)).await;
    let state = State::of_target(&mut target).await;
    target.close().await.unwrap();
    state
}

/// Rows as text, for what a case asks itself.
pub(crate) async fn texts(url: &str, sql: &str) -> Vec<String> {
    let mut connection = connect(url).await;
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
