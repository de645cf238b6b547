//! Every command ends with a line of `--output json` that `end.schema.json` describes: after success, after a refusal, and after a
//! call that could not be parsed.

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use crate::support::sandbox::{Run, Sandbox, tool_in};
use crate::support::servers::PG_BIN;

struct Schema(Schemas, SchemaIndex);

impl Schema {
    fn read() -> Self {
        let mut schemas = Schemas::new();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/end.schema.json");
        let index = Compiler::new().compile(file, &mut schemas).unwrap();
        Self(schemas, index)
    }

    /// What the schema does not allow.
    fn errors(&self, end: &Value) -> Option<String> {
        let Self(schemas, index) = self;
        schemas.validate(end, *index).err().map(|error| format!("{error:#}\n{end:#}"))
    }

    /// The last line, which is as the schema says.
    fn end_of(&self, run: &Run) -> Value {
        let end = run.json_end();
        assert_eq!(self.errors(&end), None);
        assert_eq!(end["exit_code"].as_i64(), run.code.map(i64::from), "{run:?}");
        end
    }
}

/// Calls and their outcomes, in the order in which they are made.
const CALLS: [(&str, &str); 26] = [
    ("sync --dry-run", "dry_run"),
    ("sync", "declined"),
    ("migrate down", "nothing_to_remove"),
    ("undo --yes", "failed"),
    ("doctor", "healthy"),
    ("sync --yes", "verified"),
    ("sync --yes", "unchanged"),
    ("sync --dry-run", "dry_run"),
    ("verify", "verified"),
    ("undo", "declined"),
    ("undo --yes", "undone"),
    ("verify", "differs"),
    ("undo --yes", "failed"),
    ("sync --yes --strategy batched --engine copy", "verified"),
    ("setup --yes", "unchanged"),
    ("users", "listed"),
    ("users add --email bob@example.org", "added"),
    ("users add --email bob@example.org", "failed"),
    ("history", "listed"),
    ("history 1", "listed"),
    ("history 99", "failed"),
    ("migrate status", "status"),
    ("migrate up", "migrated"),
    ("migrate down", "declined"),
    ("migrate down --yes", "removed"),
    ("demo --books none", "failed"),
];

/// Refused where both sides are one database, and where the target is that of the source.
const REFUSED: [&str; 7] = [
    "sync --yes",
    "sync --dry-run",
    "setup --yes",
    "verify",
    "doctor",
    "users add --email eve@example.org",
    "migrate up",
];

#[tokio::test]
async fn the_last_line_of_every_command_is_as_the_schema_says() {
    let (schema, sandbox) = (Schema::read(), Sandbox::with_books(40).await);
    let mut commands = BTreeSet::new();
    for (call, outcome) in CALLS {
        let end = schema.end_of(&sandbox.run(&for_programs(call)).await);
        assert_eq!(end["outcome"], outcome, "{call}: {end:#}");
        commands.extend(end["command"].as_str().map(str::to_owned));
    }

    sandbox.set_urls(&sandbox.target_url(), &sandbox.target_url());
    for call in REFUSED {
        let end = schema.end_of(&sandbox.run(&for_programs(call)).await);
        assert_eq!(end["outcome"], "refused", "{call}: {end:#}");
    }

    for file in [".env", ".env.production"] {
        std::fs::remove_file(sandbox.directory().join(file)).unwrap();
    }
    assert_eq!(commands.len(), 11, "{commands:?}");
    for command in commands {
        let call = if command == "users add" { "users add --email eve@example.org" } else { &command };
        let end = schema.end_of(&sandbox.run(&for_programs(call)).await);
        assert_eq!((&end["command"], &end["outcome"]), (&json!(command), &json!("failed")), "{end:#}");
    }
}

#[tokio::test]
async fn a_demonstration_for_programs_is_one_object_a_line() {
    let schema = Schema::read();
    let directory = tempfile::tempdir().unwrap();
    let mut tool = tool_in(directory.path());
    let output = tool.env("PG_BIN", &*PG_BIN).args(for_programs("demo --books 50")).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ends: Vec<Value> = lines.filter(|line| line["event"] == "end").collect();
    assert_eq!(ends.iter().find_map(|end| schema.errors(end)), None);
    let commands: Vec<&Value> = ends.iter().map(|end| &end["command"]).collect();
    assert_eq!(commands, ["sync", "sync", "verify", "sync", "sync", "undo", "demo"]);
}

#[test]
fn the_schema_allows_no_field_that_it_does_not_describe() {
    let schema = Schema::read();
    let end = json!({
        "event": "end", "command": "users", "outcome": "listed", "exit_code": 0, "duration_ms": 1, "error": null, "users": 2
    });
    assert_eq!(schema.errors(&end), None);
    for (field, value) in
        [("another", json!(1)), ("users", json!(-1)), ("runs", json!(1)), ("exit_code", json!(1))]
    {
        let mut other = end.clone();
        other[field] = value;
        assert!(schema.errors(&other).is_some(), "{other:#}");
    }
}

fn for_programs(call: &str) -> Vec<&str> {
    call.split(' ').chain(["--output", "json"]).collect()
}
