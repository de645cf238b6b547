//! Guard: every column of production has a place in development and every column of development a value, by its name or
//! because `dewey-sync.toml` says so. What nobody decided about is refused with the line that decides it. Pure.

use sea_orm::{ColumnTrait, IdenStatic, Iterable};

use super::lines::{Line, key, text};
use super::types::{self, example};
use crate::book::{Column, Constant, CopiedColumns, OWNER, Role, UPDATED_AT, VISIBILITY, is_needed, role};
use crate::config::mapping::{ColumnRule, Mapping, Value};
use crate::postgres::{identifier, literal};
use crate::preflight::catalog::{ColumnFacts, Facts};

/// Both book tables side by side.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// The entity's columns in order, then those that only one side has.
    pub columns: Vec<Compared>,
    /// What travels, if nothing is undecided.
    pub copied: CopiedColumns,
}

/// A column of either side, or one of each that are the same.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Production's.
    pub source: Option<ColumnFacts>,
    /// Development's.
    pub target: Option<ColumnFacts>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is copied as it is.
    Copied,
    /// `dewey-sync.toml` says what it is, or that it is left out.
    Decided,
    /// It is not copied, which loses nothing that a new book needs; why.
    LeftOut(&'static str),
    /// Somebody has to decide.
    Undecided {
        /// A clause.
        why: String,
        /// What would decide it; none where only a change of the schema does.
        lines: Vec<Line>,
    },
}

/// Compares by the catalogs of both sides.
pub fn compare(source: &Facts, target: &Facts, mapping: &Mapping) -> Comparison {
    let both = Both { source, target, mapping };
    let mut copied = CopiedColumns::default();
    let mut columns: Vec<Compared> = Column::iter()
        .filter(|column| role(*column) != Role::Id)
        .map(|column| both.known(column, &mut copied))
        .collect();
    let seen = |name: &str, columns: &[Compared]| {
        is_id(name)
            || columns.iter().any(|known| known.source.as_ref().is_some_and(|source| source.name == name))
    };
    for column in source.columns.iter().flatten() {
        if !seen(&column.name, &columns) {
            columns.push(both.only_in_source(column));
        }
    }
    for column in target.columns.iter().flatten() {
        if !is_id(&column.name) && known(&column.name).is_none() {
            columns.push(both.only_in_target(column, &mut copied));
        }
    }
    Comparison { columns, copied }
}

#[derive(Clone, Copy)]
struct Both<'a> {
    source: &'a Facts,
    target: &'a Facts,
    mapping: &'a Mapping,
}

