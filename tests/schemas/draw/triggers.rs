//! Triggers and rules, on `"Book"` and on what a deletion of books reaches.

use crate::acts::{Event, Firing, Rule, Trigger, Work};
use crate::dice::Dice;
use crate::model::{BOOK, Case, Purpose, Role};

pub(super) fn draw(dice: &mut Dice, case: &mut Case) {
    let many = dice.weighted(&[(60, 1), (28, 2), (12, 3)]);
    for _ in 0..many {
        if let Some(trigger) = trigger(dice, case) {
            case.triggers.push(trigger);
        }
    }
    if dice.chance(8) {
        rule(dice, case);
    }
}

fn trigger(dice: &mut Dice, case: &Case) -> Option<Trigger> {
    let tables: Vec<usize> = case.others().map(|(place, _)| place).collect();
    let on = if dice.chance(68) { BOOK } else { dice.pick_if_any(&tables).copied().unwrap_or(BOOK) };
    let firing = dice.weighted(&[
        (42, Firing::AfterRow),
        (14, Firing::BeforeRow),
        (12, Firing::AfterStatement),
        (6, Firing::BeforeStatement),
        (12, Firing::Transition),
        (14, Firing::Deferred),
    ]);
    let events = match firing {
        // One event only has transition tables.
        Firing::Transition => vec![event(dice)],
        _ if dice.chance(25) => vec![Event::Update, Event::Delete],
        _ => vec![event(dice)],
    };
    let work = work(dice, case, on, &events, firing)?;
    let only_changes = firing.is_row() && events == [Event::Update] && dice.chance(40);
    Some(Trigger {
        on,
        firing,
        events,
        only_changes,
        in_vain: dice.chance(12),
        unqualified: dice.chance(25),
        prefix: dice.weighted(&[(30, "A"), (70, "z")]),
        work,
    })
}

fn event(dice: &mut Dice) -> Event {
    dice.weighted(&[(50, Event::Delete), (35, Event::Update), (15, Event::Insert)])
}

fn work(dice: &mut Dice, case: &Case, on: usize, events: &[Event], firing: Firing) -> Option<Work> {
    let books_only = |work| (on == BOOK).then_some(work);
    let special = match dice.between(0..=99) {
        0..=2 if firing.is_row() => books_only(Work::Forbid),
        3..=4 if firing == Firing::BeforeRow && !events.contains(&Event::Delete) => {
            books_only(Work::AlterBook)
        }
        5..=7 if case.book().columns.iter().any(|column| column.role == Role::Reference) => {
            Some(Work::TouchBooks)
        }
        8 => Some(Work::DeleteBook),
        _ => None,
    };
    if special.is_some() {
        return special;
    }
    let tables: Vec<usize> = case.others().map(|(place, _)| place).filter(|place| *place != on).collect();
    let table = *dice.pick_if_any(&tables)?;
    let has_number = case.tables[table].column_of(Role::Soft).is_some();
    Some(match case.tables[table].purpose {
        Purpose::Audit if dice.chance(85) => Work::Insert(table),
        Purpose::Counter if dice.chance(80) => Work::Upsert(table),
        _ if !has_number => match dice.between(0..=9) {
            0..=5 => Work::Truncate { table, cascade: dice.chance(60) },
            6..=7 => Work::Drop(table),
            _ => Work::Rewrite(table),
        },
        _ => match dice.between(0..=99) {
            0..=44 => Work::Delete(table),
            45..=63 => Work::Update(table),
            64..=70 => Work::Same(table),
            71..=81 => Work::Replace(table),
            82..=93 => Work::Truncate { table, cascade: dice.chance(60) },
            94..=96 => Work::Drop(table),
            _ => Work::Rewrite(table),
        },
    })
}

fn rule(dice: &mut Dice, case: &mut Case) {
    let event = event(dice);
    let with_number = case.others().filter(|(_, table)| table.column_of(Role::Soft).is_some());
    let with_number: Vec<usize> = with_number.map(|(place, _)| place).collect();
    let also = if dice.chance(80) {
        let Some(table) = dice.pick_if_any(&with_number).copied() else { return };
        Some(match case.tables[table].purpose {
            Purpose::Audit => Work::Insert(table),
            _ if dice.chance(50) => Work::Update(table),
            _ => Work::Delete(table),
        })
    } else {
        None
    };
    case.rules.push(Rule { event, also });
}
