//! Foreign keys: onto `"Book"` in every way, from `"Book"`, of `"Book"` to itself, and between the other tables.

use super::names::Names;
use super::tables::add;
use crate::dice::Dice;
use crate::model::{BOOK, Case, Column, Key, Place, Purpose, Reaction, Role, Shape, Timing};

pub(super) fn draw(dice: &mut Dice, names: &mut Names, case: &mut Case) {
    for table in 1..case.tables.len() {
        let whole = Place { table, part: None };
        let many = dice.weighted(&[(24, 0), (60, 1), (16, 2)]);
        for _ in 0..many {
            key(dice, names, case, whole, BOOK);
        }
        if dice.chance(45) {
            let to = if dice.chance(18) { table } else { dice.between(1..=case.tables.len() - 1) };
            key(dice, names, case, whole, to);
        }
        part_keys(dice, names, case, table);
    }
    let others = case.tables.len() - 1;
    if others > 0 && dice.chance(22) {
        let to = dice.between(1..=others);
        key(dice, names, case, Place { table: BOOK, part: None }, to);
    }
    if dice.chance(24) {
        key(dice, names, case, Place { table: BOOK, part: None }, BOOK);
    }
    if dice.chance(4) {
        over_a_copied_column(dice, case);
    }
    if case.tables[BOOK].shape == Shape::Parent && dice.chance(60) && others > 0 {
        let from = dice.between(1..=others);
        onto_a_part(dice, names, case, from, BOOK);
    }
    if dice.chance(12) {
        over_the_same_column(dice, case);
    }
    log_what_is_referenced(case);
}

/// A second key over a column that references a book already: to a table that has a row per book.
fn over_the_same_column(dice: &mut Dice, case: &mut Case) {
    let to_books = |key: &&Key| key.to == Place { table: BOOK, part: None } && key.columns.len() == 1;
    let from_whole = |key: &&Key| key.from.part.is_none() && key.from.table != BOOK && !key.not_valid;
    let mut pairs = Vec::new();
    for first in case.keys.iter().filter(to_books).filter(from_whole) {
        for parent in case.keys.iter().filter(to_books).filter(from_whole) {
            let table = &case.tables[parent.from.table];
            let unique = table.is_unique(&parent.columns) && table.shape == Shape::Plain;
            let type_of = |key: &Key| {
                let table = &case.tables[key.from.table];
                table.columns[table.column(&key.columns[0]).unwrap()].sql_type.clone()
            };
            let alike = parent.references == first.references && type_of(parent) == type_of(first);
            if unique && alike && parent.from.table != first.from.table {
                pairs.push((first.clone(), parent.from, parent.columns.clone()));
            }
        }
    }
    let Some((first, to, references)) = dice.pick_if_any(&pairs).cloned() else { return };
    let nullable = {
        let table = &case.tables[first.from.table];
        !table.columns[table.column(&first.columns[0]).unwrap()].not_null
    };
    let on_delete = if nullable {
        dice.weighted(&[(40, Reaction::Cascade), (40, Reaction::SetNull), (20, Reaction::NoAction)])
    } else {
        dice.weighted(&[(70, Reaction::Cascade), (30, Reaction::NoAction)])
    };
    case.keys.push(Key {
        to,
        references,
        on_delete,
        on_update: Reaction::Cascade,
        set_columns: Vec::new(),
        name: None,
        ..first
    });
}

/// A table that outlives a crash cannot reference one that does not.
fn log_what_is_referenced(case: &mut Case) {
    while let Some(key) = case
        .keys
        .iter()
        .find(|key| !case.tables[key.from.table].unlogged && case.tables[key.to.table].unlogged)
    {
        let table = key.to.table;
        case.tables[table].unlogged = false;
    }
}

