//! Which kinds of schema and data a case has, for the table at the end and for a sample with all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::acts::{Event, Firing, Work};
use crate::model::{BOOK, Case, Ids, Key, Purpose, Reaction, Role, Shape, Timing, Value};

/// The kinds of a case.
pub(crate) fn kinds(case: &Case) -> BTreeSet<&'static str> {
    let mut kinds = BTreeSet::new();
    tables(case, &mut kinds);
    for key in &case.keys {
        key_kinds(key, &mut kinds);
        let table = &case.tables[key.from.table];
        let types =
            key.columns.iter().filter_map(|name| table.column(name)).map(|at| &table.columns[at].sql_type);
        let other = |name: &String| {
            ["bigint", "smallint", "text", "COLLATE", "number_of_it"].iter().any(|other| name.contains(other))
        };
        kinds.extend(
            (table.name != "Book" && types.into_iter().any(other))
                .then_some("key: of another type than what it references"),
        );
    }
    if has_a_cycle(case) {
        kinds.insert("keys: a cycle of tables");
    }
    acting(case, &mut kinds);
    books(case, &mut kinds);
    kinds
}

fn tables(case: &Case, kinds: &mut BTreeSet<&'static str>) {
    let others = case.others().count();
    kinds.insert(match others {
        0 => "tables: none",
        1..=2 => "tables: 1 or 2",
        3..=4 => "tables: 3 or 4",
        _ => "tables: 5 or 6",
    });
    for (_, table) in case.others() {
        kinds.extend((table.schema != "public").then_some("table: in another schema"));
        kinds.extend((table.name == "Book").then_some("table: \"Book\" of another schema"));
        let plain = table.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        kinds.extend((!plain).then_some("table: a name with other characters"));
        kinds.extend(table.primary.is_empty().then_some("table: without a primary key"));
        kinds.extend(table.unlogged.then_some("table: unlogged"));
        kinds.extend(table.had_a_column.then_some("table: with a dropped column"));
        let generated = table.column_of(Role::Generated).is_some();
        kinds.extend(generated.then_some("table: with a generated column"));
        kinds.extend(match table.shape {
            Shape::ById { .. } => Some("table: partitioned"),
            Shape::ByReference => Some("table: partitioned by its reference"),
            Shape::Parent => Some("table: with an inheritance child"),
            Shape::Plain | Shape::ByIsbn => None,
        });
    }
    kinds.extend(match case.book().shape {
        Shape::ByIsbn => Some("book: partitioned"),
        Shape::Parent => Some("book: with an inheritance child"),
        _ => None,
    });
    kinds.extend(case.book().column_of(Role::Generated).map(|_| "book: with a generated column"));
    kinds.extend((case.ids != Ids::Sequence).then_some("book: with ids of an identity or a free sequence"));
    kinds.extend(case.has_a_check.then_some("book: with a CHECK"));
    kinds.extend(case.has_shared_columns().then_some("keys: two over one column"));
    kinds.extend(case.production_is_partitioned.then_some("book: partitioned in production"));
}

fn key_kinds(key: &Key, kinds: &mut BTreeSet<&'static str>) {
    let copied = key.columns == ["edition"];
    kinds.insert(match (key.from.table, key.to.table) {
        (BOOK, BOOK) if copied => "key: of \"Book\" to itself, over a copied column",
        (BOOK, BOOK) => "key: of \"Book\" to itself",
        (BOOK, _) => "key: from \"Book\"",
        (_, BOOK) => match key.references.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["id"] => "key: to \"Book\" by id",
            ["isbn10"] => "key: to \"Book\" by isbn10",
            ["isbn13"] => "key: to \"Book\" by isbn13",
            ["id", "ownerId"] => "key: to \"Book\" by id and owner",
            _ => "key: to \"Book\" by two columns",
        },
        (from, to) if from == to => "key: of another table to itself",
        _ => "key: between other tables",
    });
    kinds.extend(key.from.part.map(|_| "key: of a partition or child"));
    kinds.extend(key.to.part.map(|_| "key: onto a partition or child"));
    kinds.extend(key.not_valid.then_some("key: NOT VALID"));
    kinds.extend(key.full.then_some("key: MATCH FULL"));
    kinds.insert(match key.on_delete {
        Reaction::Cascade => "on delete: CASCADE",
        Reaction::SetNull if !key.set_columns.is_empty() => "on delete: SET NULL (column)",
        Reaction::SetDefault if !key.set_columns.is_empty() => "on delete: SET DEFAULT (column)",
        Reaction::SetNull => "on delete: SET NULL",
        Reaction::SetDefault => "on delete: SET DEFAULT",
        Reaction::Restrict => "on delete: RESTRICT",
        Reaction::NoAction => "on delete: NO ACTION",
    });
    let updated =
        key.to.table == BOOK && key.references.iter().any(|name| name == "isbn10" || name == "ownerId");
    if updated {
        kinds.insert(match key.on_update {
            Reaction::Cascade => "on update: CASCADE",
            Reaction::SetNull => "on update: SET NULL",
            Reaction::SetDefault => "on update: SET DEFAULT",
            Reaction::Restrict => "on update: RESTRICT",
            Reaction::NoAction => "on update: NO ACTION",
        });
    }
    kinds.extend((key.timing == Timing::Deferred).then_some("key: deferred"));
}

