//! Books whose columns have values of every class that their types allow.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::postgres::PgConnection;

/// Which characters the source's encoding has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repertoire {
    Latin1,
    Unicode,
}

/// How many books have a value of this class in this column.
pub(super) type Histogram = BTreeMap<&'static str, BTreeMap<&'static str, u32>>;

/// A class, and how a value of it is made; `None` is NULL.
type Class = (&'static str, fn(&mut SmallRng, Repertoire) -> Option<String>);

const ONLY_UNICODE: &str = "plane ";

/// Columns with their SQL types, as the generator gives them.
const COLUMNS: [(&str, &str); 19] = [
    ("isbn10", "text"),
    ("isbn13", "text"),
    ("title", "text"),
    ("titleLong", "text"),
    ("language", "text"),
    ("synopsis", "text"),
    ("image", "text"),
    ("edition", "text"),
    ("pageCount", "integer"),
    ("authors", "text[]"),
    ("binding", "text"),
    ("subjects", "text[]"),
    ("datePublished", "text"),
    ("imageOriginal", "text"),
    ("publisher", "text"),
    ("visibility", "\"BookVisibility\""),
    ("createdAt", "timestamp(3)"),
    ("readDate", "timestamp(3)"),
    ("updatedAt", "timestamp(3)"),
];

/// Inserts `books` books of the first user; how many values there are of each class.
pub(super) async fn fill(
    connection: &mut PgConnection,
    books: u32,
    seed: u64,
    repertoire: Repertoire,
) -> Histogram {
    // Not optimised, the usual generator would take half of the time of the whole test.
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut histogram = Histogram::new();
    let mut keys = BTreeSet::new();
    let names = COLUMNS.map(|(name, _)| format!("\"{name}\"")).join(", ");
    let values = COLUMNS.map(|(name, sql_type)| format!("\"{name}\"::{sql_type}")).join(", ");
    let arrays: Vec<String> = (1..=COLUMNS.len()).map(|number| format!("${number}::text[]")).collect();
    let insert = format!(
        r#"INSERT INTO "Book" ("ownerId", {names}) SELECT (SELECT min(id) FROM "User"), {values}
           FROM unnest({}) AS book ({names})"#,
        arrays.join(", ")
    );
    let mut left = books;
    while left > 0 {
        let rows = left.min(500);
        left -= rows;
        let mut query = sqlx::query(sqlx::AssertSqlSafe(insert.as_str()));
        for (name, _) in COLUMNS {
            let column: Vec<Option<String>> =
                (0..rows).map(|_| value(name, &mut rng, repertoire, &mut keys, &mut histogram)).collect();
            query = query.bind(column);
        }
        query.execute(&mut *connection).await.unwrap();
    }
    histogram
}

/// The classes that `column` has under `repertoire`.
pub(super) fn classes(column: &str, repertoire: Repertoire) -> Vec<&'static str> {
    classes_of(column, repertoire).into_iter().map(|(class, _)| class).collect()
}

pub(super) fn columns() -> [&'static str; 19] {
    COLUMNS.map(|(name, _)| name)
}

