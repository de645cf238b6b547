//! Whether every value of one column fits another one as it is.

use super::lines::text;
use crate::book::{Column, comparable_type};
use crate::postgres::identifier;
use crate::preflight::catalog::ColumnFacts;

/// Why not, and an expression on the source that makes them fit.
pub(crate) struct Obstacle {
    pub(crate) why: String,
    pub(crate) expression: String,
}

/// The precision of times in the application and in the stage, in digits of a second.
const PRECISION: u32 = 3;

/// What keeps values of `source` from `column`, which is `target` in development. `nullable`: NULL may come where none is
/// taken.
pub(crate) fn obstacle(
    column: Column,
    source: &ColumnFacts,
    target: &ColumnFacts,
    nullable: bool,
) -> Option<Obstacle> {
    let (from, to) = (Type::of(source), Type::of(target));
    let fits = fits(column, &from, &to);
    if fits && !nullable {
        return None;
    }
    let name = &source.name;
    let why = if fits {
        format!("production's `{name}` may be NULL, development's may not")
    } else {
        format!("production's `{name}` is `{}`, development's is `{}`", source.type_name, target.type_name)
    };
    let plain = identifier(name);
    let cast = match comparable_type(column) {
        _ if fits => plain,
        "timestamp" if from.base == "timestamp with time zone" => {
            format!("({plain} AT TIME ZONE 'UTC')::timestamp({PRECISION})")
        }
        "timestamp" => format!("{plain}::timestamp({PRECISION})"),
        // A text that is too long then stops the sync; a cast to varchar(n) would cut it short.
        "text" if from.is_text() => plain,
        other => format!("{plain}::{other}"),
    };
    let filled = format!("coalesce({cast}, {})", example_sql(column));
    Some(Obstacle { why, expression: if nullable { filled } else { cast } })
}

/// Whether `target` can hold what the sync writes into `column`.
pub(crate) fn takes(column: Column, target: &ColumnFacts) -> bool {
    Type::of(target).takes(column)
}

/// A built-in type whose values have the same binary format as those of `column`, where that is known.
pub(crate) fn binary(column: &ColumnFacts) -> Option<String> {
    let found = Type::of(column);
    let base = match found.base.as_str() {
        _ if found.is_enum => "text",
        base @ ("smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "boolean"
        | "text" | "character varying" | "date" | "uuid" | "json" | "jsonb") => base,
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        _ => return None,
    };
    match found.array {
        true => Some(format!("{base}[]")),
        false if base == "character varying" => Some("text".into()),
        false => Some(base.into()),
    }
}

/// A value for a column that has none yet, as TOML.
pub(crate) fn example(column: &ColumnFacts) -> String {
    let found = Type::of(column);
    match (found.base.as_str(), &column.labels) {
        (_, Some(labels)) => text(labels.first().map_or("", String::as_str)),
        _ if found.array => "[]".into(),
        ("smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision", _) => "0".into(),
        ("boolean", _) => "false".into(),
        (base, _) if base.starts_with("timestamp") => "1970-01-01T00:00:00".into(),
        ("date", _) => "1970-01-01".into(),
        ("uuid", _) => text("00000000-0000-0000-0000-000000000000"),
        ("json" | "jsonb", _) => text("{}"),
        _ => text(""),
    }
}

fn example_sql(column: Column) -> &'static str {
    match comparable_type(column) {
        "integer" => "0",
        "timestamp" => "'1970-01-01'",
        "text[]" => "'{}'",
        _ => "''",
    }
}

fn fits(column: Column, from: &Type, to: &Type) -> bool {
    let no_longer = |from: Option<u32>| to.limit.is_none_or(|to| from.is_some_and(|from| from <= to));
    to.takes(column)
        && match comparable_type(column) {
            "integer" => from.base == "smallint" || from.base == "integer" && to.base != "smallint",
            "text" => from.is_text() && !from.array && no_longer(from.limit),
            "text[]" => from.is_text() && from.array && no_longer(from.limit),
            _ => {
                let digits = |found: &Type| found.limit.unwrap_or(6);
                from.base == to.base && digits(from) <= digits(to).min(PRECISION)
            }
        }
}

/// A type as `format_type` writes it, taken apart.
struct Type {
    base: String,
    limit: Option<u32>,
    array: bool,
    is_enum: bool,
}

impl Type {
    fn of(column: &ColumnFacts) -> Self {
        let (name, array) = match column.type_name.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (column.type_name.as_str(), false),
        };
        let cut = name.split_once('(').and_then(|(before, rest)| Some((before, rest.split_once(')')?)));
        let (base, limit) = match cut {
            Some((before, (limit, after))) => (format!("{before}{after}"), limit.parse().ok()),
            None => (name.to_owned(), None),
        };
        Self { base, limit, array, is_enum: column.labels.is_some() }
    }

    fn is_text(&self) -> bool {
        matches!(self.base.as_str(), "text" | "character varying")
    }

    /// Whether a column of this type can hold what the sync writes into `column`.
    fn takes(&self, column: Column) -> bool {
        match comparable_type(column) {
            "integer" => !self.array && matches!(self.base.as_str(), "smallint" | "integer" | "bigint"),
            // The name that a value is cast to.
            "text" if let Some(stored) = crate::book::stored_type(column) => {
                self.is_enum && self.base == stored
            }
            "text" => !self.array && self.is_text(),
            "text[]" => self.array && self.is_text(),
            _ => !self.array && self.base == "timestamp without time zone",
        }
    }
}
