//! One more column, added to a copy of the workspace as the documentation of `src/book/mod.rs` says: without its role the
//! compiler names the one place that lacks it, and with its role everything compiles.

#![expect(clippy::unwrap_used, reason = "a test panics for what it cannot do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What `cargo check --workspace` reads.
const COPIED: [&str; 5] = ["Cargo.toml", "Cargo.lock", "src", "entity", "migration"];

#[test]
fn a_column_more_needs_a_line_of_its_role_and_the_compiler_asks_for_it() {
    let copy = Workspace::copied();
    copy.add_column();
    copy.add_to_stage();

    let found = copy.check();
    let [asked] = &found[..] else { panic!("{found:#?}") };
    let (file, asked) = asked.split_once(": ").unwrap();
    assert!(file == "src/book/role.rs" && asked.contains("Column::Dedication` not covered"), "{found:#?}");

    copy.insert(
        "src/book/role.rs",
        "Column::Publisher =>",
        "Column::Dedication => (Role::Copied, \"text\"),",
    );
    assert_eq!(copy.check(), [""; 0]);
}

/// A copy of the workspace, always in the same place, so that cargo takes it for the same one.
struct Workspace(PathBuf);

impl Workspace {
    fn copied() -> Self {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("own-table");
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
        }
        for name in COPIED {
            copy(&Path::new(ROOT).join(name), &to.join(name));
        }
        Self(to)
    }

    /// The application's table, and what `just entities` makes of it.
    fn add_column(&self) {
        for file in ["migration/src/application/book.rs", "src/demo/penumbra.sql"] {
            self.insert(file, "publisher ", "dedication text,");
        }
        self.insert("entity/src/book.rs", "pub publisher:", FIELD);
    }

    /// A migration of the stage, and what `just entities` makes of it.
    fn add_to_stage(&self) {
        fs::write(self.0.join("migration/src/ledger/stage_dedication.rs"), MIGRATION).unwrap();
        self.insert("migration/src/ledger/mod.rs", "mod stage_checkpoint;", "mod stage_dedication;");
        self.insert("migration/src/ledger/mod.rs", "    measured::TABLE,", "stage_dedication::TABLE,");
        self.insert("entity/src/ledger/stage.rs", "pub publisher:", FIELD);
    }

    /// Writes `text` below the only line that has `above` in it.
    fn insert(&self, file: &str, above: &str, text: &str) {
        let path = self.0.join(file);
        let before = fs::read_to_string(&path).unwrap();
        let found = before.lines().filter(|line| line.contains(above)).collect::<Vec<_>>();
        let [line] = found[..] else { panic!("{file}: {above:?} is in {found:?}") };
        fs::write(path, before.replacen(line, &format!("{line}\n{text}"), 1)).unwrap();
    }

    /// Errors and warnings, each behind its file.
    fn check(&self) -> Vec<String> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let check = ["check", "--workspace", "--locked", "--offline", "--quiet", "--message-format", "json"];
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(check).current_dir(&self.0).env("CARGO_TARGET_DIR", target);
        let output = cargo.output().unwrap();
        let messages = String::from_utf8(output.stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: Vec<String> = messages.filter_map(|message| finding(&message["message"])).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || !found.is_empty(), "cargo check stopped before the code:\n{said}");
        found
    }
}

fn finding(message: &Value) -> Option<String> {
    let spans = message["spans"].as_array()?;
    let place = spans.iter().find(|span| span["is_primary"] == true)?;
    Some(format!("{}: {}", place["file_name"].as_str()?, message["message"].as_str()?))
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Written anew, because cargo goes by the time of the last change.
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

const FIELD: &str = r#"    #[sea_orm(column_type = "Text", nullable)]
    pub dedication: Option<String>,"#;

const MIGRATION: &str = r#"//! A column that books have since.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0012_stage_dedication",
    create: "alter table dewey_sync.stage add column dedication text",
    drop: "alter table dewey_sync.stage drop column dedication",
};
"#;
