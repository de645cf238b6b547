//! `dewey-sync.toml`: what becomes of columns, labels and owners that differ between the two databases.
//!
//! Nothing in it is secret, and nothing of it runs on the target: expressions are evaluated by the source, in read-only
//! transactions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Locations;
use crate::book::{SourceUserId, TargetUserId};
use crate::error::{Error, Kind, Result};

const FILE_NAME: &str = "dewey-sync.toml";

/// What the file decides; without a file, nothing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// By production's column.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnRule>,
    /// By development's column, instead of production's column of the same name.
    #[serde(default)]
    pub values: BTreeMap<String, Value>,
    /// Development's label by production's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Who owns whose books.
    #[serde(default)]
    pub owners: OwnerLines,
    /// Where it is, or would be: what a hint names.
    #[serde(skip)]
    pub path: PathBuf,
}

/// `"17" = 3`: the books of production's user 17 are user 3's in development; `default = 1`: everybody else's are user 1's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, i32>")]
pub struct OwnerLines {
    /// By production's user.
    pub named: BTreeMap<SourceUserId, TargetUserId>,
    /// The default.
    pub others: Option<TargetUserId>,
}

impl TryFrom<BTreeMap<String, i32>> for OwnerLines {
    type Error = String;

    fn try_from(lines: BTreeMap<String, i32>) -> Result<Self, String> {
        let mut owners = Self::default();
        for (from, to) in lines {
            match from.parse() {
                Ok(id) => drop(owners.named.insert(SourceUserId(id), TargetUserId(to))),
                Err(_) if from == "default" => owners.others = Some(TargetUserId(to)),
                Err(_) => {
                    return Err(format!("`{from}` is neither the id of a user of production nor `default`"));
                }
            }
        }
        Ok(owners)
    }
}

/// What becomes of a column of production.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "the name of development's column in quotes, or `false` to leave it out")]
pub enum ColumnRule {
    /// It is development's column of this name.
    Renamed(String),
    /// It is not copied.
    LeftOut(LeftOut),
}

/// The word `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "bool")]
pub struct LeftOut;

impl TryFrom<bool> for LeftOut {
    type Error = &'static str;

    fn try_from(copied: bool) -> Result<Self, &'static str> {
        if copied { Err("a column is copied without being named") } else { Ok(Self) }
    }
}

/// The value of a column of development.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "text, a number, a truth value, a time, a list of texts, or `{ sql = \"…\" }`")]
pub enum Value {
    /// An expression over the columns of production's book table, the same for a row whenever it is evaluated.
    Sql(Expression),
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// Texts.
    Texts(Vec<String>),
    /// A date, a time or both.
    Time(toml::value::Datetime),
}

/// `{ sql = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expression {
    /// SQL.
    pub sql: String,
}

/// The file that the call names, else the one beside the env files if there is one.
///
/// # Errors
/// [`Kind::Usage`] with the place in the file, or when the file that the call names cannot be read.
pub fn mapping(locations: &Locations, named: Option<&Path>) -> Result<Mapping> {
    let path = named.map_or_else(|| locations.beside_env_files(FILE_NAME), Path::to_owned);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            return Ok(Mapping { path, ..Mapping::default() });
        }
        Err(cause) => {
            let doing = format!("could not read `{}`", path.display());
            return Err(Error::new(Kind::Usage, doing).because(cause).hint("check `--config`"));
        }
    };
    Ok(Mapping { path: path.clone(), ..parsed(&path, &text)? })
}

/// The lines of `[owners]`, in a file of their own.
///
/// # Errors
/// As [`mapping`].
pub fn owner_lines(path: &Path) -> Result<OwnerLines> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        let doing = format!("could not read `{}`", path.display());
        Error::new(Kind::Usage, doing).because(cause).hint("check `--owner-map`")
    })?;
    parsed(path, &text)
}

fn parsed<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        Error::new(Kind::Usage, format!("could not read `{}`", path.display()))
            .because(format!("line {line}: {}", error.message()))
            .hint("the README's section on databases that differ shows what it may say")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mapping, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
        let locations = Locations { dir: dir.path().to_owned(), ..Locations::default() };
        let dir = dir.path().display().to_string();
        mapping(&locations, None)
            .map_err(|error| format!("{}: {}", error.doing, error.causes().join(": ")).replace(&dir, "DIR"))
    }

    #[test]
    fn every_decision_has_its_form() {
        let mapping = read(
            r#"
            [columns]
            pages = "pageCount"
            "shelf mark" = false

            [values]
            language = "en"
            pageCount = 0
            readDate = 2020-01-01T00:00:00
            subjects = []
            title = { sql = "coalesce(title, '')" }

            [labels]
            HIDDEN = "PRIVATE"

            [owners]
            17 = 3
            default = 1
            "#,
        )
        .unwrap();
        let columns = [
            ("pages".to_owned(), ColumnRule::Renamed("pageCount".into())),
            ("shelf mark".into(), ColumnRule::LeftOut(LeftOut)),
        ];
        assert_eq!(mapping.columns, columns.into());
        let sql = Expression { sql: "coalesce(title, '')".into() };
        let values = [
            ("language".to_owned(), Value::Text("en".into())),
            ("pageCount".into(), Value::Integer(0)),
            ("readDate".into(), Value::Time("2020-01-01T00:00:00".parse().unwrap())),
            ("subjects".into(), Value::Texts(vec![])),
            ("title".into(), Value::Sql(sql)),
        ];
        assert_eq!(mapping.values, values.into());
        assert_eq!(mapping.labels, [("HIDDEN".to_owned(), "PRIVATE".to_owned())].into());
        let named = [(SourceUserId(17), TargetUserId(3))].into();
        assert_eq!(mapping.owners, OwnerLines { named, others: Some(TargetUserId(1)) });
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let said: Vec<String> = [
            "[columns]\npages = true",
            "[columns]\npages = 7",
            "[values]\nx = { SQL = '1' }",
            "[colums]\n",
            "[columns",
            "[owners]\nada = 1",
        ]
        .map(|text| read(text).unwrap_err())
        .into();
        insta::assert_snapshot!(said.join("\n"), @r#"
    could not read `DIR/dewey-sync.toml`: line 2: the name of development's column in quotes, or `false` to leave it out
    could not read `DIR/dewey-sync.toml`: line 2: the name of development's column in quotes, or `false` to leave it out
    could not read `DIR/dewey-sync.toml`: line 2: text, a number, a truth value, a time, a list of texts, or `{ sql = "…" }`
    could not read `DIR/dewey-sync.toml`: line 1: unknown field `colums`, expected one of `columns`, `values`, `labels`, `owners`
    could not read `DIR/dewey-sync.toml`: line 1: unclosed table, expected `]`
    could not read `DIR/dewey-sync.toml`: line 1: `ada` is neither the id of a user of production nor `default`
    "#);
    }

    #[test]
    fn only_a_file_that_is_named_has_to_be_there() {
        let locations = Locations { dir: "/nowhere".into(), ..Locations::default() };
        assert_eq!(mapping(&locations, None).unwrap().path, Path::new("/nowhere/dewey-sync.toml"));
        assert_eq!(mapping(&locations, Some(Path::new("/nowhere/x"))).unwrap_err().kind, Kind::Usage);
    }
}
