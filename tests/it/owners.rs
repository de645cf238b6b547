//! Books of several owners in production, owned by several users in development.

use std::fs;

use crate::guards::{check, passes};
use crate::support::inspect::dump;
use crate::support::sandbox::{Sandbox, WAYS};
use crate::support::servers::execute;

/// A sandbox with 60 books of the owners 103, 106, … 121, users 1 (ada), 2 (bob) and 3 (cy) in development, and these lines.
async fn sandbox(lines: &str) -> Sandbox {
    let sandbox = Sandbox::with_books(60).await;
    let users = r#"INSERT INTO "User" ("clerkId", email, "updatedAt")
                   VALUES ('b', 'bob@example.org', now()), ('c', 'cy@example.org', now())"#;
    execute(&sandbox.target_admin_url(), users).await;
    fs::write(sandbox.directory().join("dewey-sync.toml"), lines).unwrap();
    sandbox
}

/// Every book with its owner, those of production as `sql` maps them.
fn is_mapped(sandbox: &Sandbox, sql: &str) -> bool {
    let [source, target] = [(sandbox.source_admin_url(), sql), (sandbox.target_admin_url(), r#""ownerId""#)]
        .map(|(url, owner)| dump(&url, &format!(r#"SELECT isbn13, {owner} FROM "Book" ORDER BY isbn13"#)));
    !source.is_empty() && source == target
}

#[tokio::test]
async fn every_strategy_gives_each_book_to_whom_the_map_names() {
    let sandbox = sandbox("[owners]\n103 = 2\n112 = 3\ndefault = 1\n").await;
    let mapped = r#"CASE "ownerId" WHEN 103 THEN 2 WHEN 112 THEN 3 ELSE 1 END"#;
    for (strategy, engine) in WAYS {
        let run = passes(&sandbox, &["sync", "--yes", "--strategy", strategy, "--engine", engine]).await;
        assert!(run.stderr.contains("\nowner   ada@example.org (user 1, default)\n"), "{run:?}");
        assert!(run.stderr.contains("\nowners  103 to 2, 112 to 3 as the owner map says\n"), "{run:?}");
        assert!(is_mapped(&sandbox, mapped), "{strategy} {engine}");
        passes(&sandbox, &["verify"]).await;
        let wrong = r#"UPDATE "Book" SET "ownerId" = 4 - "ownerId""#;
        execute(&sandbox.target_admin_url(), wrong).await;
        assert_eq!(sandbox.run(&["verify"]).await.code, Some(4));
    }
}

#[tokio::test]
async fn a_user_that_the_call_names_is_the_default_and_a_map_of_the_call_replaces_the_files() {
    let sandbox = sandbox("[owners]\n103 = 3\n").await;
    let file = sandbox.directory().join("owners.toml");
    fs::write(&file, "121 = 2\n").unwrap();
    passes(&sandbox, &["sync", "--yes", "--user-email", "cy@example.org"]).await;
    assert!(is_mapped(&sandbox, "3"));
    let call = ["sync", "--yes", "--user-id", "1", "--owner-map", file.to_str().unwrap()];
    passes(&sandbox, &call).await;
    assert!(is_mapped(&sandbox, r#"CASE "ownerId" WHEN 121 THEN 2 ELSE 1 END"#));
}

#[tokio::test]
async fn without_a_default_every_owner_has_to_be_named() {
    let sandbox = sandbox("[owners]\n103 = 1\n106 = 2\n109 = 3\n112 = 1\n115 = 2\n").await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: could not find an owner for every book
    caused by: the owner map names nobody for production's user 118 with 9 books, user 121 with 6 books

    state: `"Book"` is unchanged
    hint: under `[owners]` add a line such as `118 = N` for each, or `default = N` for all of them
    "#);
    let all = "[owners]\n103 = 1\n106 = 2\n109 = 3\n112 = 1\n115 = 2\n118 = 3\n121 = 1\n";
    fs::write(sandbox.directory().join("dewey-sync.toml"), all).unwrap();
    let dry = passes(&sandbox, &["sync", "--dry-run"]).await;
    assert!(
        dry.stdout.contains("60 books of 7 owners would be copied in 1 batch, owned as the owner map says."),
        "{dry:?}"
    );
    passes(&sandbox, &["sync", "--yes"]).await;
    assert!(is_mapped(&sandbox, r#"("ownerId" - 103) / 3 % 3 + 1"#));
    passes(&sandbox, &["verify"]).await;
    let again = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(again.stdout.starts_with("unchanged nothing to do"), "{again:?}");
}

#[tokio::test]
async fn a_named_user_has_to_exist_in_development() {
    for (lines, user) in [("103 = 8\n106 = 9\ndefault = 1", "8, 9"), ("103 = 1\ndefault = 9", "9")] {
        let sandbox = sandbox(&format!("[owners]\n{lines}\n")).await;
        let run = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains(user) && run.stderr.contains("the target has no"), "{run:?}");
    }
}

#[tokio::test]
async fn a_run_is_not_resumed_with_another_map() {
    let sandbox = sandbox("[owners]\n103 = 2\ndefault = 1\n").await;
    execute(&sandbox.target_admin_url(), r#"ALTER TABLE "Book" ADD CONSTRAINT no CHECK (id < 0) NOT VALID"#)
        .await;
    assert_eq!(sandbox.run(&["sync", "--yes", "--no-rehearsal"]).await.code, Some(5));
    execute(&sandbox.target_admin_url(), r#"ALTER TABLE "Book" DROP CONSTRAINT no"#).await;
    fs::write(sandbox.directory().join("dewey-sync.toml"), "[owners]\n103 = 3\ndefault = 1\n").unwrap();
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes", "--resume"]).await, @r#"
    error: could not resume the unfinished run
    caused by: the owner map was 103 = 2, now it is 103 = 3

    state: `"Book"` is unchanged
    hint: without `--resume` a new run begins
    "#);
    fs::write(sandbox.directory().join("dewey-sync.toml"), "[owners]\n103 = 2\ndefault = 1\n").unwrap();
    passes(&sandbox, &["sync", "--yes", "--resume"]).await;
    assert!(is_mapped(&sandbox, r#"CASE "ownerId" WHEN 103 THEN 2 ELSE 1 END"#));
}

#[tokio::test]
async fn a_named_user_who_is_removed_after_the_guards_looked_stops_every_strategy() {
    let sandbox = sandbox("[owners]\n103 = 2\ndefault = 1\n").await;
    passes(&sandbox, &["sync", "--yes"]).await;
    // The run's first write removes another user of the map.
    let removal = r#"
        CREATE FUNCTION dewey_sync.remove() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN DELETE FROM public."User" WHERE id = 3; RETURN NULL; END $$;
        CREATE TRIGGER remove AFTER INSERT ON dewey_sync.run EXECUTE FUNCTION dewey_sync.remove()"#;
    execute(&sandbox.target_admin_url(), removal).await;
    fs::write(sandbox.directory().join("dewey-sync.toml"), "[owners]\n103 = 3\ndefault = 1\n").unwrap();
    let books = r#"SELECT * FROM "Book" ORDER BY id"#;
    let before = dump(&sandbox.target_admin_url(), books);
    for strategy in ["staged", "atomic", "batched"] {
        let run = sandbox.run(&["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(2), "{strategy}: {run:?}");
        assert!(run.stderr.contains("caused by: the user was removed from the target meanwhile"), "{run:?}");
        assert!(dump(&sandbox.target_admin_url(), books) == before, "{strategy}");
        let back = r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES (3, 'c', 'cy@example.org', now())"#;
        execute(&sandbox.target_admin_url(), back).await;
    }
}
