//! A dry run says what a run would do, refuses what a run would refuse, and writes nothing anywhere.

use serde_json::Value;

use crate::support::inspect::{dump, tuples};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::execute;

/// Runs the tool, which must leave both databases as they are.
async fn check(sandbox: &Sandbox, call: &[&str]) -> Run {
    let (source, target) = (sandbox.source_admin_url(), sandbox.target_admin_url());
    let before = tokio::join!(tuples(&source), tuples(&target));
    let run = sandbox.run(call).await;
    assert_eq!(tokio::join!(tuples(&source), tuples(&target)), before, "{call:?}");
    run
}

/// A marked target with all books under other titles, three of them in a reading list; production has lost one of these.
async fn in_use() -> Sandbox {
    let sandbox = Sandbox::new().await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let list = r#"
        INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'mine', now() FROM "User";
        INSERT INTO "BookInReadingList" ("bookId", "readingListId")
            SELECT b.id, l.id FROM (SELECT id FROM "Book" ORDER BY id LIMIT 3) b, "ReadingList" l"#;
    execute(&sandbox.target_url(), list).await;
    execute(&sandbox.target_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    let listed = r#"SELECT isbn13 FROM "Book" JOIN "BookInReadingList" e ON e."bookId" = "Book".id ORDER BY 1 LIMIT 1"#;
    let isbn13 = String::from_utf8(dump(&sandbox.target_url(), listed)).unwrap();
    let deletion = format!(r#"DELETE FROM "Book" WHERE isbn13 = '{}'"#, isbn13.trim_end());
    execute(&sandbox.source_admin_url(), &deletion).await;
    sandbox
}

#[tokio::test]
async fn a_target_without_a_ledger_stays_without_one() {
    let sandbox = Sandbox::new().await;
    let run = check(&sandbox, &["sync", "--dry-run", "--batch-size", "100"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    insta::assert_snapshot!(sandbox.redacted(&run.stderr), @"
    source  DB at 127.0.0.1:SOURCE  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:TARGET  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 1, the only one)
    ");
    insta::assert_snapshot!(run.stdout, @r#"
    Books: 357 to add, 0 to change, 0 to delete (not in production), 0 unchanged.
    357 books of 7 owners would be copied in 4 batches, all owned by ada@example.org.
    90 of them are PRIVATE in production.
      Beyond Light without End
      O'Reilly's "Quoted" `Title` “and” «others»
      back\slash, \N, \., \\x41, \t and a last one\
    Nothing was written.
    "#);
}

#[tokio::test]
async fn losses_are_shown() {
    let sandbox = in_use().await;
    for (strategy, lost) in [
        ("staged", r#"Also lost: 1 row of `public."BookInReadingList"`."#),
        ("atomic", r#"Also lost: 3 rows of `public."BookInReadingList"`."#),
        ("batched", r#"Also lost: 3 rows of `public."BookInReadingList"`."#),
    ] {
        let run = check(&sandbox, &["sync", "--dry-run", "--strategy", strategy]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.lines().any(|line| line == lost), "{run:?}");
    }
}

#[tokio::test]
async fn json_is_a_preview_and_an_end() {
    let sandbox = in_use().await;
    let run = check(&sandbox, &["sync", "--dry-run", "--output", "json"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["phase", "phase", "preview", "end"]);
    insta::assert_json_snapshot!(lines[2], @r#"
    {
      "batches": 1,
      "changes": {
        "added": 0,
        "changed": 356,
        "deleted": 1,
        "unchanged": 0
      },
      "dependents": [
        {
          "fate": "removed",
          "rows": 1,
          "table": "public.\"BookInReadingList\""
        }
      ],
      "event": "preview",
      "marked": true,
      "owner": {
        "email": "ada@example.org",
        "id": 1,
        "name": null
      },
      "owner_map": {},
      "owners_remapped": 7,
      "source_books": 356,
      "source_private_books": 90,
      "target_books": 357,
      "titles": [
        "Beyond Light without End",
        "back\\slash, \\N, \\., \\\\x41, \\t and a last one\\",
        "line one\nline two\r\nline three\ttabbed\u000b\f"
      ],
      "triggers": []
    }
    "#);
    let mut end = run.json_end();
    end.as_object_mut().unwrap().remove("duration_ms").unwrap();
    insta::assert_json_snapshot!(end, @r#"
    {
      "apply_ms": null,
      "batches": {
        "done": 0,
        "failed": 0,
        "total": 0
      },
      "changes": {
        "added": 0,
        "changed": 356,
        "deleted": 1,
        "unchanged": 0
      },
      "command": "sync",
      "counts": {
        "deleted": 0,
        "exported": 0,
        "failed": 0,
        "inserted": 0,
        "skipped": 0,
        "unchanged": 0,
        "updated": 0
      },
      "engine": "insert",
      "error": null,
      "event": "end",
      "exit_code": 0,
      "fingerprint": null,
      "losses": [],
      "mode": "full",
      "not_undone": [],
      "outcome": "dry_run",
      "retries": 0,
      "run_id": null,
      "strategy": "staged"
    }
    "#);
}

#[tokio::test]
async fn with_yes_it_refuses_what_a_run_would_refuse() {
    let unmarked = Sandbox::new().await;
    let book = r#"INSERT INTO "Book" (isbn10, isbn13, title, "titleLong", language, synopsis, image, "imageOriginal",
                    publisher, "datePublished", binding, "pageCount", "ownerId", "updatedAt")
                  SELECT '', '', '', '', '', '', '', '', '', '', '', 1, id, now() FROM "User""#;
    execute(&unmarked.target_admin_url(), book).await;
    let losing = in_use().await;
    for (sandbox, strategy) in
        [(&unmarked, "staged"), (&unmarked, "atomic"), (&losing, "atomic"), (&losing, "batched")]
    {
        let real = check(sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        let dry = check(sandbox, &["sync", "--yes", "--dry-run", "--strategy", strategy]).await;
        assert_eq!((real.code, dry.code), (Some(3), Some(3)), "{dry:?}");
        let told = |run: &Run| {
            let lines = run.stderr.lines().filter(|line| !line.starts_with("note: `--strategy staged`"));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(told(&real), told(&dry));
    }
    // A real run of `staged` knows it when the books are staged.
    let dry = check(&losing, &["sync", "--yes", "--dry-run"]).await;
    let real = losing.run(&["sync", "--yes", "--output", "json"]).await;
    assert_eq!((real.code, dry.code), (Some(3), Some(3)), "{dry:?}");
    let cause = r#"replacing the books would also lose 1 row of `public."BookInReadingList"`"#;
    assert!(dry.stderr.contains(cause), "{dry:?}");
    assert_eq!(real.json_end()["error"]["causes"][0], cause);
    let agreed = check(&losing, &["sync", "--yes", "--dry-run", "--allow-cascade"]).await;
    assert_eq!(agreed.code, Some(0), "{agreed:?}");
    let run = check(&unmarked, &["sync", "--dry-run"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("its name would have to be typed"), "{run:?}");
}
