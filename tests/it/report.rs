//! `--report FILE` holds what the last line of `--output json` says, after success and after failure.

use std::fs;

use serde_json::Value;

use crate::support::inspect::tuples;
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

#[tokio::test]
async fn a_report_is_the_last_line_of_the_json_output() {
    let sandbox = Sandbox::with_books(40).await;
    let file = sandbox.directory().join("report.json");
    let call = ["sync", "--yes", "--output", "json", "--no-rehearsal", "--report", file.to_str().unwrap()];
    for (sql, outcome) in [
        (r#"ALTER TABLE "Book" ADD CONSTRAINT no CHECK (id < 0) NOT VALID"#, "not_completed"),
        (r#"ALTER TABLE "Book" DROP CONSTRAINT no"#, "verified"),
        ("SELECT 1", "unchanged"),
    ] {
        execute(&sandbox.target_admin_url(), sql).await;
        let run = sandbox.run(&call).await;
        let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!((&report, report["outcome"].as_str()), (&run.json_end(), Some(outcome)), "{run:?}");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_stops_the_sync_before_it_begins() {
    let sandbox = Sandbox::with_books(40).await;
    let before = tuples(&sandbox.target_admin_url()).await;
    let run = sandbox.run(&["sync", "--yes", "--report", "/nowhere/report.json"]).await;
    assert_eq!(run.code, Some(2), "{run:?}");
    insta::assert_snapshot!(run.stderr, @"
    error: could not write the report to `/nowhere/report.json`
    caused by: No such file or directory (os error 2)

    hint: check `--report`
    ");
    assert_eq!(tuples(&sandbox.target_admin_url()).await, before);
}
