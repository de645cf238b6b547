//! Guards that look at the source alone: it has books, and its role had better not be able to write.

use crate::guards::{add_a_book, check, passes, synced};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{READER, execute};

const STRATEGIES: [&str; 3] = ["staged", "atomic", "batched"];

#[tokio::test]
async fn a_source_without_books_empties_no_target_unless_that_is_said() {
    let sandbox = synced().await;
    execute(&sandbox.source_admin_url(), r#"DELETE FROM "Book""#).await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: production has no books
    caused by: the target would lose 357 books

    state: `"Book"` is unchanged
    hint: check the source's URL and its `schema` parameter; if production has no books, add `--allow-empty-source`
    "#);
    for strategy in STRATEGIES {
        for call in [&["sync", "--dry-run"][..], &["sync", "--yes"], &["setup", "--dry-run"]] {
            let said = check(&sandbox, &[call, &["--strategy", strategy]].concat()).await;
            assert!(said.contains("error: production has no books"), "{call:?}: {said}");
        }
        // It answers no question.
        let asked = sandbox.run(&["sync", "--allow-empty-source", "--strategy", strategy]).await;
        assert_eq!(asked.code, Some(8), "{asked:?}");
    }
    for strategy in STRATEGIES {
        let call = ["sync", "--yes", "--allow-empty-source", "--strategy", strategy];
        passes(&sandbox, &call).await;
        assert_eq!(dump(&sandbox.target_url(), BOOKS), b"", "{strategy}");
        add_a_book(&sandbox).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_where_neither_side_has_books() {
    let sandbox = Sandbox::with_books(1).await;
    execute(&sandbox.source_admin_url(), r#"DELETE FROM "Book""#).await;
    let run = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(run.stdout.contains("nothing to do"), "{run:?}");
}

#[tokio::test]
async fn a_source_role_that_could_write_is_told_and_one_that_may_only_read_is_not() {
    const NOTE: &str = "note: the source's role may change books";
    let sandbox = Sandbox::with_books(1).await;
    let run = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(!run.stderr.contains("note:"), "{run:?}");
    for right in ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "UPDATE (title)", "INSERT (title)"] {
        let book = format!(r#"ON "Book" TO {READER}"#);
        execute(&sandbox.source_admin_url(), &format!("GRANT {right} {book}")).await;
        for call in [&["sync", "--dry-run"][..], &["sync", "--yes"], &["verify"]] {
            let run = passes(&sandbox, call).await;
            assert!(run.stderr.contains(NOTE), "{right}, {call:?}: {run:?}");
        }
        let book = book.replace(" TO ", " FROM ");
        execute(&sandbox.source_admin_url(), &format!("REVOKE {right} {book}")).await;
    }
    sandbox.set_urls(&sandbox.source_admin_url(), &sandbox.target_url());
    let run = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(run.stderr.contains(NOTE), "{run:?}");
}
