//! Two databases whose book tables differ: refused with the lines that mend it, and synced once they are there.

use std::fs;

use crate::guards::{check as check_guard, passes};
use crate::support::inspect::{dump, tuples};
use crate::support::sandbox::{Sandbox, WAYS};
use crate::support::servers::execute;

/// Changes a schema, sees the refusal, adds the lines that it names, syncs in each way, and compares what `source`
/// selects from production with what `target` selects from development; the refusal from its cause on.
async fn check(drift: &Drift) -> String {
    let sandbox = Sandbox::with_books(60).await;
    execute(&sandbox.source_admin_url(), &format!("{}; {GRANT}", drift.in_source)).await;
    execute(&sandbox.target_admin_url(), drift.in_target).await;
    let both =
        || async { [tuples(&sandbox.source_admin_url()).await, tuples(&sandbox.target_admin_url()).await] };
    let before = both().await;

    let refused = sandbox.run(&["sync", "--yes"]).await;

    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{refused:?}");
    assert!(both().await == before, "something was written");
    let lines: Vec<&str> = refused.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    fs::write(sandbox.directory().join("dewey-sync.toml"), lines.join("\n")).unwrap();
    // Every way, over books that the one before did not leave.
    for (strategy, engine) in WAYS {
        let tampering =
            r#"UPDATE "Book" SET title = title || '!' WHERE id % 7 = 0; DELETE FROM "Book" WHERE id % 5 = 0"#;
        execute(&sandbox.target_admin_url(), tampering).await;
        let call = ["sync", "--yes", "--allow-cascade", "--strategy", strategy, "--engine", engine];
        let run = sandbox.run(&call).await;
        assert_eq!(run.code, Some(0), "{strategy} {engine}: {run:?}");
        let [source, target] =
            [(&sandbox.source_admin_url(), drift.source), (&sandbox.target_admin_url(), drift.target)]
                .map(|(url, columns)| dump(url, &format!(r#"SELECT {columns} FROM "Book" ORDER BY 1"#)));
        assert!(!source.is_empty() && source == target, "{strategy} {engine}");
    }
    assert_eq!(sandbox.run(&["verify"]).await.code, Some(0));
    let again = sandbox.run(&["sync", "--yes"]).await;
    assert!(again.stdout.starts_with("unchanged nothing to do"), "{again:?}");
    let said = sandbox.redacted(&refused.stderr);
    said[said.find("error:").unwrap()..].to_owned()
}

struct Drift {
    in_source: &'static str,
    in_target: &'static str,
    /// What has to be the same, selected from each side.
    source: &'static str,
    target: &'static str,
}

const GRANT: &str = r#"GRANT SELECT ON "Book" TO reader"#;

#[tokio::test]
async fn a_renamed_column() {
    let drift = Drift {
        in_source: r#"ALTER TABLE "Book" RENAME "pageCount" TO "number of pages""#,
        in_target: "",
        source: r#"isbn13, "number of pages", title"#,
        target: r#"isbn13, "pageCount", title"#,
    };
    insta::assert_snapshot!(check(&drift).await, @r#"
    error: could not match the columns of `"Book"` on both sides
    caused by: production has `number of pages` and lacks `pageCount`, which may be the same

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [columns]
      "number of pages" = "pageCount"
    "#);
}

#[tokio::test]
async fn a_renamed_key() {
    let drift = Drift {
        in_source: r#"ALTER TABLE "Book" RENAME isbn13 TO ean"#,
        in_target: "",
        source: "ean, isbn10, title",
        target: "isbn13, isbn10, title",
    };
    insta::assert_snapshot!(check(&drift).await, @r#"
    error: could not match the columns of `"Book"` on both sides
    caused by: production has `ean` and lacks `isbn13`, which may be the same

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [columns]
      ean = "isbn13"
    "#);
}

#[tokio::test]
async fn what_only_development_knows_is_no_column_of_a_copy() {
    let sandbox = Sandbox::with_books(60).await;
    let shelf = r#"CREATE DOMAIN shelf AS text; ALTER TABLE "Book" ADD shelf shelf NOT NULL"#;
    execute(&sandbox.target_admin_url(), shelf).await;
    fs::write(sandbox.directory().join("dewey-sync.toml"), "[values]\nshelf = \"A 1\"\n").unwrap();
    let call = ["sync", "--yes", "--engine", "copy", "--strategy", "batched"];
    insta::assert_snapshot!(check_guard(&sandbox, &call).await, @r#"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    error: could not prepare the COPY of books
    caused by: production may not know the type of development's `shelf`

    state: `"Book"` is unchanged
    hint: use `--engine insert`, or `--strategy staged`
    "#);
    passes(&sandbox, &["sync", "--yes", "--engine", "copy"]).await;
    assert_eq!(dump(&sandbox.target_admin_url(), r#"SELECT DISTINCT shelf FROM "Book""#), b"A 1\n");
}

#[tokio::test]
async fn a_null_that_is_not_taken_is_told_from_a_book_without_an_owner() {
    let sandbox = Sandbox::with_books(60).await;
    let lines = "[values]\ntitle = { sql = \"CASE WHEN id > 9 THEN title END\" }\n\
        [owners]\n103 = 1\n106 = 1\n109 = 1\n112 = 1\n115 = 1\n118 = 1\n121 = 1\n";
    fs::write(sandbox.directory().join("dewey-sync.toml"), lines).unwrap();
    let run = sandbox.run(&["sync", "--yes", "--engine", "copy"]).await;
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains("caused by: null value in column \"title\""), "{run:?}");
    assert!(!run.stderr.contains("owns"), "{run:?}");
}

#[tokio::test]
async fn a_column_that_development_has_removed() {
    let drift = Drift {
        in_source: r#"ALTER TABLE "Book" ADD shelf text"#,
        in_target: r#"ALTER TABLE "Book" DROP binding, DROP "pageCount""#,
        source: "isbn13, title, publisher",
        target: "isbn13, title, publisher",
    };
    insta::assert_snapshot!(check(&drift).await, @r#"
    error: could not match the columns of `"Book"` on both sides
    caused by: development lacks `pageCount`; development lacks `binding`; development has no place for production's `shelf`

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [columns]
      pageCount = false
      binding = false
      shelf = false
    "#);
}

#[tokio::test]
async fn a_column_that_development_has_added_without_a_default() {
    let drift = Drift {
        in_source: r#"ALTER TABLE "Book" DROP language, DROP subjects"#,
        in_target: r#"ALTER TABLE "Book" ADD shelf varchar(9) NOT NULL, ADD lent boolean NOT NULL, ADD since date NOT NULL,
                      ADD note text, ADD stars integer NOT NULL DEFAULT 0"#,
        source: "isbn13, title, '', '{}'::text[], '', false, '1970-01-01'::date, NULL, 0",
        target: "isbn13, title, language, subjects, shelf, lent, since, note, stars",
    };
    insta::assert_snapshot!(check(&drift).await, @r#"
    error: could not match the columns of `"Book"` on both sides
    caused by: production lacks `language`; production lacks `subjects`; development's `shelf` needs a value, the same for every new book; development's `lent` needs a value, the same for every new book; development's `since` needs a value, the same for every new book

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [values]
      language = ""
      subjects = []
      shelf = ""
      lent = false
      since = 1970-01-01
    "#);
}

#[tokio::test]
async fn an_enum_label_that_development_lacks() {
    let drift = Drift {
        in_source: r#"ALTER TYPE "BookVisibility" ADD VALUE 'LENT'; COMMIT; UPDATE "Book" SET visibility = 'LENT' WHERE id % 3 = 0"#,
        in_target: "",
        source: "isbn13, replace(visibility::text, 'LENT', 'PRIVATE')",
        target: "isbn13, visibility",
    };
    insta::assert_snapshot!(check(&drift).await, @r#"
    error: could not match the columns of `"Book"` on both sides
    caused by: development's enum of `visibility` lacks production's `LENT`

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [labels]
      LENT = "PRIVATE"
    "#);
}

#[tokio::test]
async fn types_that_production_has_widened() {
    let drift = Drift {
        in_source: r#"ALTER TABLE "Book" ALTER "pageCount" TYPE bigint, ALTER isbn10 TYPE text, ALTER publisher DROP NOT NULL,
                      ALTER "createdAt" TYPE timestamptz(6), ALTER "readDate" TYPE timestamp(6);
                      UPDATE "Book" SET publisher = NULL, "createdAt" = '2020-02-03 04:05:06.123456+00' WHERE id % 3 = 0"#,
        in_target: "",
        source: r#"isbn13, isbn10, "pageCount", coalesce(publisher, ''), ("createdAt" AT TIME ZONE 'UTC')::timestamp(3), "readDate"::timestamp(3)"#,
        target: r#"isbn13, isbn10, "pageCount", publisher, "createdAt", "readDate""#,
    };
    insta::assert_snapshot!(check(&drift).await, @r#"
    error: could not match the columns of `"Book"` on both sides
    caused by: production's `isbn10` is `text`, development's is `character varying(10)`; production's `pageCount` is `bigint`, development's is `integer`; production's `publisher` may be NULL, development's may not; production's `createdAt` is `timestamp(6) with time zone`, development's is `timestamp(3) without time zone`; production's `readDate` is `timestamp(6) without time zone`, development's is `timestamp(3) without time zone`

    state: `"Book"` is unchanged
    hint: add to `DIR/dewey-sync.toml`, each line under its heading:
      [values]
      isbn10 = { sql = '"isbn10"' }
      pageCount = { sql = '"pageCount"::integer' }
      publisher = { sql = """coalesce("publisher", '')""" }
      createdAt = { sql = """("createdAt" AT TIME ZONE 'UTC')::timestamp(3)""" }
      readDate = { sql = '"readDate"::timestamp(3)' }
    "#);
}

/// A sandbox whose `dewey-sync.toml` says this.
async fn decided(lines: &str) -> Sandbox {
    let sandbox = Sandbox::with_books(40).await;
    fs::write(sandbox.directory().join("dewey-sync.toml"), lines).unwrap();
    sandbox
}

#[tokio::test]
async fn an_optional_column_that_a_side_lacks_is_left_out_and_told() {
    for (in_source, in_target, said) in [
        (r#"ALTER TABLE "Book" DROP "readDate""#, "", "note: `readDate` is not copied: production lacks it"),
        (
            "",
            r#"ALTER TABLE "Book" DROP "createdAt""#,
            "note: `createdAt` is not copied: development lacks it",
        ),
        (
            r#"ALTER TABLE "Book" DROP "updatedAt""#,
            "",
            "note: `updatedAt` is not copied: production lacks it",
        ),
    ] {
        let sandbox = decided("").await;
        execute(&sandbox.source_admin_url(), in_source).await;
        execute(&sandbox.target_admin_url(), in_target).await;
        let run = passes(&sandbox, &["sync", "--yes"]).await;
        assert!(run.stderr.contains(said), "{run:?}");
    }
}

#[tokio::test]
async fn an_expression_is_one_expression_on_the_source_and_nothing_else() {
    for sql in [
        "title); COMMIT; DROP TABLE \\\"Book\\\"; --",
        "title)::text; SELECT (1",
        "title; SELECT title",
        "no_such_column",
        "count(title)",
        "(title",
        "",
    ] {
        let sandbox = decided(&format!("[values]\ntitle = {{ sql = \"{sql}\" }}\n")).await;
        let before = tuples(&sandbox.source_admin_url()).await;
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(2), "{sql}: {run:?}");
        assert!(run.stderr.starts_with("error: could not compute `title` as `"), "{sql}: {run:?}");
        assert!(tuples(&sandbox.source_admin_url()).await == before, "{sql}");
    }
    let commented = decided("[values]\ntitle = { sql = \"upper(title) -- a comment\" }\n").await;
    passes(&commented, &["sync", "--yes"]).await;
    let [source, target] =
        [("upper(title)", commented.source_admin_url()), ("title", commented.target_admin_url())].map(
            |(title, url)| dump(&url, &format!(r#"SELECT isbn13, {title} FROM "Book" ORDER BY isbn13"#)),
        );
    assert_eq!(source, target);
}

#[tokio::test]
async fn an_expression_that_changes_from_one_look_to_the_next_is_no_success() {
    let sandbox = decided("[values]\ntitle = { sql = \"title || random()\" }\n").await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(run.stderr.contains("state: `\"Book\"` is unchanged"), "{run:?}");
}

#[tokio::test]
async fn a_difference_that_no_line_decides_wants_the_applications_schema() {
    for in_target in [
        r#"ALTER TABLE "Book" DROP isbn10"#,
        r#"ALTER TABLE "Book" ALTER "pageCount" TYPE text"#,
        r#"ALTER TABLE "Book" ALTER visibility DROP DEFAULT, ALTER visibility TYPE text"#,
    ] {
        let sandbox = decided("").await;
        execute(&sandbox.target_admin_url(), in_target).await;
        let said = check_guard(&sandbox, &["sync", "--yes"]).await;
        let hint = "hint: bring both databases to the same version of the application's schema";
        assert!(said.contains(hint), "{in_target}: {said}");
    }
}
