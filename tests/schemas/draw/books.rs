//! The books of both sides: those that only one has, equal ones, changed ones, and such that take each other's isbn10.

use crate::dice::Dice;
use crate::model::{Column, Purpose, Role, Row, Shape, Table, Value};

/// The application's columns, in the order of its table, and whether they may be NULL.
pub(crate) const COLUMNS: [(&str, &str, bool); 21] = [
    ("id", "integer", false),
    ("ownerId", "integer", false),
    ("isbn10", "character varying(10)", false),
    ("isbn13", "character varying(13)", false),
    ("title", "text", false),
    ("titleLong", "text", false),
    ("language", "text", false),
    ("synopsis", "text", false),
    ("image", "text", false),
    ("edition", "text", true),
    ("pageCount", "integer", false),
    ("authors", "text[]", true),
    ("binding", "text", false),
    ("subjects", "text[]", true),
    ("datePublished", "text", false),
    ("imageOriginal", "text", false),
    ("publisher", "text", false),
    ("visibility", "\"BookVisibility\"", false),
    ("createdAt", "timestamp(3)", false),
    ("readDate", "timestamp(3)", true),
    ("updatedAt", "timestamp(3)", false),
];

const ID: usize = 0;
const OWNER: usize = 1;
const ISBN10: usize = 2;
const TITLE: usize = 4;
const EDITION: usize = 9;
const PAGES: usize = 10;
const AUTHORS: usize = 11;
const VISIBILITY: usize = 17;
const UPDATED_AT: usize = 20;

/// The only user whom the books of a sync may belong to, and another one.
const OWNERS: [&str; 2] = ["1", "2"];

type Content = Vec<Value>;

/// How many books there are of each kind.
struct Numbers {
    kept: usize,
    only_in_development: usize,
    only_in_production: usize,
}

fn numbers(dice: &mut Dice) -> Numbers {
    let most = dice.weighted(&[(50, 5), (35, 11), (15, 24)]);
    let mut numbers = Numbers {
        kept: dice.between(1..=most),
        only_in_development: dice.weighted(&[(15, 0), (35, 1), (25, 2), (15, 3), (10, 5)]),
        only_in_production: dice.weighted(&[(30, 0), (30, 1), (20, 2), (20, 4)]),
    };
    match dice.between(0..=99) {
        0..=3 => (numbers.kept, numbers.only_in_development) = (0, 0),
        4..=6 => (numbers.kept, numbers.only_in_production) = (0, 0),
        7..=8 => numbers.kept = 0,
        _ => {}
    }
    numbers
}

/// The table with development's books, and production's books.
pub(super) fn draw(dice: &mut Dice, is_partitioned: bool) -> (Table, Vec<Content>) {
    let Numbers { kept, only_in_development, only_in_production } = numbers(dice);
    let count = kept + only_in_development + only_in_production;
    let mut ids: Vec<usize> = (1..=60).collect();
    dice.shuffle(&mut ids);
    let contents: Vec<Content> = (0..count).map(|number| content(dice, number)).collect();
    let old: Vec<Content> = contents[..kept + only_in_development].to_vec();
    let mut new: Vec<Content> = contents[..kept].to_vec();
    new.extend_from_slice(&contents[kept + only_in_development..]);
    if !dice.chance(6) {
        change(dice, &mut new[..kept], count);
    }
    take_isbn10(dice, &mut new, kept, &old[kept..]);

    for (id, content) in new.iter_mut().enumerate() {
        content[ID] = Some((id + 1).to_string());
        content[OWNER] = Some(dice.between(1..=3).to_string());
    }
    let rows = old.into_iter().zip(ids).map(|(mut values, id)| {
        values[ID] = Some(id.to_string());
        values[OWNER] = Some((*dice.weighted(&[(88, &OWNERS[0]), (12, &OWNERS[1])])).to_owned());
        Row { values, in_child: false }
    });
    let rows = rows.collect();
    let table = Table {
        schema: "public",
        name: "Book".to_owned(),
        columns: COLUMNS.iter().map(column).collect(),
        primary: if is_partitioned { vec!["id".into(), "isbn13".into()] } else { vec!["id".into()] },
        uniques: if is_partitioned {
            vec![vec!["isbn13".into()]]
        } else {
            vec![vec!["isbn13".into()], vec!["isbn10".into()]]
        },
        shape: if is_partitioned { Shape::ByIsbn } else { Shape::Plain },
        unlogged: false,
        had_a_column: dice.chance(10),
        rows,
        purpose: Purpose::Books,
        gone: false,
    };
    (table, new)
}

