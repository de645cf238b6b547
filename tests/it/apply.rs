//! The transaction that makes the books equal to the verified stage: the fewest writes, every id kept, nothing lost that
//! was not announced.

use serde_json::json;

use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

/// The rows of `query` in the target.
fn rows(sandbox: &Sandbox, query: &str) -> String {
    String::from_utf8(dump(&sandbox.target_admin_url(), query)).unwrap()
}

async fn staged(sandbox: &Sandbox) -> Run {
    sandbox.run(&["sync", "--yes", "--strategy", "staged", "--output", "json"]).await
}

/// A sandbox whose target holds the source's books.
async fn synced(books: u32) -> Sandbox {
    let sandbox = Sandbox::with_books(books).await;
    let run = staged(&sandbox).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    sandbox
}

/// Syncs again, and sees both sides equal; the numbers of books new, changed, removed and unchanged.
async fn applies(sandbox: &Sandbox) -> [u64; 4] {
    let run = staged(sandbox).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(dump(&sandbox.target_url(), BOOKS), dump(&sandbox.source_url(), BOOKS));
    let counts = &run.json_end()["counts"];
    ["inserted", "updated", "deleted", "unchanged"].map(|name| counts[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_first_fill_inserts_every_book_and_records_how_long_it_took() {
    let sandbox = Sandbox::with_books(40).await;
    assert_eq!(applies(&sandbox).await, [40, 0, 0, 0]);
    let recorded = rows(
        &sandbox,
        "SELECT state, exported, inserted, updated, deleted, unchanged, apply_ms IS NOT NULL, fingerprint_rows
         FROM dewey_sync.run",
    );
    assert_eq!(recorded, "verified\t40\t40\t0\t0\t0\tt\t40\n");
    let _ = json!({});
}