impl Both<'_> {
    /// A column that this version can copy.
    fn known(&self, column: Column, copied: &mut CopiedColumns) -> Compared {
        let name = column.as_str();
        let target = self.target.column(name);
        let mut source = self.source_of(name);
        if let Some(binary_type) = target.and_then(types::binary) {
            copied.store_as(column, binary_type);
        }
        let verdict = match (target, self.mapping.values.get(name), source) {
            (None, _, _) => self.without_target(column, source),
            (Some(target), _, _) if target.generated => generated(column),
            (Some(target), _, _) if !types::takes(column, target) => Verdict::Undecided {
                why: format!("development's `{name}` is `{}`, which takes no such value", target.type_name),
                lines: Vec::new(),
            },
            (Some(_), Some(value), _) => {
                travel(copied, column, Some(sql(value)));
                Verdict::Decided
            }
            (Some(target), None, Some(source)) => match self.obstacle(column, source, target) {
                None => {
                    let expression = self.expression(column, source);
                    let verdict = if expression.is_none() { Verdict::Copied } else { Verdict::Decided };
                    travel(copied, column, expression);
                    verdict
                }
                Some(undecided) => undecided,
            },
            (Some(target), None, None) => {
                source = self.maybe_renamed(column, target);
                without_source(column, target, source)
            }
        };
        Compared { source: source.cloned(), target: target.cloned(), verdict }
    }

    /// The column of the source that is development's column `name`.
    fn source_of(&self, name: &str) -> Option<&ColumnFacts> {
        let renamed = |(_, rule): &(&String, &ColumnRule)| **rule == ColumnRule::Renamed(name.to_owned());
        let renamed =
            self.mapping.columns.iter().filter(renamed).find_map(|(from, _)| self.source.column(from));
        renamed.or_else(|| self.source.column(name).filter(|_| !self.mapping.columns.contains_key(name)))
    }

    /// What the column is in the source, if not simply the column of the same name.
    fn expression(&self, column: Column, source: &ColumnFacts) -> Option<String> {
        let plain = identifier(&source.name);
        let labels = source.labels.iter().flatten().filter_map(|label| {
            self.mapping.labels.get(label).map(|to| format!(" WHEN {} THEN {}", literal(label), literal(to)))
        });
        let labels: String = if is(column, VISIBILITY) { labels.collect() } else { String::new() };
        if labels.is_empty() {
            return (source.name != column.as_str()).then_some(plain);
        }
        Some(format!("CASE {plain}::text{labels} ELSE {plain}::text END"))
    }

    /// Why the values may not all fit as they are.
    fn obstacle(&self, column: Column, source: &ColumnFacts, target: &ColumnFacts) -> Option<Verdict> {
        if let (Some(labels), Some(known)) = (&source.labels, &target.labels)
            && is(column, VISIBILITY)
        {
            return self.unknown_label(labels, known);
        }
        let nullable = !source.not_null && (target.not_null || !column.def().is_null());
        let obstacle = types::obstacle(column, source, target, nullable)?;
        let sql = text(&obstacle.expression);
        let line = Line { table: "values", text: format!("{} = {{ sql = {sql} }}", key(column.as_str())) };
        Some(Verdict::Undecided { why: obstacle.why, lines: vec![line] })
    }

    fn unknown_label(&self, labels: &[String], known: &[String]) -> Option<Verdict> {
        let is_known = |label: &&String| known.contains(self.mapping.labels.get(*label).unwrap_or(label));
        let unknown: Vec<&String> = labels.iter().filter(|label| !is_known(label)).collect();
        if unknown.is_empty() {
            return None;
        }
        let nearest = known.iter().find(|label| *label == crate::book::PRIVATE).or(known.first());
        let nearest = text(nearest.map_or("", String::as_str));
        let line = |label: &&String| Line { table: "labels", text: format!("{} = {nearest}", key(label)) };
        let named: Vec<String> = unknown.iter().map(|label| format!("`{label}`")).collect();
        let (column, named) = (VISIBILITY.as_str(), named.join(", "));
        Some(Verdict::Undecided {
            why: format!("development's enum of `{column}` lacks production's {named}"),
            lines: unknown.iter().map(line).collect(),
        })
    }

    fn without_target(&self, column: Column, source: Option<&ColumnFacts>) -> Verdict {
        let name = column.as_str();
        if is_needed(column) {
            let why = format!("development lacks `{name}`, which every book needs");
            return Verdict::Undecided { why, lines: Vec::new() };
        }
        match source {
            None if self.mapping.columns.contains_key(name) => Verdict::Decided,
            None => Verdict::LeftOut("neither side has it"),
            Some(_) if role(column) == Role::CopiedIfPresent => Verdict::LeftOut("development lacks it"),
            Some(source) => Verdict::Undecided {
                why: format!("development lacks `{name}`"),
                lines: vec![leave_out(&source.name)],
            },
        }
    }

    /// The only column of the source that nobody knows, if it could be this one.
    fn maybe_renamed(&self, column: Column, target: &ColumnFacts) -> Option<&ColumnFacts> {
        let unknown = |found: &&ColumnFacts| {
            known(&found.name).is_none() && !self.mapping.columns.contains_key(&found.name)
        };
        let mut unknown = self.source.columns.iter().flatten().filter(unknown);
        let only = unknown.next().filter(|_| unknown.next().is_none())?;
        types::obstacle(column, only, target, false).is_none().then_some(only)
    }

    /// A column that this version does not know.
    fn only_in_source(&self, column: &ColumnFacts) -> Compared {
        let name = &column.name;
        let verdict = match self.mapping.columns.get(name) {
            Some(ColumnRule::LeftOut(_)) => Verdict::Decided,
            Some(ColumnRule::Renamed(to)) => Verdict::Undecided {
                why: format!("`{name}` cannot become `{to}`, which is no column that is copied"),
                lines: vec![leave_out(name)],
            },
            None if self.target.column(name).is_some() => Verdict::Undecided {
                why: format!("this version cannot copy `{name}`"),
                lines: vec![leave_out(name)],
            },
            None => Verdict::Undecided {
                why: format!("development has no place for production's `{name}`"),
                lines: vec![leave_out(name)],
            },
        };
        Compared { source: Some(column.clone()), target: None, verdict }
    }

    /// A column whose values come from nowhere but its default.
    fn only_in_target(&self, column: &ColumnFacts, copied: &mut CopiedColumns) -> Compared {
        let name = &column.name;
        let verdict = match self.mapping.values.get(name) {
            Some(
                value @ (Value::Text(_)
                | Value::Integer(_)
                | Value::Boolean(_)
                | Value::Texts(_)
                | Value::Time(_)),
            ) => {
                copied.make_up(Constant {
                    column: name.clone(),
                    literal: sql(value),
                    binary_type: types::binary(column),
                });
                Verdict::Decided
            }
            None if !column.not_null || column.filled || column.generated => {
                Verdict::LeftOut("it has a default")
            }
            None | Some(Value::Sql(_)) => Verdict::Undecided {
                why: format!("development's `{name}` needs a value, the same for every new book"),
                lines: vec![Line { table: "values", text: format!("{} = {}", key(name), example(column)) }],
            },
        };
        Compared { source: None, target: Some(column.clone()), verdict }
    }
}

