//! Draws a case from its seed: first the books, then the tables, the keys, the rows, and what acts on them.

mod books;
mod keys;
mod names;
mod rows;
mod tables;
mod triggers;

use crate::dice::Dice;
use crate::model::{BOOK, Case, Ids, Meanwhile, Shape};
use names::Names;
pub(crate) use names::OTHER_SCHEMAS;

/// The case of `seed`.
pub(crate) fn draw(seed: u64) -> Case {
    let mut dice = Dice::new(seed);
    let mut names = Names::default();
    let is_partitioned = dice.chance(5);
    let (book, production) = books::draw(&mut dice, is_partitioned);
    let mut case = Case {
        seed,
        tables: vec![book],
        keys: Vec::new(),
        triggers: Vec::new(),
        rules: Vec::new(),
        production,
        production_is_partitioned: if is_partitioned { dice.chance(50) } else { dice.chance(1) },
        ids: if is_partitioned {
            Ids::Sequence
        } else {
            dice.weighted(&[(88, Ids::Sequence), (7, Ids::Identity), (5, Ids::Foreign)])
        },
        has_a_check: dice.chance(3),
        engine: dice.weighted(&[(75, "insert"), (25, "copy")]),
        batch_size: dice.weighted(&[(60, 1000), (20, 7), (10, 3), (10, 1)]),
        meanwhile: Meanwhile::Nothing,
        again: dice.chance(10),
    };
    if !is_partitioned && dice.chance(2) {
        case.tables[BOOK].shape = Shape::Parent;
    }
    let acts = dice.chance(50);
    tables::draw(&mut dice, &mut names, &mut case, acts);
    keys::draw(&mut dice, &mut names, &mut case);
    rows::fill(&mut dice, &mut case);
    if acts {
        triggers::draw(&mut dice, &mut case);
    }
    case.meanwhile = meanwhile(&mut dice, &case);
    case
}

fn meanwhile(dice: &mut Dice, case: &Case) -> Meanwhile {
    let tables: Vec<usize> = case.others().map(|(place, _)| place).collect();
    let to_books: Vec<usize> = (0..case.keys.len())
        .filter(|key| case.keys[*key].to.table == BOOK && case.keys[*key].from.table != BOOK)
        .collect();
    if dice.chance(5) {
        return Meanwhile::ChangeBook;
    }
    if dice.chance(16)
        && let Some(key) = dice.pick_if_any(&to_books)
    {
        return Meanwhile::AddRows(*key);
    }
    let Some(table) = dice.pick_if_any(&tables).copied().filter(|_| dice.chance(18)) else {
        return Meanwhile::Nothing;
    };
    match dice.between(0..=2) {
        0 => Meanwhile::ChangeRow(table),
        1 => Meanwhile::TakeKey(table),
        _ => Meanwhile::DeleteRow(table),
    }
}
