//! Makes a failing case smaller: whatever can be taken away while it fails in the same way is.

use std::time::{Duration, Instant};

use crate::lab::Bench;
use crate::model::{BOOK, Case, Meanwhile};
use crate::play::play;
use crate::story::Mismatch;

/// A case that is small by then is small enough.
const LIMIT: Duration = Duration::from_mins(2);

/// The smallest case found, with its mismatch.
pub(crate) async fn shrink(mut case: Case, mut mismatch: Mismatch, bench: &mut Bench) -> (Case, Mismatch) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut smaller = None;
        for candidate in candidates(&case) {
            if Instant::now() > deadline {
                return (case, mismatch);
            }
            match Box::pin(play(&candidate, bench)).await {
                Err(found) if found.kind == mismatch.kind => {
                    smaller = Some((candidate, found));
                    break;
                }
                _ => {}
            }
        }
        match smaller {
            Some(found) => (case, mismatch) = found,
            None => return (case, mismatch),
        }
    }
}

/// Every case with one thing less, the largest things first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let mut without = |change: &dyn Fn(&mut Case)| {
        let mut candidate = case.clone();
        change(&mut candidate);
        candidates.push(candidate);
    };
    for table in 1..case.tables.len() {
        if !case.tables[table].gone {
            without(&|case| take_table(case, table));
        }
    }
    for trigger in 0..case.triggers.len() {
        without(&|case| drop(case.triggers.remove(trigger)));
    }
    for rule in 0..case.rules.len() {
        without(&|case| {
            case.rules.remove(rule);
        });
    }
    if case.meanwhile != Meanwhile::Nothing {
        without(&|case| case.meanwhile = Meanwhile::Nothing);
    }
    if case.again {
        without(&|case| case.again = false);
    }
    for key in 0..case.keys.len() {
        without(&|case| take_key(case, key));
    }
    let production = case.production.len();
    if production > 3 {
        without(&|case| case.production.truncate(production / 2));
        without(&|case| drop(case.production.drain(..production / 2)));
    }
    for table in 0..case.tables.len() {
        let rows = case.tables[table].rows.len();
        if rows > 3 && !case.tables[table].gone {
            without(&|case| case.tables[table].rows.truncate(rows / 2));
            without(&|case| drop(case.tables[table].rows.drain(..rows / 2)));
        }
    }
    for book in 0..production {
        without(&|case| drop(case.production.remove(book)));
    }
    for table in BOOK..case.tables.len() {
        let rows = if case.tables[table].gone { 0 } else { case.tables[table].rows.len() };
        for row in 0..rows {
            without(&|case| drop(case.tables[table].rows.remove(row)));
        }
    }
    candidates
}

fn take_table(case: &mut Case, table: usize) {
    case.tables[table].gone = true;
    while let Some(key) = case.keys.iter().position(|key| key.from.table == table || key.to.table == table) {
        take_key(case, key);
    }
    case.triggers.retain(|trigger| trigger.on != table && trigger.work.table() != Some(table));
    case.rules.retain(|rule| rule.also.is_none_or(|work| work.table() != Some(table)));
    if matches!(case.meanwhile, Meanwhile::ChangeRow(at) | Meanwhile::TakeKey(at) | Meanwhile::DeleteRow(at) if at == table)
    {
        case.meanwhile = Meanwhile::Nothing;
    }
}

fn take_key(case: &mut Case, key: usize) {
    case.keys.remove(key);
    case.meanwhile = match case.meanwhile {
        Meanwhile::AddRows(at) if at == key => Meanwhile::Nothing,
        Meanwhile::AddRows(at) if at > key => Meanwhile::AddRows(at - 1),
        other => other,
    };
}
