//! A book that is not as production has it never passes for one: the target alters what is written, `sync` itself says so.

use dewey_sync_entity::book::Column;
use futures_util::future::join_all;
use sea_orm::{IdenStatic, Iterable};
use serde_json::json;

use crate::support::inspect::{dump, tuples};
use crate::support::sandbox::{Run, Sandbox, WITHOUT_KEYS};
use crate::support::servers::execute;

/// Owns no book in the end, unless an owner was altered.
const OTHER_USER: i32 = 4711;

/// At the same time.
const SANDBOXES: usize = 2;

/// What a trigger of the target does to a book, and what `sync` should count.
struct Case {
    name: String,
    /// Which of the forty, as a condition on the source's rows that one row meets.
    book: &'static str,
    /// Before the row is written; in PL/pgSQL, on `NEW`.
    before: String,
    /// Afterwards.
    after: &'static str,
    /// After the old book was removed, on `OLD`.
    on_delete: &'static str,
    difference: [u64; 3],
}

const PLAIN: &str = "id = 120";
/// The one with a text of a megabyte.
const LONG: &str = "length(synopsis) = 1048576";
const MISSING: [u64; 3] = [1, 0, 0];
const EXTRA: [u64; 3] = [0, 1, 0];
const DIFFERENT: [u64; 3] = [0, 0, 1];

#[tokio::test]
async fn staged_sees_every_altered_column_and_keeps_the_old_books() {
    check_all(("staged", "insert"), altered_columns()).await;
}

#[tokio::test]
async fn staged_sees_rows_that_are_gone_too_many_or_almost_alike() {
    check_all(("staged", "copy"), altered_rows()).await;
}

#[tokio::test]
async fn atomic_sees_every_altered_column_and_keeps_the_old_books() {
    check_all(("atomic", "insert"), altered_columns()).await;
}

#[tokio::test]
async fn batched_sees_every_altered_column() {
    check_all(("batched", "insert"), altered_columns()).await;
}

#[tokio::test]
async fn atomic_sees_rows_that_are_gone_too_many_or_almost_alike() {
    check_all(("atomic", "copy"), altered_rows()).await;
}

#[tokio::test]
async fn batched_sees_rows_that_are_gone_too_many_or_almost_alike() {
    check_all(("batched", "copy"), altered_rows()).await;
}

/// One case for each column but the `id`, which the target gives.
fn altered_columns() -> Vec<Case> {
    let columns = Column::iter().filter(|column| !matches!(column, Column::Id));
    let case = |column: Column| {
        let new = format!("NEW.\"{}\"", column.as_str());
        let other = match column {
            Column::OwnerId => OTHER_USER.to_string(),
            Column::Isbn10 | Column::Isbn13 => format!("translate({new}, '0123456789', '1234567890')"),
            Column::PageCount => format!("{new} + 1"),
            Column::Authors | Column::Subjects => format!("array_append({new}, NULL)"),
            Column::Visibility => format!("CASE {new} WHEN 'PUBLIC' THEN 'PRIVATE' ELSE 'PUBLIC' END"),
            Column::CreatedAt | Column::ReadDate | Column::UpdatedAt => {
                format!("coalesce({new}, 'epoch') + interval '1 ms'")
            }
            // A text, or the test fails because PostgreSQL says no.
            _ => format!("coalesce({new}, '') || ' '"),
        };
        Case {
            name: column.as_str().to_owned(),
            book: PLAIN,
            before: format!("{new} := {other};"),
            after: "",
            on_delete: "",
            difference: if matches!(column, Column::Isbn13) { [1, 1, 0] } else { DIFFERENT },
        }
    };
    columns.map(case).collect()
}

fn altered_rows() -> Vec<Case> {
    let almost = |name: &str, book: &'static str, before: &str| Case {
        name: name.to_owned(),
        book,
        before: before.to_owned(),
        after: "",
        on_delete: "",
        difference: DIFFERENT,
    };
    vec![
        Case { difference: MISSING, ..almost("swallowed", PLAIN, "RETURN NULL;") },
        Case {
            after: "NEW.id := nextval('\"Book_id_seq\"'); NEW.isbn10 := 'added'; NEW.isbn13 := 'added';
                INSERT INTO \"Book\" SELECT NEW.*;",
            difference: EXTRA,
            ..almost("added", PLAIN, "")
        },
        Case {
            on_delete: "INSERT INTO \"Book\" SELECT OLD.*;",
            difference: EXTRA,
            ..almost("never removed", PLAIN, "")
        },
        Case {
            after: "NEW.id := nextval('\"Book_id_seq\"'); INSERT INTO \"Book\" SELECT NEW.*;",
            difference: EXTRA,
            ..almost("duplicated", PLAIN, "")
        },
        almost("{} for NULL", "authors IS NULL", "NEW.authors := '{}';"),
        almost("NULL for {}", "authors = '{}'", "NEW.authors := NULL;"),
        almost("the text NULL for NULL", "authors = '{NULL}'", "NEW.authors := '{\"NULL\"}';"),
        almost("array bounds", "authors::text = '[0:1]={NULL,x}'", "NEW.authors := '{NULL,x}';"),
        almost("array dimensions", "authors::text = '{{a,b},{c,NULL}}'", "NEW.authors := '{a,b,c,NULL}';"),
        almost("an empty text for NULL", "id = 63", "NEW.edition := '';"),
        almost("another normal form", "id = 24", "NEW.title := normalize(NEW.title, NFC);"),
        almost("NULL for infinity", "\"readDate\" = 'infinity'", "NEW.\"readDate\" := NULL;"),
        almost(
            "one byte of a megabyte",
            LONG,
            "NEW.synopsis := overlay(NEW.synopsis PLACING '#' FROM 999999);",
        ),
    ]
}