/// Nothing can be written into a column that development computes.
fn generated(column: Column) -> Verdict {
    if role(column) == Role::CopiedIfPresent {
        return Verdict::LeftOut("development computes it");
    }
    let why =
        format!("development computes `{}` itself, so that nothing can be copied into it", column.as_str());
    Verdict::Undecided { why, lines: Vec::new() }
}

fn without_source(column: Column, target: &ColumnFacts, renamed: Option<&ColumnFacts>) -> Verdict {
    let name = column.as_str();
    let filled = !target.not_null || target.filled || is(column, UPDATED_AT);
    if let Some(source) = renamed {
        return Verdict::Undecided {
            why: format!("production has `{}` and lacks `{name}`, which may be the same", source.name),
            lines: vec![Line { table: "columns", text: format!("{} = {}", key(&source.name), text(name)) }],
        };
    }
    if role(column) == Role::CopiedIfPresent && filled {
        return Verdict::LeftOut("production lacks it");
    }
    Verdict::Undecided {
        why: format!("production lacks `{name}`"),
        lines: vec![Line { table: "values", text: format!("{} = {}", key(name), example(target)) }],
    }
}

fn travel(copied: &mut CopiedColumns, column: Column, at_source: Option<String>) {
    if is(column, OWNER) { copied.map(column, at_source) } else { copied.add(column, at_source) }
}

fn leave_out(name: &str) -> Line {
    Line { table: "columns", text: format!("{} = false", key(name)) }
}

fn is(column: Column, other: Column) -> bool {
    column.as_str() == other.as_str()
}

fn is_id(name: &str) -> bool {
    name == Column::Id.as_str()
}

fn known(name: &str) -> Option<Column> {
    Column::iter().find(|column| column.as_str() == name)
}

fn sql(value: &Value) -> String {
    match value {
        Value::Sql(expression) => expression.sql.clone(),
        Value::Text(text) => literal(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Time(time) => literal(&time.to_string()),
        Value::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
            format!("ARRAY[{}]::text[]", texts.join(", "))
        }
    }
}