fn value(
    column: &'static str,
    rng: &mut SmallRng,
    repertoire: Repertoire,
    keys: &mut BTreeSet<(&'static str, String)>,
    histogram: &mut Histogram,
) -> Option<String> {
    let classes = classes_of(column, repertoire);
    loop {
        let (class, make) = *classes.choose(rng).unwrap();
        let mut value = make(rng, repertoire);
        if let (true, Some(key)) = (column.starts_with("isbn"), value.as_mut()) {
            *key = key.chars().take(if column == "isbn10" { 10 } else { 13 }).collect();
            // A unique index has no room for the same key twice.
            if !keys.insert((column, key.clone())) {
                continue;
            }
        }
        *histogram.entry(column).or_default().entry(class).or_default() += 1;
        return value;
    }
}

fn classes_of(column: &str, repertoire: Repertoire) -> Vec<Class> {
    let mut classes = match column {
        "pageCount" => NUMBERS.to_vec(),
        "authors" | "subjects" => ARRAYS.to_vec(),
        "visibility" => LABELS.to_vec(),
        "createdAt" | "updatedAt" | "readDate" => TIMES.to_vec(),
        // Too long for its index.
        "title" => TEXTS.iter().copied().filter(|(class, _)| *class != "long").collect(),
        // A key of its own for each book is a question of luck with short or few values.
        "isbn10" | "isbn13" => TEXTS
            .iter()
            .copied()
            .filter(|(class, _)| !["empty", "looks like a value", "long"].contains(class))
            .collect(),
        _ => TEXTS.to_vec(),
    };
    if matches!(column, "edition" | "readDate" | "authors" | "subjects") {
        classes.push(("NULL", |_, _| None));
    }
    classes.retain(|(class, _)| repertoire == Repertoire::Unicode || !class.starts_with(ONLY_UNICODE));
    classes
}

const TEXTS: [Class; 18] = [
    ("empty", |_, _| Some(String::new())),
    ("ASCII", |rng, _| text(rng, &[' '..='~'])),
    ("spaces around", |rng, _| Some(format!("  {} \t", text(rng, &['a'..='z'])?))),
    ("quotes and backslashes", |rng, _| {
        text(rng, &['\''..='\'', '"'..='"', '\\'..='\\', '$'..='$', '`'..='`', 'a'..='z'])
    }),
    ("line breaks", |rng, _| {
        text(rng, &['\n'..='\n', '\r'..='\r', '\u{b}'..='\u{c}', '\u{85}'..='\u{85}', 'a'..='z'])
    }),
    ("control characters", |rng, _| text(rng, &['\u{1}'..='\u{1f}', '\u{7f}'..='\u{9f}', '0'..='9'])),
    ("Latin-1", |rng, _| text(rng, &['\u{a0}'..='\u{ff}'])),
    ("digits", |rng, _| text(rng, &['0'..='9'])),
    ("looks like a value", |rng, _| {
        let texts = [
            "NULL", "null", "{}", "{NULL}", "\\N", "\\.", "infinity", "0", "t", "''", "\"\"", "$1", "'; --",
            "%s",
        ];
        texts.choose(rng).map(|text| (*text).to_owned())
    }),
    ("long", |rng, repertoire| {
        let ranges =
            if repertoire == Repertoire::Latin1 { ['\u{1}'..='\u{ff}'] } else { ['\u{1}'..='\u{d7ff}'] };
        Some((0..40).filter_map(|_| text(rng, &ranges)).collect())
    }),
    ("plane 0", |rng, _| text(rng, &['\u{100}'..='\u{d7ff}', '\u{e000}'..='\u{ffff}'])),
    ("plane 0: combining, right to left, joiners", |rng, _| {
        text(
            rng,
            &[
                '\u{300}'..='\u{36f}',
                '\u{590}'..='\u{6ff}',
                '\u{200b}'..='\u{200f}',
                '\u{202a}'..='\u{202e}',
                'a'..='e',
            ],
        )
    }),
    ("plane 1", |rng, _| text(rng, &['\u{10000}'..='\u{1ffff}'])),
    ("plane 2", |rng, _| text(rng, &['\u{20000}'..='\u{2ffff}'])),
    ("plane 3", |rng, _| text(rng, &['\u{30000}'..='\u{3ffff}'])),
    ("plane 4 to 13", |rng, _| text(rng, &['\u{40000}'..='\u{dffff}'])),
    ("plane 14", |rng, _| text(rng, &['\u{e0000}'..='\u{effff}'])),
    ("plane 15 and 16", |rng, _| text(rng, &['\u{f0000}'..='\u{10ffff}'])),
];

const NUMBERS: [Class; 5] = [
    ("zero", |_, _| Some("0".into())),
    ("greatest", |_, _| Some(i32::MAX.to_string())),
    ("least", |_, _| Some(i32::MIN.to_string())),
    ("positive", |rng, _| Some(rng.random_range(1..i32::MAX).to_string())),
    ("negative", |rng, _| Some(rng.random_range(i32::MIN..0).to_string())),
];

const LABELS: [Class; 4] = [
    ("PUBLIC", |_, _| Some("PUBLIC".into())),
    ("PRIVATE", |_, _| Some("PRIVATE".into())),
    ("FRIENDS", |_, _| Some("FRIENDS".into())),
    ("UNLISTED", |_, _| Some("UNLISTED".into())),
];

const TIMES: [Class; 9] = [
    ("infinity", |_, _| Some("infinity".into())),
    ("-infinity", |_, _| Some("-infinity".into())),
    ("first", |_, _| Some("4713-11-24 00:00:00 BC".into())),
    ("last", |_, _| Some("294276-12-31 23:59:59.999".into())),
    ("before Christ", |rng, _| Some(format!("{:04}-03-15 12:00:00 BC", rng.random_range(1..4700)))),
    ("far", |rng, _| Some(format!("{}-02-28 23:59:59.999", rng.random_range(10_000..294_000)))),
    ("a skipped hour somewhere", |rng, _| Some(format!("2024-10-06 02:{:02}:00", rng.random_range(0..60)))),
    ("rounded to a millisecond", |rng, _| {
        Some(format!("2024-02-29 23:59:59.999{}", rng.random_range(0..1000)))
    }),
    ("ordinary", |rng, _| {
        let (year, ms) = (rng.random_range(1970..2038), rng.random_range(0..1000));
        Some(format!("{year}-07-{:02} 12:34:56.{ms:03}", rng.random_range(1..29)))
    }),
];

const ARRAYS: [Class; 12] = [
    ("no element", |_, _| Some("{}".into())),
    ("one NULL", |_, _| Some("{NULL}".into())),
    ("NULL among texts", |rng, repertoire| Some(format!("{{NULL,{},NULL}}", element(rng, repertoire)))),
    ("the text NULL", |_, _| Some(r#"{"NULL","null",""}"#.into())),
    ("empty texts", |_, _| Some(r#"{"",""}"#.into())),
    ("texts", |rng, repertoire| Some(list(rng, repertoire, 3))),
    ("nested quotes", |_, _| Some(r#"{"a \"b\" c","\\","\\\"","{\"x\"}","','"}"#.into())),
    ("many", |rng, repertoire| Some(list(rng, repertoire, 300))),
    ("two dimensions", |rng, repertoire| {
        Some(format!("{{{},{}}}", list(rng, repertoire, 2), list(rng, repertoire, 2)))
    }),
    ("three dimensions", |rng, repertoire| Some(format!("{{{{{0}}},{{{0}}}}}", list(rng, repertoire, 2)))),
    ("shifted", |rng, repertoire| Some(format!("[-2:0]={}", list(rng, repertoire, 3)))),
    ("two shifted dimensions", |rng, repertoire| {
        Some(format!("[0:1][5:6]={{{},{}}}", list(rng, repertoire, 2), list(rng, repertoire, 2)))
    }),
];

fn list(rng: &mut SmallRng, repertoire: Repertoire, elements: usize) -> String {
    let elements: Vec<String> = (0..elements).map(|_| element(rng, repertoire)).collect();
    format!("{{{}}}", elements.join(","))
}

/// A text as an array literal has it.
fn element(rng: &mut SmallRng, repertoire: Repertoire) -> String {
    let texts: Vec<Class> = TEXTS
        .into_iter()
        .filter(|(class, _)| *class != "long")
        .filter(|(class, _)| repertoire == Repertoire::Unicode || !class.starts_with(ONLY_UNICODE))
        .collect();
    let text = texts.choose(rng).and_then(|(_, make)| make(rng, repertoire)).unwrap_or_default();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Characters of these ranges.
fn text(rng: &mut SmallRng, ranges: &[std::ops::RangeInclusive<char>]) -> Option<String> {
    let length = rng.random_range(8..40);
    let character = |_| {
        let range = ranges.choose(rng).cloned()?;
        Some(rng.random_range(range))
    };
    (0..length).map(character).collect()
}
