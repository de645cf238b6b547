//! The columns that travel, and what each of them is in the source.

use std::collections::BTreeMap;

use dewey_sync_entity::book::Column;
use sea_orm::{IdenStatic, Iterable};

use super::{comparable_type, quoted, read_type};

/// The columns that travel between two schemas, in the entity's order: what every row's digest covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopiedColumns {
    names: Vec<&'static str>,
    /// Expressions on the source by the target's column, where that is not the source's column of the same name.
    at_source: BTreeMap<&'static str, String>,
    /// Types of the target's columns whose binary format is not that of the comparable type.
    stored_as: BTreeMap<&'static str, String>,
    constants: Vec<Constant>,
}

/// What new books get in a column that only the target has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// The column's name.
    pub column: String,
    /// An SQL literal.
    pub literal: String,
    /// A built-in type with the column's binary format, where there is one.
    pub binary_type: Option<String>,
}

impl CopiedColumns {
    /// Adds a column; `at_source` is an SQL expression on the source, `None` the column of the same name.
    pub fn add(&mut self, column: Column, at_source: Option<String>) {
        self.names.push(column.as_str());
        self.map(column, at_source);
    }

    /// Says what a column is in the source that does not travel as it is: the owner.
    pub fn map(&mut self, column: Column, at_source: Option<String>) {
        self.at_source.extend(at_source.map(|expression| (column.as_str(), expression)));
    }

    /// Says that the target stores `column` in the binary format of another built-in type.
    pub fn store_as(&mut self, column: Column, binary_type: String) {
        if binary_type != comparable_type(column) {
            self.stored_as.insert(column.as_str(), binary_type);
        }
    }

    /// The built-in type with the binary format of the target's column.
    pub fn binary_type(&self, column: Column) -> &str {
        self.stored_as.get(column.as_str()).map_or_else(|| comparable_type(column), String::as_str)
    }

    /// Adds what new books get in a column that is not copied.
    pub fn make_up(&mut self, constants: Constant) {
        self.constants.push(constants);
    }

    /// Whether `column` travels.
    pub fn contains(&self, column: Column) -> bool {
        self.names.contains(&column.as_str())
    }

    /// The columns in order.
    pub fn iter(&self) -> impl Iterator<Item = Column> + '_ {
        Column::iter().filter(|column| self.contains(*column))
    }

    /// The value of `column` in a row of the source, as an SQL expression.
    pub fn at_source(&self, column: Column) -> String {
        match self.mapped(column) {
            // The line ends, because a comment may end the expression.
            Some(expression) => format!("({expression}\n)::{}", read_type(column)),
            None => quoted(column),
        }
    }

    /// The expression that somebody decided on for `column`.
    pub fn mapped(&self, column: Column) -> Option<&str> {
        self.at_source.get(column.as_str()).map(String::as_str)
    }

    /// The columns that are something else in the source.
    pub fn decided(&self) -> impl Iterator<Item = Column> + '_ {
        Column::iter().filter(|column| self.mapped(*column).is_some())
    }

    /// What new books get besides.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The names in order, with what they are in the source where that is something else.
    pub fn names(&self) -> Vec<String> {
        let copied = self.iter().map(|column| match self.mapped(column) {
            Some(expression) => format!("{} = {expression}", column.as_str()),
            None => column.as_str().to_owned(),
        });
        let constants =
            self.constants.iter().map(|Constant { column, literal, .. }| format!("{column} = {literal}"));
        copied.chain(constants).collect()
    }
}
