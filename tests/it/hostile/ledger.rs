//! What a ledger says of earlier runs: whoever wrote it.

use serde_json::Value;

use super::{check, literal, mark, values};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;
use crate::support::terminal::Terminal;

#[tokio::test]
async fn runs_that_somebody_else_recorded() {
    let sandbox = Sandbox::with_books(12).await;
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let target = sandbox.target_url();
    for value in values() {
        let recorded = format!(
            "INSERT INTO dewey_sync.run (action, state, os_user, host, tool_version, source, target, target_identity,
               strategy, mode, engine, error, epoch, session)
             SELECT {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, left({0}, 90), max(epoch) + 1, {0} FROM dewey_sync.run",
            literal(&value)
        );
        execute(&target, &recorded).await;
    }
    let listed = sandbox.run(&["history"]).await;
    check("history", &listed);
    assert_eq!(listed.stdout.lines().count(), values().len() + 1, "{listed:?}");
    for (number, value) in values().iter().enumerate() {
        let run_id = (number + 2).to_string();
        let shown = sandbox.run(&["history", &run_id]).await;
        check("history of one run", &shown);
        for field in ["os_user", "host", "error", "source", "target", "action", "tool_version"] {
            let line = format!("{field:18}  {}", mark(value));
            assert!(shown.stdout.lines().any(|shown| shown.starts_with(&line)), "{field}: {shown:?}");
        }
        let json = sandbox.run(&["history", &run_id, "--output", "json"]).await;
        assert_eq!(json.stdout.chars().find(|c| super::is_raw(*c)), None, "{json:?}");
        let event: Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
        for field in ["os_user", "host", "source", "target"] {
            assert_eq!(event[field], value.as_str(), "{event}");
        }
        let refused = sandbox.run(&["sync", "--yes", "--resume", &run_id]).await;
        assert!(matches!(refused.code, Some(2 | 3)), "{refused:?}");
        check("a run that is not resumed", &refused);
    }
}

/// A run is not resumed when the ledger says that it was another one.
#[tokio::test]
async fn an_unfinished_run_that_somebody_changed() {
    let sandbox = Sandbox::with_books(12).await;
    let mut terminal = Terminal::start(&sandbox, &["sync"]);
    terminal.until("? [y/N] ").await;
    terminal.child.kill().await.unwrap();
    drop(terminal);
    for value in values() {
        let changed = format!(
            "UPDATE dewey_sync.run SET tool_version = {0}, source_identity = {0}, target_identity = {0}, os_user = {0}",
            literal(&value)
        );
        execute(&sandbox.target_url(), &changed).await;
        let refused = sandbox.run(&["sync", "--yes", "--resume"]).await;
        assert_eq!(refused.code, Some(3), "{refused:?}");
        check("a run that is not resumed", &refused);
        assert!(refused.stderr.contains(mark(&value)), "{refused:?}");
        let doctor = sandbox.run(&["doctor"]).await;
        check("doctor", &doctor);
    }
}