fn column((name, sql_type, nullable): &(&str, &str, bool)) -> Column {
    let role = if *name == "id" { Role::Id } else { Role::Copied };
    Column { name: (*name).into(), sql_type: (*sql_type).into(), not_null: !nullable, default: None, role }
}

fn content(dice: &mut Dice, number: usize) -> Content {
    let isbn13 = format!("978{:010}", (number * 7_919_000_003 + 13) % 10_000_000_000);
    let texts = ["", "it's \"quoted\", {and} (bracketed)", "two\nlines\tand a tab", "\\N", "ß Ж 本"];
    let arrays = [None, Some("{}"), Some("{NULL,\"\",\"a, b\"}"), Some("{one,two}")];
    let mut content: Content = vec![Some("text".into()); COLUMNS.len()];
    let mut set = |name: &str, value: Option<String>| {
        content[COLUMNS.iter().position(|column| column.0 == name).unwrap()] = value;
    };
    set("isbn10", Some(format!("{:010}", number * 31 + 5)));
    set("isbn13", Some(isbn13));
    set("title", Some(format!("Book {number}{}", dice.pick(&texts))));
    set("synopsis", Some((*dice.pick(&texts)).to_owned()));
    set("edition", None);
    set("pageCount", Some(dice.between(0..=900).to_string()));
    set("authors", dice.pick(&arrays).map(str::to_owned));
    set("subjects", dice.pick(&arrays).map(str::to_owned));
    set("visibility", Some((*dice.pick(&["PUBLIC", "PRIVATE", "FRIENDS", "UNLISTED"])).to_owned()));
    for column in ["createdAt", "updatedAt"] {
        set(column, Some(format!("2024-01-{:02} 10:00:00.123", dice.between(1..=28))));
    }
    let read = dice.weighted(&[(60, None), (30, Some("2023-05-05 10:00:00.5")), (10, Some("infinity"))]);
    set("readDate", read.map(str::to_owned));
    content
}

/// What happened in production since.
fn change(dice: &mut Dice, kept: &mut [Content], count: usize) {
    for (number, content) in kept.iter_mut().enumerate() {
        match dice.between(0..=99) {
            0..=14 => content[TITLE] = Some(format!("Changed {number}")),
            15..=25 => content[ISBN10] = Some(format!("new{:06}", number + count)),
            26..=29 => content[AUTHORS] = None,
            30..=32 => content[EDITION] = Some("2nd".into()),
            33..=35 => content[PAGES] = Some("-1".into()),
            36..=38 => content[VISIBILITY] = Some("PRIVATE".into()),
            39..=42 => content[UPDATED_AT] = Some("2025-02-02 02:02:02.002".into()),
            _ => {}
        }
    }
    if kept.len() >= 2 && dice.chance(30) {
        let length = dice.between(2..=kept.len().min(4));
        let mut places: Vec<usize> = (0..kept.len()).collect();
        dice.shuffle(&mut places);
        let places = &places[..length];
        let first = kept[places[0]][ISBN10].clone();
        for pair in places.windows(2) {
            let next = kept[pair[1]][ISBN10].clone();
            kept[pair[0]][ISBN10] = next;
        }
        kept[places[length - 1]][ISBN10] = first;
    }
}

/// A book of production has the isbn10 that one has which only development knows.
fn take_isbn10(dice: &mut Dice, new: &mut [Content], kept: usize, only_in_development: &[Content]) {
    if new.is_empty() || !dice.chance(20) {
        return;
    }
    let Some(old) = dice.pick_if_any(only_in_development) else { return };
    let taker = if kept < new.len() && dice.chance(60) {
        dice.between(kept..=new.len() - 1)
    } else {
        dice.between(0..=new.len() - 1)
    };
    new[taker][ISBN10].clone_from(&old[ISBN10]);
}