/// Keys that only a partition or an inheritance child has, or that reference one.
fn part_keys(dice: &mut Dice, names: &mut Names, case: &mut Case, table: usize) {
    let parts = case.tables[table].shape.parts();
    if parts > 0 && dice.chance(50) {
        let part = Some(dice.between(0..=parts - 1));
        key(dice, names, case, Place { table, part }, BOOK);
    }
    let others = case.tables.len() - 1;
    if parts > 0 && case.tables[table].shape != Shape::ByReference && dice.chance(25) {
        let from = dice.between(1..=others);
        onto_a_part(dice, names, case, from, table);
    }
    if case.tables[BOOK].shape == Shape::ByIsbn && dice.chance(25) {
        onto_a_part(dice, names, case, table, BOOK);
    }
}

fn onto_a_part(dice: &mut Dice, names: &mut Names, case: &mut Case, from: usize, to: usize) {
    let parts = case.tables[to].shape.parts();
    let part = dice.between(0..=parts - 1);
    // No partitioned table can reference its own partition.
    let own = from == to && case.tables[to].shape != Shape::Parent;
    if case.tables[to].primary.is_empty() || own {
        return;
    }
    key_to(dice, names, case, Place { table: from, part: None }, Place { table: to, part: Some(part) });
}

fn key(dice: &mut Dice, names: &mut Names, case: &mut Case, from: Place, to: usize) {
    key_to(dice, names, case, from, Place { table: to, part: None });
}

/// What happens to a row when what it refers to is deleted, and when that changes.
fn reactions(dice: &mut Dice) -> (Reaction, Reaction) {
    let on_delete = dice.weighted(&[
        (36, Reaction::Cascade),
        (22, Reaction::SetNull),
        (10, Reaction::SetDefault),
        (18, Reaction::NoAction),
        (14, Reaction::Restrict),
    ]);
    let on_update = dice.weighted(&[
        (38, Reaction::NoAction),
        (32, Reaction::Cascade),
        (12, Reaction::SetNull),
        (6, Reaction::SetDefault),
        (12, Reaction::Restrict),
    ]);
    (on_delete, on_update)
}

fn loosens(action: Reaction) -> bool {
    matches!(action, Reaction::SetNull | Reaction::SetDefault)
}

/// Adds a key with columns of its own, unless the table has nothing that a key can reference.
fn key_to(dice: &mut Dice, names: &mut Names, case: &mut Case, from: Place, to: Place) {
    let Some(references) = referenced(dice, case, to) else { return };
    let (on_delete, on_update) = reactions(dice);
    let audit = matches!(case.tables[from.table].purpose, Purpose::Audit | Purpose::Counter);
    let nullable = from.table == BOOK || audit || loosens(on_delete) || loosens(on_update) || dice.chance(55);
    // A NOT NULL column that is to be set to NULL makes a deletion impossible.
    let nullable = nullable && (from.table == BOOK || audit || !dice.chance(3));
    let becomes_the_key = case.tables[from.table].primary.is_empty()
        && case.tables[from.table].shape == Shape::Plain
        && from.table != BOOK
        && !nullable
        && dice.chance(60);
    let columns: Vec<String> = references.iter().map(|_| names.reference(dice)).collect();
    for (name, referenced) in columns.iter().zip(&references) {
        let target = &case.tables[to.table];
        let sql_type = type_of(dice, &target.columns[target.column(referenced).unwrap()].sql_type);
        let column = Column {
            name: name.clone(),
            sql_type,
            not_null: !nullable,
            default: None,
            role: Role::Reference,
        };
        add(case, from.table, column);
    }
    if becomes_the_key {
        case.tables[from.table].primary.clone_from(&columns);
    } else if dice.chance(8) && case.tables[from.table].shape == Shape::Plain {
        case.tables[from.table].uniques.push(columns.clone());
    }
    // Servers up to 18 take another column for the one that is listed, in a partition whose columns are numbered otherwise.
    let table = &case.tables[from.table];
    let is_sound = !(table.shape.is_partitioned() && table.had_a_column);
    let set_columns = if columns.len() > 1 && loosens(on_delete) && dice.chance(60) && is_sound {
        vec![columns[dice.between(0..=columns.len() - 1)].clone()]
    } else {
        Vec::new()
    };
    let timing = dice.weighted(&[(66, Timing::Immediate), (8, Timing::Deferrable), (26, Timing::Deferred)]);
    let full = columns.len() > 1 && set_columns.is_empty() && dice.chance(20);
    let name = dice.weighted(&[(70, None), (15, Some("fk")), (15, Some("it's a \"key\""))]);
    let of_a_whole =
        from.part.is_none() && matches!(case.tables[from.table].shape, Shape::Plain | Shape::Parent);
    // No partitioned table can have such a key.
    let not_valid =
        of_a_whole && from.table != BOOK && !case.tables[to.table].shape.is_partitioned() && dice.chance(5);
    case.keys.push(Key {
        from,
        columns,
        to,
        references,
        on_delete,
        on_update,
        set_columns,
        timing,
        full,
        not_valid,
        name,
    });
}