/// Whether keys lead from a table back to it over another one.
fn has_a_cycle(case: &Case) -> bool {
    let mut edges: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for key in case.keys.iter().filter(|key| key.from.table != key.to.table) {
        edges.entry(key.from.table).or_default().insert(key.to.table);
    }
    edges.keys().any(|start| {
        let mut reached: BTreeSet<usize> = edges[start].clone();
        loop {
            let next: BTreeSet<usize> =
                reached.iter().filter_map(|at| edges.get(at)).flatten().copied().collect();
            let before = reached.len();
            reached.extend(next);
            if reached.len() == before {
                return reached.contains(start);
            }
        }
    })
}

fn acting(case: &Case, kinds: &mut BTreeSet<&'static str>) {
    kinds.insert(if case.has_triggers() { "acts: triggers or rules" } else { "acts: keys alone" });
    for trigger in &case.triggers {
        kinds.insert(if trigger.on == BOOK { "trigger: on \"Book\"" } else { "trigger: on another table" });
        kinds.insert(match trigger.firing {
            Firing::BeforeRow => "trigger: BEFORE ROW",
            Firing::AfterRow => "trigger: AFTER ROW",
            Firing::BeforeStatement => "trigger: BEFORE STATEMENT",
            Firing::AfterStatement => "trigger: AFTER STATEMENT",
            Firing::Transition => "trigger: with a transition table",
            Firing::Deferred => "trigger: a deferred constraint trigger",
        });
        kinds.extend(trigger.in_vain.then_some("trigger: work rolled back to a savepoint"));
        kinds.insert(match trigger.work {
            Work::Delete(_) => "work: deletes",
            Work::Update(_) => "work: updates",
            Work::Same(_) => "work: updates to the same",
            Work::Replace(_) => "work: deletes and inserts again",
            Work::Insert(_) => "work: inserts",
            Work::Upsert(_) => "work: ON CONFLICT DO UPDATE",
            Work::Truncate { .. } => "work: truncates",
            Work::Drop(_) => "work: drops a table",
            Work::Rewrite(_) => "work: alters a table",
            Work::Forbid => "work: forbids",
            Work::AlterBook => "work: alters the book",
            Work::TouchBooks => "work: updates other books",
            Work::DeleteBook => "work: deletes another book",
        });
    }
    for rule in &case.rules {
        kinds.insert(if rule.also.is_some() { "rule: DO ALSO" } else { "rule: DO INSTEAD NOTHING" });
        kinds.extend((rule.event == Event::Insert).then_some("rule: on INSERT"));
    }
    let counted = case.others().any(|(_, table)| table.purpose == Purpose::Counter);
    kinds.extend(counted.then_some("table: a counter per book"));
}

fn books(case: &Case, kinds: &mut BTreeSet<&'static str>) {
    let old: BTreeMap<&Value, &Vec<Value>> =
        case.book().rows.iter().map(|row| (&row.values[3], &row.values)).collect();
    let new: BTreeMap<&Value, &Vec<Value>> = case.production.iter().map(|book| (&book[3], book)).collect();
    kinds.extend(old.is_empty().then_some("books: none in development"));
    kinds.extend(new.is_empty().then_some("books: none in production"));
    kinds.extend(old.keys().any(|key| !new.contains_key(key)).then_some("books: only in development"));
    kinds.extend(new.keys().any(|key| !old.contains_key(key)).then_some("books: only in production"));
    let both = || old.iter().filter_map(|(key, old)| Some((*old, *new.get(key)?)));
    kinds.extend(both().any(|(old, _)| old[1].as_deref() != Some("1")).then_some("books: of another owner"));
    kinds.extend(both().any(|(old, new)| old[4] != new[4]).then_some("books: another title"));
    let moved: Vec<_> = both().filter(|(old, new)| old[2] != new[2]).collect();
    let taken = moved.iter().any(|(_, new)| moved.iter().any(|(old, _)| old[2] == new[2]));
    kinds.extend((!moved.is_empty()).then_some("books: another isbn10"));
    kinds.extend(taken.then_some("books: that take each other's isbn10"));
    let gone: BTreeSet<&Value> =
        old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, old)| &old[2]).collect();
    let inherited = case.production.iter().any(|book| gone.contains(&book[2]));
    kinds.extend(inherited.then_some("books: that take the isbn10 of one that goes"));
}
