//! Tables of others may have columns with the names that statements of ours use.

use crate::apply::{copy_of, rows, staged, synced, takes};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

/// What our statements call tables, columns and results.
const NAMES: [&str; 46] = [
    "node",
    "relation",
    "tuple",
    "hit",
    "next",
    "old",
    "row",
    "digest",
    "place",
    "action",
    "run_id",
    "book_id",
    "source_id",
    "table_name",
    "columns",
    "t",
    "p",
    "d",
    "b",
    "k",
    "s",
    "r",
    "new",
    "moved",
    "m",
    "w",
    "o",
    "books",
    "copied",
    "state",
    "touched",
    "highest",
    "sequence",
    "last_value",
    "is_called",
    "staged",
    "kept",
    "removed",
    "changed",
    "found",
    "effects",
    "counts",
    "name",
    "rights",
    "f",
    "a",
];

/// Loans of books, with fines, whose rows `action` decides about.
async fn lent(action: &str) -> Sandbox {
    let sandbox = synced(20).await;
    let named = NAMES.map(|name| format!(r#""{name}" text DEFAULT 'x'"#));
    let tables = format!(
        r#"ALTER TABLE "Book" ADD {of_books}; CREATE TABLE loan (id serial PRIMARY KEY, of integer REFERENCES "Book" ON DELETE CASCADE, {named});
           CREATE TABLE fine (id serial PRIMARY KEY, loan integer REFERENCES loan ON DELETE {action}, {named});
           INSERT INTO loan (of) SELECT id FROM "Book"; INSERT INTO fine (loan) SELECT id FROM loan"#,
        of_books = named.join(", ADD "),
        named = named.join(", "),
    );
    execute(&sandbox.target_url(), &tables).await;
    let changes = r#"DELETE FROM "Book" WHERE id = 6;"#.to_owned()
        + &takes(&[(9, 12), (12, 9)])
        + &copy_of(15, 1000, "x");
    execute(&sandbox.source_admin_url(), &changes).await;
    sandbox
}

fn all(sandbox: &Sandbox) -> [String; 3] {
    ["\"Book\"", "loan", "fine"]
        .map(|table| rows(sandbox, &format!("SELECT t::text FROM {table} t ORDER BY 1")))
}

#[tokio::test]
async fn rows_are_counted_deleted_and_brought_back() {
    for action in ["CASCADE", "SET NULL"] {
        let sandbox = lent(action).await;
        let before = all(&sandbox);
        let run = staged(&sandbox, &["--allow-cascade"]).await;
        assert_eq!(run.code, Some(0), "{action}: {run:?}");
        assert_ne!(all(&sandbox), before);
        let run = sandbox.run(&["undo", "--yes"]).await;
        assert_eq!(run.code, Some(0), "{action}: {run:?}");
        assert_eq!(all(&sandbox), before, "{action}");
    }
}

#[tokio::test]
async fn rows_that_forbid_are_counted() {
    let sandbox = lent("RESTRICT").await;
    let before = all(&sandbox);
    let run = staged(&sandbox, &["--allow-cascade"]).await;
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.json_end()["error"].to_string().contains("1 row of `public.fine` forbids"), "{run:?}");
    assert_eq!(all(&sandbox), before);
}

#[tokio::test]
async fn every_strategy_writes_beside_them() {
    let sandbox = lent("CASCADE").await;
    for strategy in ["batched", "atomic"] {
        let call = ["sync", "--yes", "--strategy", strategy, "--allow-cascade", "--output", "json"];
        let run = sandbox.run(&call).await;
        assert_eq!(
            (run.code, &run.json_end()["outcome"]),
            (Some(0), &"verified".into()),
            "{strategy}: {run:?}"
        );
        execute(&sandbox.source_admin_url(), &takes(&[(9, 12), (12, 9)])).await;
    }
}
