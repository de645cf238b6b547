//! Which rows a deletion of books reaches, as SQL that counts or keeps them.
//!
//! Rows are followed, not tables, so that a circle of foreign keys (a note that answers another note) is followed to
//! its end. What is removed along is in a common table expression `gone (place, relation, tuple)`: the number of the
//! table, and the address of the row.

use std::collections::BTreeMap;

use super::{Fate, ForeignKey};
use crate::postgres::literal;

/// Every table that a deletion of books can reach through foreign keys.
#[derive(Debug)]
pub struct Reach<'a> {
    /// The book table first, then those whose rows are removed along, nearer ones first.
    removed: Vec<Table<'a>>,
    /// The keys whose rows are removed along.
    cascading: Vec<&'a ForeignKey>,
    /// The keys whose rows lose their reference, or keep what they refer to from being removed.
    others: BTreeMap<(&'a str, Fate), Vec<&'a ForeignKey>>,
}

/// A table and how far it is from the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    /// As a quoted identifier with its schema.
    pub name: &'a str,
    /// 0 for the book table itself.
    pub distance: usize,
}

impl<'a> Reach<'a> {
    /// `None` when nothing refers to the book table. A key of the book table itself is left out: what it would remove
    /// are books.
    pub fn of(foreign_keys: &'a [ForeignKey]) -> Option<Self> {
        let root = &foreign_keys.iter().find(|key| key.references_book)?.references;
        let mut removed = vec![Table { name: root, distance: 0 }];
        let mut cascading = Vec::new();
        let mut others: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut next = 0;
        while let Some(&Table { name: parent, distance }) = removed.get(next) {
            next += 1;
            for key in foreign_keys.iter().filter(|key| key.references == parent && key.table != *root) {
                match key.fate() {
                    Fate::Removed => {
                        cascading.push(key);
                        if !removed.iter().any(|table| table.name == key.table) {
                            removed.push(Table { name: &key.table, distance: distance + 1 });
                        }
                    }
                    fate => others.entry((key.table.as_str(), fate)).or_default().push(key),
                }
            }
        }
        Some(Self { removed, cascading, others })
    }

    /// The dependent tables, by name: in the order in which everybody should lock them.
    pub fn tables(&self) -> Vec<&'a str> {
        let removed = self.removed.iter().skip(1).map(|table| table.name);
        let mut tables: Vec<&str> = removed.chain(self.others.keys().map(|(table, _)| *table)).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// A scalar expression: the JSON array of [`Dependents`](super::Dependents) of the books `b` that meet `doomed`,
    /// or of all books.
    pub fn counted(&self, doomed: Option<&str>) -> String {
        let removed = self.removed.iter().enumerate().skip(1).map(|(place, table)| {
            let rows = format!("SELECT count(*) FROM gone WHERE place = {place}");
            ((table.name, Fate::Removed), rows)
        });
        let others = self.others.iter().map(|((table, fate), keys)| {
            let condition = self.hit(keys, doomed);
            ((*table, *fate), format!("SELECT count(*) FROM {table} t WHERE {condition}"))
        });
        let counts: BTreeMap<_, _> = removed.chain(others).collect();
        let objects = counts.into_iter().map(|((table, fate), rows)| {
            let fate = match fate {
                Fate::Removed => "removed",
                Fate::Detached => "detached",
                Fate::Blocking => "blocking",
            };
            format!("json_build_object('table', {}, 'fate', '{fate}', 'rows', ({rows}))", literal(table))
        });
        let objects = objects.collect::<Vec<_>>().join(", ");
        format!("({} SELECT json_build_array({objects}))", self.gone(doomed))
    }