/// Each of a few sandboxes takes its share of `cases`, one after another.
async fn check_all(way: (&str, &str), cases: Vec<Case>) {
    let share = cases.len().div_ceil(SANDBOXES);
    let shares = cases.chunks(share).map(|cases| async move {
        let long = cases.iter().any(|case| case.book == LONG);
        let sandbox = sandbox(long).await;
        for case in cases {
            check(&sandbox, way, case).await;
        }
    });
    join_all(shares).await;
}

/// The trigger of a target with an old book alters one of the forty that come.
async fn check(sandbox: &Sandbox, way: (&str, &str), case: &Case) {
    let (strategy, _) = way;
    let Case { name, book, difference: [missing, extra, different], .. } = case;
    alter(sandbox, case).await;
    let old = stored(sandbox);

    let run = sync(sandbox, way).await;

    assert_eq!(run.code, Some(4), "{strategy}, {name} with {book}: {run:?}");
    let end = run.json_end();
    assert_eq!((&end["outcome"], &end["fingerprint"]), (&json!("differs"), &json!(null)), "{name}");
    let counted =
        format!("books missing: {missing}, extra: {extra}, with another value or owner: {different}");
    assert_eq!(end["error"]["causes"], json!([counted]), "{strategy}, {name}");
    let recorded = "SELECT state, error LIKE '%' || $1 FROM dewey_sync.run ORDER BY run_id DESC LIMIT 1";
    let recorded = recorded.replace("$1", &format!("'{counted}'"));
    assert_eq!(dump(&sandbox.target_admin_url(), &recorded), b"differs\tt\n", "{name}");
    if strategy != "batched" {
        assert!(stored(sandbox) == old, "{name}: the target is another one");
        assert_eq!(end["error"]["state"], r#"`"Book"` is unchanged"#);
    }
}

#[tokio::test]
async fn verify_counts_what_was_changed_after_a_sync_and_writes_nothing() {
    let sandbox = sandbox(true).await;
    assert_eq!(sync(&sandbox, ("atomic", "insert")).await.code, Some(0));
    let equal = sandbox.run(&["verify"]).await;
    assert_eq!(
        (equal.code, equal.stdout.as_str()),
        (Some(0), "verified  40 books, every copied column and the owner\n")
    );

    let tampering = format!(
        r#"
        DELETE FROM "Book" WHERE title = 'NULL';
        UPDATE "Book" SET "ownerId" = {OTHER_USER} WHERE {LONG};
        UPDATE "Book" SET authors = NULL WHERE authors = '{{}}';
        INSERT INTO "Book" SELECT -1, 1, 'extra', 'extra', '', '', '', '', '', NULL, 1, NULL, '', NULL, '', '', '', 'PUBLIC',
            now(), NULL, now();
        "#
    );
    execute(&sandbox.target_admin_url(), &tampering).await;
    let before = (tuples(&sandbox.source_admin_url()).await, tuples(&sandbox.target_admin_url()).await);

    let run = sandbox.run(&["verify"]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(4), ""), "{run:?}");
    insta::assert_snapshot!(&run.stderr[run.stderr.find("error:").unwrap()..], @"
    error: the target is not equal to the source
    caused by: books missing: 1, extra: 1, with another value or owner: 2

    hint: run `dewey-sync sync`
    ");
    let json = sandbox.run(&["verify", "--output", "json"]).await;
    assert_eq!(json.code, Some(4));
    let mut end = json.json_end();
    assert!(end["duration_ms"].take().is_u64());
    insta::assert_snapshot!(serde_json::to_string_pretty(&end).unwrap(), @r#"
    {
      "changes": {
        "added": 1,
        "changed": 2,
        "deleted": 1,
        "unchanged": 37
      },
      "command": "verify",
      "duration_ms": null,
      "error": {
        "causes": [
          "books missing: 1, extra: 1, with another value or owner: 2"
        ],
        "hint": "run `dewey-sync sync`",
        "message": "the target is not equal to the source",
        "state": null
      },
      "event": "end",
      "exit_code": 4,
      "fingerprint": null,
      "outcome": "differs"
    }
    "#);
    assert_eq!(
        sandbox.run(&["verify", "--user-id", &OTHER_USER.to_string()]).await.code,
        Some(4),
        "all but one differ"
    );

    let after = (tuples(&sandbox.source_admin_url()).await, tuples(&sandbox.target_admin_url()).await);
    assert_eq!(after, before);
}

#[tokio::test]
async fn verify_of_several_users_and_no_run_wants_to_know_the_owner() {
    let sandbox = sandbox(false).await;
    let unknown = sandbox.run(&["verify"]).await;
    assert_eq!(unknown.code, Some(2));
    insta::assert_snapshot!(&unknown.stderr[unknown.stderr.find("error:").unwrap()..], @"
    error: could not tell who should own the books
    caused by: the target has several users, and no sync is on record

    hint: add `--user-id N` or `--user-email EMAIL`
    ");

    let json = sandbox.run(&["verify", "--user-email", "x@example.org", "--output", "json"]).await;
    assert_eq!(json.code, Some(4));
    let changes = json!({ "added": 40, "changed": 0, "deleted": 0, "unchanged": 0 });
    assert_eq!(json.json_end()["changes"], changes);
}

/// The target has two users, and no unique key of books.
async fn sandbox(with_long_text: bool) -> Sandbox {
    let sandbox =
        if with_long_text { Sandbox::with_long_text(40).await } else { Sandbox::with_books(40).await };
    let setup = format!(
        r#"
        INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES ({OTHER_USER}, 'x', 'x@example.org', now());
        {WITHOUT_KEYS}
        "#
    );
    execute(&sandbox.target_admin_url(), &setup).await;
    sandbox
}

/// Gives the target an old book, and the triggers of `case` in place of those before.
async fn alter(sandbox: &Sandbox, case: &Case) {
    let Case { name, book, before, after, on_delete, .. } = case;
    let key = dump(&sandbox.source_admin_url(), &format!(r#"SELECT isbn13 FROM "Book" WHERE {book}"#));
    let key = String::from_utf8(key).unwrap();
    assert_eq!(key.lines().count(), 1, "{name}: one book with {book}");
    let triggers = format!(
        r#"
        DROP FUNCTION IF EXISTS before_insert, after_insert, after_delete CASCADE;
        INSERT INTO "Book" SELECT -1, 1, 'old', 'old', '', '', '', '', '', NULL, 1, NULL, '', NULL, '', '', '', 'PUBLIC',
            now(), NULL, now() WHERE NOT EXISTS (SELECT FROM "Book" WHERE isbn13 = 'old');
        CREATE FUNCTION before_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {before} RETURN NEW; END $$;
        CREATE FUNCTION after_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {after} RETURN NULL; END $$;
        CREATE FUNCTION after_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {on_delete} RETURN NULL; END $$;
        CREATE TRIGGER before_insert BEFORE INSERT ON "Book" FOR EACH ROW
            WHEN (NEW.isbn13 = '{key}') EXECUTE FUNCTION before_insert();
        CREATE TRIGGER after_insert AFTER INSERT ON "Book" FOR EACH ROW
            WHEN (NEW.isbn13 = '{key}' AND pg_trigger_depth() = 0) EXECUTE FUNCTION after_insert();
        CREATE TRIGGER after_delete AFTER DELETE ON "Book" FOR EACH ROW
            WHEN (OLD.isbn13 = 'old') EXECUTE FUNCTION after_delete();
        "#,
        key = key.trim_end()
    );
    execute(&sandbox.target_admin_url(), &triggers).await;
}

async fn sync(sandbox: &Sandbox, (strategy, engine): (&str, &str)) -> Run {
    let arguments = ["sync", "--yes", "--output", "json", "--user-id", "1", "--batch-size", "15"];
    let others = ["--strategy", strategy, "--engine", engine, "--mark-development", &sandbox.target_name()];
    sandbox.run(&[&arguments[..], &others].concat()).await
}

/// The rows of books and users with the transactions that wrote them.
fn stored(sandbox: &Sandbox) -> [Vec<u8>; 2] {
    let rows = |table| format!(r#"SELECT ctid, xmin, * FROM "{table}" ORDER BY id"#);
    ["Book", "User"].map(|table| dump(&sandbox.target_admin_url(), &rows(table)))
}
