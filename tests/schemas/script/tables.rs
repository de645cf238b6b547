//! CREATE TABLE and the foreign keys.

use std::fmt::Write;

use super::{list, part, place, qualified, quoted};
use crate::model::{CUT, Case, Column, Key, Reaction, Role, Shape, Table, Timing};

pub(super) fn create(sql: &mut String, table: &Table) {
    let mut lines: Vec<String> = Vec::new();
    if table.had_a_column {
        lines.push("was_there integer".into());
    }
    lines.extend(table.columns.iter().map(column));
    if !table.primary.is_empty() {
        lines.push(format!("PRIMARY KEY ({})", list(&table.primary)));
    }
    lines.extend(table.uniques.iter().map(|unique| format!("UNIQUE ({})", list(unique))));
    let name = qualified(table);
    let unlogged = if table.unlogged { "UNLOGGED " } else { "" };
    let _ = write!(sql, "CREATE {unlogged}TABLE {name} (\n  {}\n)", lines.join(",\n  "));
    let reference = table.column_of(Role::Reference).map(|column| quoted(&column.name));
    match (table.shape, reference) {
        (Shape::ById { .. }, _) => sql.push_str(" PARTITION BY RANGE (id)"),
        (Shape::ByReference, Some(reference)) => {
            let _ = write!(sql, " PARTITION BY HASH ({reference})");
        }
        _ => {}
    }
    sql.push_str(";\n");
    if table.had_a_column {
        let _ = writeln!(sql, "ALTER TABLE {name} DROP was_there;");
    }
    parts(sql, table);
}

fn parts(sql: &mut String, table: &Table) {
    let name = qualified(table);
    let first = part(table, 0);
    let second = part(table, 1);
    let _ = match table.shape {
        Shape::Plain | Shape::ByIsbn => Ok(()),
        Shape::ById { nested } => {
            let by = if nested { " PARTITION BY HASH (id)" } else { "" };
            let _ = writeln!(
                sql,
                "CREATE TABLE {first} PARTITION OF {name} FOR VALUES FROM (MINVALUE) TO ({CUT});
CREATE TABLE {second} PARTITION OF {name} FOR VALUES FROM ({CUT}) TO (MAXVALUE){by};"
            );
            (0..2).filter(|_| nested).try_for_each(|number| {
                let leaf = part(table, number + 10);
                writeln!(
                    sql,
                    "CREATE TABLE {leaf} PARTITION OF {second} FOR VALUES WITH (MODULUS 2, REMAINDER {number});"
                )
            })
        }
        Shape::ByReference => (0..2).try_for_each(|number| {
            let leaf = part(table, number);
            writeln!(
                sql,
                "CREATE TABLE {leaf} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER {number});"
            )
        }),
        Shape::Parent => {
            let key = if table.primary.is_empty() {
                String::new()
            } else {
                format!(", PRIMARY KEY ({})", list(&table.primary))
            };
            writeln!(
                sql,
                "CREATE TABLE {first} (of_the_child text DEFAULT 'its own'{key}) INHERITS ({name});"
            )
        }
    };
}

/// A column as CREATE TABLE has it.
pub(super) fn column(column: &Column) -> String {
    let mut text = format!("{} {}", quoted(&column.name), column.sql_type);
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        let _ = write!(text, " DEFAULT {default}");
    }
    text
}

/// Adds a key after the rows; `names` are the constraints that there are, with their tables.
pub(super) fn key(sql: &mut String, case: &Case, key: &Key, names: &mut Vec<(usize, &'static str)>) {
    if case.tables[key.from.table].gone || case.tables[key.to.table].gone {
        return;
    }
    let mut constraint = String::new();
    if let Some(name) = key.name
        && !names.contains(&(key.from.table, name))
    {
        names.push((key.from.table, name));
        constraint = format!("CONSTRAINT {} ", quoted(name));
    }
    let mut on_delete = key.on_delete.to_string();
    if !key.set_columns.is_empty() && matches!(key.on_delete, Reaction::SetNull | Reaction::SetDefault) {
        let _ = write!(on_delete, " ({})", list(&key.set_columns));
    }
    let full = if key.full { " MATCH FULL" } else { "" };
    let timing = match key.timing {
        Timing::Immediate => "",
        Timing::Deferrable => " DEFERRABLE",
        Timing::Deferred => " DEFERRABLE INITIALLY DEFERRED",
    };
    let not_valid = if key.not_valid { " NOT VALID" } else { "" };
    let _ = writeln!(
        sql,
        "ALTER TABLE {} ADD {constraint}FOREIGN KEY ({}) REFERENCES {} ({}){full} ON DELETE {on_delete} ON UPDATE {}{timing}{not_valid};",
        place(case, key.from),
        list(&key.columns),
        place(case, key.to),
        list(&key.references),
        key.on_update,
    );
}