/// Columns of a table that a key can reference, made unique if they are not.
fn referenced(dice: &mut Dice, case: &mut Case, to: Place) -> Option<Vec<String>> {
    let target = &mut case.tables[to.table];
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    if to.table != BOOK {
        let shares = target.shape == Shape::Plain && dice.chance(15);
        let unique = if shares { target.uniques.first() } else { None };
        let key = unique.unwrap_or(&target.primary).clone();
        return (!key.is_empty()).then_some(key);
    }
    if to.part.is_some() {
        return Some(target.primary.clone());
    }
    let columns = match target.shape {
        Shape::ByIsbn => dice.weighted(&[(60, &["id", "isbn13"][..]), (40, &["isbn13"][..])]),
        _ => dice.weighted(&[
            (46, &["id"][..]),
            (22, &["isbn10"][..]),
            (12, &["isbn13"][..]),
            (8, &["id", "isbn13"][..]),
            (5, &["isbn13", "isbn10"][..]),
            (7, &["id", "ownerId"][..]),
        ]),
    };
    let columns = named(columns);
    if !target.is_unique(&columns) {
        target.uniques.push(columns.clone());
    }
    Some(columns)
}

/// The type of a column that references one of this type, or another one that can.
fn type_of(dice: &mut Dice, referenced: &str) -> String {
    let same = match referenced {
        "bigserial" => "bigint",
        other if other.contains("serial") || other.starts_with("integer") => "integer",
        other => other,
    };
    let other = match same {
        "integer" => *dice.pick(&["bigint", "smallint", "public.number_of_it"]),
        text if text.starts_with("character varying") => *dice.pick(&["text", "text COLLATE \"C\""]),
        other => other,
    };
    (if dice.chance(12) { other } else { same }).to_owned()
}

/// A column that is copied references another book: what it references in the end, production says.
fn over_a_copied_column(dice: &mut Dice, case: &mut Case) {
    if case.tables[BOOK].shape != Shape::Plain {
        return;
    }
    let references = vec![(*dice.pick(&["isbn10", "isbn13"])).to_owned()];
    let book = Place { table: BOOK, part: None };
    let on_delete = dice.weighted(&[
        (30, Reaction::Cascade),
        (30, Reaction::SetNull),
        (30, Reaction::NoAction),
        (10, Reaction::Restrict),
    ]);
    let on_update =
        dice.weighted(&[(50, Reaction::NoAction), (40, Reaction::Cascade), (10, Reaction::SetNull)]);
    let timing = dice.weighted(&[(50, Timing::Immediate), (50, Timing::Deferred)]);
    case.keys.push(Key {
        from: book,
        columns: vec!["edition".into()],
        to: book,
        references,
        on_delete,
        on_update,
        set_columns: Vec::new(),
        timing,
        full: false,
        not_valid: false,
        name: None,
    });
}