    /// A query for the rows that are removed along with the books `b` that meet `doomed`, or detached from them;
    /// `columns` makes the select list of a row `t` from its fate and its table.
    pub fn rows(&self, doomed: &str, columns: impl Fn(Fate, Table<'_>) -> String) -> Option<String> {
        let removed = self.removed.iter().enumerate().skip(1).map(|(place, table)| {
            let list = columns(Fate::Removed, *table);
            let name = table.name;
            format!(
                "SELECT {list} FROM gone JOIN {name} t ON t.tableoid = relation AND t.ctid = tuple WHERE place = {place}"
            )
        });
        let detached = self.others.iter().filter(|((_, fate), _)| *fate == Fate::Detached);
        let detached = detached.map(|((name, fate), keys)| {
            let list = columns(*fate, Table { name, distance: 1 });
            format!("SELECT {list} FROM {name} t WHERE {}", self.hit(keys, Some(doomed)))
        });
        let rows: Vec<String> = removed.chain(detached).collect();
        (!rows.is_empty()).then(|| format!("{} {}", self.gone(Some(doomed)), rows.join(" UNION ALL ")))
    }

    /// The common table expression.
    fn gone(&self, doomed: Option<&str>) -> String {
        let mut direct = vec!["SELECT 0, 0::oid, '(0,0)'::tid WHERE false".to_owned()];
        let mut further = Vec::new();
        for key in &self.cascading {
            let (table, parent) = (&key.table, &key.references);
            let place = self.place(table);
            if key.references_book {
                let refers = refers_to_doomed(key, doomed);
                direct.push(format!("SELECT {place}, t.tableoid, t.ctid FROM {table} t WHERE {refers}"));
            } else {
                further.push(format!(
                    "SELECT {place}, t.tableoid, t.ctid FROM {parent} p JOIN {table} t ON {refers} \
                     WHERE gone.place = {parent_place} AND p.tableoid = gone.relation AND p.ctid = gone.tuple",
                    refers = refers(key, "p"),
                    parent_place = self.place(parent),
                ));
            }
        }
        let mut terms = direct.join(" UNION ");
        if !further.is_empty() {
            let further = further.join(" UNION ALL ");
            terms = format!("({terms}) UNION SELECT next.* FROM gone CROSS JOIN LATERAL ({further}) next");
        }
        format!("WITH RECURSIVE gone (place, relation, tuple) AS ({terms})")
    }

    fn place(&self, table: &str) -> usize {
        self.removed.iter().position(|removed| removed.name == table).unwrap_or_default()
    }

    /// The condition that a row `t`, which is not removed itself, refers through one of `keys` to what is.
    fn hit(&self, keys: &[&ForeignKey], doomed: Option<&str>) -> String {
        let refers = keys.iter().map(|key| {
            if key.references_book {
                return refers_to_doomed(key, doomed);
            }
            let (parent, place) = (&key.references, self.place(&key.references));
            format!(
                "EXISTS (SELECT FROM {parent} p JOIN gone ON p.tableoid = relation AND p.ctid = tuple \
                 WHERE place = {place} AND {})",
                refers(key, "p")
            )
        });
        format!(
            "({}) AND NOT EXISTS (SELECT FROM gone WHERE relation = t.tableoid AND tuple = t.ctid)",
            refers.collect::<Vec<_>>().join(" OR ")
        )
    }
}

/// The condition that a row `t` of the key's table refers to the row `parent`.
fn refers(key: &ForeignKey, parent: &str) -> String {
    let pairs = key.columns.iter().zip(&key.referenced_columns);
    let equal = pairs.map(|(column, referenced)| format!("t.{column} = {parent}.{referenced}"));
    equal.collect::<Vec<_>>().join(" AND ")
}

/// The same for the books `b` that meet `doomed`, or all books.
fn refers_to_doomed(key: &ForeignKey, doomed: Option<&str>) -> String {
    let columns: Vec<String> = key.columns.iter().map(|column| format!("t.{column}")).collect();
    match doomed {
        None => format!("({}) IS NOT NULL", columns.join(", ")),
        Some(doomed) => format!(
            "({}) IN (SELECT {} FROM {} b WHERE {doomed})",
            columns.join(", "),
            key.referenced_columns.join(", "),
            key.references,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: &str, references: &str, on_delete: char) -> ForeignKey {
        ForeignKey {
            name: "key".into(),
            table: table.into(),
            columns: vec!["parent".into()],
            references: references.into(),
            references_book: references == "book",
            referenced_columns: vec!["id".into()],
            on_delete,
        }
    }

    #[test]
    fn cascades_are_followed_and_circles_end() {
        let keys = [key("entry", "book", 'c'), key("note", "entry", 'c'), key("entry", "note", 'c')];
        let reach = Reach::of(&keys).unwrap();
        let distances: Vec<_> = reach.removed.iter().map(|table| (table.name, table.distance)).collect();
        assert_eq!(distances, [("book", 0), ("entry", 1), ("note", 2)]);
        assert_eq!(reach.tables(), ["entry", "note"]);
        let sql = reach.counted(None);
        assert!(sql.contains("FROM entry t WHERE (t.parent) IS NOT NULL"), "{sql}");
        assert!(sql.contains("FROM note p JOIN entry t ON t.parent = p.id WHERE gone.place = 2"), "{sql}");
    }

    #[test]
    fn rows_behind_a_set_null_are_not_followed() {
        let keys = [key("entry", "book", 'n'), key("note", "entry", 'c')];
        assert_eq!(Reach::of(&keys).unwrap().tables(), ["entry"]);
    }

    #[test]
    fn a_key_of_the_book_table_reaches_nothing_else() {
        let keys = [key("book", "book", 'c')];
        let reach = Reach::of(&keys).unwrap();
        assert!(reach.tables().is_empty());
        assert_eq!(reach.rows("true", |_, _| String::new()), None);
    }
}
