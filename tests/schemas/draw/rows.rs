//! Rows of the tables besides `"Book"`, and the references of all. A key that forbids a deletion is mostly given books
//! that stay, or no sync would come to its end.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::PAYLOADS;
use crate::dice::Dice;
use crate::model::{BOOK, Case, Key, Purpose, Reaction, Role, Row, Shape, Table, Value};

pub(super) fn fill(dice: &mut Dice, case: &mut Case) {
    for table in &mut case.tables {
        // Nothing to cut it by.
        if table.shape == Shape::ByReference && table.column_of(Role::Reference).is_none() {
            table.shape = Shape::Plain;
        }
    }
    let books: Vec<String> = ids(&case.tables[BOOK]);
    for table in case.tables.iter_mut().skip(1) {
        fill_table(dice, table, &books);
    }
    if case.tables[BOOK].shape == Shape::Parent {
        for row in &mut case.tables[BOOK].rows {
            row.in_child = dice.chance(30);
        }
    }
    // A row without a parent that it needs goes, and with it perhaps the parent of another one.
    loop {
        refer(dice, case);
        let mut gone = 0;
        for table in case.tables.iter_mut().skip(1) {
            let needed: Vec<usize> = (0..table.columns.len())
                .filter(|at| table.columns[*at].not_null && table.columns[*at].role == Role::Reference)
                .collect();
            let before = table.rows.len();
            table.rows.retain(|row| needed.iter().all(|at| row.values[*at].is_some()));
            gone += before - table.rows.len();
        }
        if gone == 0 {
            break;
        }
    }
    defaults(dice, case);
}

fn ids(table: &Table) -> Vec<String> {
    let Some(at) = table.id().and_then(|id| table.column(&id.name)) else { return Vec::new() };
    table.rows.iter().filter_map(|row| row.values[at].clone()).collect()
}

fn fill_table(dice: &mut Dice, table: &mut Table, books: &[String]) {
    let many = dice.weighted(&[(5, 0), (25, 2), (35, 4), (25, 6), (10, 10)]);
    let mut ids: Vec<usize> = (1..=99).collect();
    dice.shuffle(&mut ids);
    let mut numbers = books.to_vec();
    dice.shuffle(&mut numbers);
    let counted = table.purpose == Purpose::Counter;
    let many = if counted { many.min(numbers.len()) } else { many };
    for row in 0..many {
        let values = table.columns.iter().map(|column| match column.role {
            Role::Id => Some(ids[row].to_string()),
            Role::Soft if counted => Some(numbers[row].clone()),
            Role::Soft => dice.pick_if_any(books).filter(|_| dice.chance(85)).cloned(),
            Role::Payload if column.default.is_some() => Some(dice.between(1..=9).to_string()),
            Role::Payload => payload(dice, &column.sql_type),
            Role::Reference | Role::Generated | Role::Copied => None,
        });
        let values = values.collect();
        let in_child = table.shape == Shape::Parent && dice.chance(40);
        table.rows.push(Row { values, in_child });
    }
}

fn payload(dice: &mut Dice, sql_type: &str) -> Value {
    let (_, values) = PAYLOADS.iter().find(|(name, _)| *name == sql_type)?;
    dice.chance(80).then(|| (*dice.pick(values)).to_owned())
}

/// Gives every row its references.
fn refer(dice: &mut Dice, case: &mut Case) {
    // Those that others may reference first.
    let mut order: Vec<usize> = (0..case.keys.len()).collect();
    order.sort_by_key(|at| !case.tables[case.keys[*at].from.table].is_unique(&case.keys[*at].columns));
    for at in order {
        let key = case.keys[at].clone();
        // Of a copied column, production decides as well.
        if key.columns == ["edition"] {
            refer_over_a_copied_column(dice, case, &key);
        } else {
            refer_by(dice, case, &key);
        }
    }
}

