//! While books are applied, nobody else writes books or the rows that reference them, and everybody reads.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::apply::{staged, synced};
use crate::support::deadline::Deadline;
use crate::support::inspect::dump;
use crate::support::servers::{connect, execute};

/// The apply, and only the apply, waits here behind its changes for a lock that the test holds.
const WAIT: &str = r#"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        IF current_setting('application_name') LIKE 'dewey-sync%' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER wait AFTER UPDATE ON "Book" FOR EACH STATEMENT EXECUTE FUNCTION wait()"#;

#[tokio::test]
async fn writers_wait_for_an_apply_and_readers_do_not() {
    let sandbox = synced(40).await;
    let target = sandbox.target_admin_url();
    execute(&target, WAIT).await;
    execute(&sandbox.source_admin_url(), r#"UPDATE "Book" SET title = title || '!' WHERE id % 5 = 0"#).await;
    let kept = dump(&sandbox.source_admin_url(), r#"SELECT min(isbn13) FROM "Book" WHERE id % 5 <> 0"#);
    let kept = format!("isbn13 = '{}'", String::from_utf8(kept).unwrap().trim());
    let mut holder = connect(&target).await;
    sqlx::raw_sql("SELECT pg_advisory_lock(1)").execute(&mut holder).await.unwrap();
    let applying = tokio::spawn(async move { (staged(&sandbox, &[]).await, sandbox) });
    let mut other = connect(&target).await;
    waits_in_the_trigger(&mut other).await;

    for (statement, waits) in [
        (r#"SELECT count(*) FROM "Book" JOIN "User" u ON u.id = "ownerId""#, false),
        (
            r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'x', now() FROM "User""#,
            false,
        ),
        (&format!(r#"UPDATE "Book" SET language = 'xx' WHERE {kept}"#), true),
        (&format!(r#"DELETE FROM "Book" WHERE {kept}"#), true),
        (
            r#"INSERT INTO "BookInReadingList" ("bookId", "readingListId") SELECT max(b.id), max(l.id)
            FROM "Book" b, "ReadingList" l"#,
            true,
        ),
    ] {
        let done = sqlx::raw_sql(AssertSqlSafe(format!("SET lock_timeout = '300ms'; {statement}")));
        let done = done.execute(&mut other).await;
        let code = done.err().and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
        assert_eq!(code.as_deref(), waits.then_some("55P03"), "{statement}");
    }
    holder.close().await.unwrap();
    let (run, _sandbox) = applying.await.unwrap();
    assert_eq!(run.code, Some(0), "{run:?}");
}

async fn waits_in_the_trigger(connection: &mut PgConnection) {
    let deadline = Deadline::new();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name LIKE 'dewey-sync%' AND wait_event = 'advisory'";
    while sqlx::query(waiting).fetch_one(&mut *connection).await.unwrap().get::<i64, _>(0) == 0 {
        deadline.pause("nothing waits");
    }
}
