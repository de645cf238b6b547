//! A database whose name a URL may hold: control characters are refused there, the others are not.

use super::{check, check_terminal, encoded, identifier, mark, name, values};
use crate::support::sandbox::{Sandbox, placed};
use crate::support::servers::{DEVELOPER, READER, SERVERS, as_role, execute};
use crate::support::terminal::Terminal;

/// Everything that needs no answer.
const CALLS: [&[&str]; 14] = [
    &["sync", "--dry-run"],
    &["doctor"],
    &["sync"],
    &["migrate", "status"],
    &["migrate", "up"],
    &["sync", "--yes", "--mark-development", "another"],
    &["sync", "--yes"],
    &["verify"],
    &["users"],
    &["history"],
    &["history", "1"],
    &["undo"],
    &["migrate", "down"],
    &["sync", "--dry-run", "--output", "json"],
];

#[tokio::test]
async fn names_that_a_url_may_hold() {
    let mut played = 0;
    for value in values() {
        let database = name(&value);
        let sandbox = Sandbox::with_books(3).await;
        let [source, target] =
            [&SERVERS.source, &SERVERS.target].map(|server| server.url(&encoded(database)));
        sandbox.set_urls(&as_role(&source, READER), &as_role(&target, DEVELOPER));
        let missing = sandbox.run(&["sync"]).await;
        assert_eq!(missing.code, Some(2), "{missing:?}");
        check("a database that is not there", &missing);
        if value.contains(char::is_control) {
            continue;
        }
        played += 1;
        for server in [&SERVERS.source, &SERVERS.target] {
            let rename = format!("ALTER DATABASE {} RENAME TO {}", sandbox.database, identifier(database));
            execute(&server.url("postgres"), &rename).await;
        }
        for call in CALLS {
            let run = sandbox.run(call).await;
            check(&format!("{call:?} with {database:?}"), &run);
            assert!(run.code == Some(0) || call[0] != "verify", "{run:?}");
            assert!(
                format!("{}{}", run.stdout, run.stderr).contains(mark(&value)) || call.contains(&"json"),
                "{call:?}: {run:?}"
            );
        }
        // Not marked any more, and not empty: its name is asked for.
        let unmark = r#"DROP SCHEMA IF EXISTS dewey_sync CASCADE; UPDATE "Book" SET title = title || '!'"#;
        execute(&target, unmark).await;
        let unmarked = sandbox.run(&["sync", "--yes"]).await;
        assert_eq!(unmarked.code, Some(3), "{unmarked:?}");
        check("an unmarked target", &unmarked);
        let mut terminal = Terminal::start(&sandbox, &["sync"]);
        check_terminal("the question for a name", &terminal.until("type its name, ").await);
        terminal.answer("no\n").await;
        check_terminal("another name", &terminal.end().await.1);
        let marking = placed(&target).replace(&encoded(database), database);
        let marked = sandbox.run(&["sync", "--yes", "--mark-development", &marking]).await;
        assert_eq!(marked.code, Some(0), "{marked:?}");
        check("a marked target", &marked);
    }
    assert!(played > 5, "only {played}");
}