fn refer_by(dice: &mut Dice, case: &mut Case, key: &Key) {
    let parents = parents(case, key);
    let from = &case.tables[key.from.table];
    let unique = from.is_unique(&key.columns);
    let nullable = !key.columns.iter().any(|name| from.columns[from.column(name).unwrap()].not_null);
    let columns: Vec<usize> = key.columns.iter().map(|name| from.column(name).unwrap()).collect();
    // Most keys that forbid something have nothing to forbid.
    let gone = dice.chance(if !key.on_delete.forbids() {
        85
    } else if key.to.table == BOOK {
        15
    } else {
        40
    });
    let changed = dice.chance(if key.on_update.forbids() { 10 } else { 85 });
    let empty = if key.from.table == BOOK { 60 } else { 15 };
    let mut taken = BTreeSet::new();
    for at in 0..case.tables[key.from.table].rows.len() {
        let pool = match dice.between(0..=99) {
            0..=39 if gone && !parents.gone.is_empty() => &parents.gone,
            40..=69 if changed && !parents.changed.is_empty() => &parents.changed,
            _ => &parents.safe,
        };
        let pool: Vec<&Vec<Value>> =
            pool.iter().filter(|values| !unique || !taken.contains(*values)).collect();
        let picked = if nullable && dice.chance(empty) { None } else { dice.pick_if_any(&pool) };
        let mut values = match picked {
            Some(values) => (*values).clone(),
            None => vec![None; columns.len()],
        };
        if key.not_valid && !unique && dice.chance(25) {
            values = columns.iter().map(|_| Some("777".to_owned())).collect();
        }
        if picked.is_some() && columns.len() > 1 && nullable && !key.full && dice.chance(10) {
            // It references nothing.
            values[0] = None;
        }
        taken.insert(values.clone());
        let row = &mut case.tables[key.from.table].rows[at];
        for (column, value) in columns.iter().zip(values) {
            row.values[*column] = value;
        }
    }
}

/// What a key can reference, by what becomes of it.
#[derive(Default)]
struct Parents {
    safe: Vec<Vec<Value>>,
    /// Books only in development, and rows that may go with books.
    gone: Vec<Vec<Value>>,
    /// Books whose referenced columns a sync changes.
    changed: Vec<Vec<Value>>,
}

fn parents(case: &Case, key: &Key) -> Parents {
    let to = &case.tables[key.to.table];
    let new: BTreeMap<&Value, &Vec<Value>> = case.production.iter().map(|book| (&book[3], book)).collect();
    let mut parents = Parents::default();
    for row in to.rows.iter().filter(|row| to.is_in(row, key.to.part)) {
        let values = to.values(row, &key.references);
        if values.iter().any(Option::is_none) {
            continue;
        }
        if key.to.table != BOOK {
            // Whether it goes, its own references decide.
            let goes = row
                .values
                .iter()
                .zip(&to.columns)
                .any(|(value, column)| column.role == Role::Reference && value.is_some());
            let pool = if goes { &mut parents.gone } else { &mut parents.safe };
            pool.push(values);
            continue;
        }
        let references = |name: &str| key.references.iter().any(|column| column == name);
        match new.get(&row.values[3]) {
            None => parents.gone.push(values),
            Some(book) => {
                let owner = references("ownerId") && row.values[1].as_deref() != Some("1");
                let isbn10 = references("isbn10") && book[2] != row.values[2];
                let pool = if owner || isbn10 { &mut parents.changed } else { &mut parents.safe };
                pool.push(values);
            }
        }
    }
    parents
}

fn refer_over_a_copied_column(dice: &mut Dice, case: &mut Case, key: &Key) {
    let book = &case.tables[BOOK];
    let column = book.column("edition").unwrap();
    let referenced = book.column(&key.references[0]).unwrap();
    let mut old: Vec<Vec<Value>> = book.rows.iter().map(|row| row.values.clone()).collect();
    for side in [&mut old, &mut case.production] {
        let all: Vec<Value> = side.iter().map(|book| book[referenced].clone()).collect();
        for book in side.iter_mut() {
            book[column] = if dice.chance(30) { dice.pick(&all).clone() } else { None };
        }
    }
    for (row, values) in case.tables[BOOK].rows.iter_mut().zip(old) {
        row.values = values;
    }
}

/// What SET DEFAULT sets.
fn defaults(dice: &mut Dice, case: &mut Case) {
    for at in 0..case.keys.len() {
        let key = case.keys[at].clone();
        if ![key.on_delete, key.on_update].contains(&Reaction::SetDefault) {
            continue;
        }
        let Parents { safe, gone, changed } = parents(case, &key);
        let others = [gone, changed].concat();
        let of_book = key.from.table == BOOK;
        let values = match dice.between(0..=99) {
            0..=59 => dice.pick_if_any(&safe).cloned(),
            60..=69 if !of_book => dice.pick_if_any(&others).cloned(),
            70..=76 if !of_book => Some(vec![Some("999".to_owned()); key.columns.len()]),
            _ => None,
        };
        let Some(values) = values else { continue };
        for (name, value) in key.columns.iter().zip(values) {
            let table = &mut case.tables[key.from.table];
            let column = table.column(name).unwrap();
            table.columns[column].default = value.map(|value| format!("'{}'", value.replace('\'', "''")));
        }
    }
}
