//! The rows that [`Reach`] leads to, as SQL that counts or lists them.
//!
//! A common table expression `hit (node, relation, tuple)` holds the event, and the address of the row that it happens to.
//! Deleted and changed books are in it only where a key leads back to books; they are a condition otherwise, which is faster.

use std::collections::BTreeMap;

use super::Fate;
use super::keys::{ForeignKey, Relation};
use super::reach::{CHANGED_BOOKS, DELETED_BOOKS, Edge, Event, Reach};
use crate::postgres::literal;

/// Which books are written.
pub struct Which<'a> {
    /// The condition that the book of this alias is deleted; `None` is every book.
    pub deleted: Option<&'a dyn Fn(&str) -> String>,
    /// The condition that one of these columns of the book of this alias changes.
    pub changed: &'a dyn Fn(&str, &[String]) -> String,
}

impl Which<'_> {
    /// Every book is deleted.
    pub fn all() -> Self {
        Self { deleted: None, changed: &|_, _| "false".into() }
    }
}

/// Rows of one table with one fate: the nodes of their events, or the keys with which they forbid one.
#[derive(Default)]
struct Group<'r, 'a> {
    nodes: Vec<usize>,
    keys: Vec<(usize, &'r &'a ForeignKey)>,
}

impl<'a> Reach<'a> {
    /// A scalar expression: the JSON array of [`Dependents`](crate::dependents::Dependents) of the books that are written.
    pub fn counted(&self, which: &Which<'_>) -> String {
        let objects = self.groups(which).into_iter().map(|((table, fate), group)| {
            let rows = match fate {
                Fate::Blocking => self.blocking(&group.keys, which),
                Fate::Removed | Fate::Detached => {
                    format!("SELECT count(*) FROM ({}) rows", self.addresses(table, fate, &group.nodes))
                }
            };
            let fate = match fate {
                Fate::Removed => "removed",
                Fate::Detached => "detached",
                Fate::Blocking => "blocking",
            };
            format!(
                "json_build_object('table', {}, 'fate', '{fate}', 'rows', ({rows}))",
                literal(&table.root)
            )
        });
        let objects: Vec<String> = objects.collect();
        // A function takes at most 100 arguments.
        let array = format!(
            "SELECT json_agg(dependents) FROM unnest(ARRAY[{}]::json[]) dependents",
            objects.join(", ")
        );
        format!("({} SELECT coalesce(({array}), '[]'))", self.hit(which))
    }

    /// A query for the rows that are deleted or changed along; `columns` makes the select list of a row `t` from its fate, its
    /// table, and how many keys it is from the books.
    pub fn rows(
        &self,
        which: &Which<'_>,
        columns: impl Fn(Fate, &Relation, usize) -> String,
    ) -> Option<String> {
        let groups = self.groups(which);
        let groups = groups.into_iter().filter(|((_, fate), _)| *fate != Fate::Blocking);
        let rows = groups.map(|((table, fate), Group { nodes, .. })| {
            let distance = nodes.iter().map(|node| self.nodes[*node].distance).min().unwrap_or_default();
            format!(
                "SELECT {list} FROM ({addresses}) at JOIN {rows} t ON t.tableoid = at.relation AND t.ctid = at.tuple",
                list = columns(fate, table, if table.is_book { 0 } else { distance }),
                addresses = self.addresses(table, fate, &nodes),
                rows = table.root_rows(),
            )
        });
        let rows: Vec<String> = rows.collect();
        (!rows.is_empty()).then(|| format!("{} {}", self.hit(which), rows.join(" UNION ALL ")))
    }

    /// By table and fate.
    fn groups<'r>(&'r self, which: &Which<'_>) -> BTreeMap<(&'a Relation, Fate), Group<'r, 'a>> {
        let mut groups: BTreeMap<(&'a Relation, Fate), Group<'r, 'a>> = BTreeMap::new();
        // One relation stands for all of a root.
        let mut known: BTreeMap<&str, &'a Relation> = BTreeMap::new();
        let mut of_root = |table: &'a Relation| *known.entry(&table.root).or_insert(table);
        for edge in &self.edges {
            let node = &self.nodes[edge.to];
            if !self.is_followed(edge, which) {
                continue;
            }
            let fate = if node.event == Event::Deleted { Fate::Removed } else { Fate::Detached };
            let group = groups.entry((of_root(node.table), fate)).or_default();
            if !group.nodes.contains(&edge.to) {
                group.nodes.push(edge.to);
            }
        }
        for (from, key) in &self.forbidding {
            if which.deleted.is_some() || !key.table.is_book {
                groups.entry((of_root(&key.table), Fate::Blocking)).or_default().keys.push((*from, key));
            }
        }
        groups
    }

    /// Of all books none is deleted along.
    fn is_followed(&self, edge: &Edge<'_>, which: &Which<'_>) -> bool {
        which.deleted.is_some() || !self.nodes[edge.to].table.is_book
    }

    fn deletion_of(&self, table: &Relation) -> Option<usize> {
        self.nodes.iter().position(|node| node.event == Event::Deleted && node.table.root == table.root)
    }

    /// A query for the addresses of the rows with this fate, each once. A row that is deleted does not count as changed.
    fn addresses(&self, table: &Relation, fate: Fate, nodes: &[usize]) -> String {
        let numbers: Vec<String> = nodes.iter().map(usize::to_string).collect();
        let unless_deleted = self.deletion_of(table).filter(|_| fate == Fate::Detached).map(|deletion| {
            format!(
                " AND NOT EXISTS (SELECT FROM hit d WHERE d.node = {deletion} AND d.relation = hit.relation AND d.tuple = hit.tuple)"
            )
        });
        format!(
            "SELECT DISTINCT relation, tuple FROM hit WHERE node IN ({}){}",
            numbers.join(", "),
            unless_deleted.unwrap_or_default()
        )
    }

    /// A query that counts the rows which forbid an event, unless they are deleted themselves.
    fn blocking(&self, keys: &[(usize, &&ForeignKey)], which: &Which<'_>) -> String {
        let mut by_rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (from, key) in keys {
            let mut refers: Vec<String> = self.direct(*from, key, which).into_iter().collect();
            if self.is_in_hit(*from, which) {
                let parent = &key.references.rows;
                let equal = equal(key, "p");
                refers.push(format!(
                    "EXISTS (SELECT FROM {parent} p JOIN hit ON p.tableoid = hit.relation AND p.ctid = hit.tuple WHERE hit.node = {from} AND {equal})"
                ));
            }
            let mut condition = format!("({})", refers.join(" OR "));
            if let Some(deleted) = which.deleted.filter(|_| key.table.is_book) {
                condition = format!("{condition} AND NOT {}", deleted("t"));
            }
            if let Some(deletion) = self.deletion_of(&key.table) {
                condition = format!(
                    "{condition} AND NOT EXISTS (SELECT FROM hit d WHERE d.node = {deletion} AND d.relation = t.tableoid AND d.tuple = t.ctid)"
                );
            }
            by_rows.entry(&key.table.rows).or_default().push(condition);
        }
        let counts = by_rows.into_iter().map(|(rows, conditions)| {
            format!("(SELECT count(*) FROM {rows} t WHERE {})", conditions.join(" OR "))
        });
        format!("SELECT {}", counts.collect::<Vec<_>>().join(" + "))
    }

    /// Whether rows of this event are met on the way.
    fn is_in_hit(&self, node: usize, which: &Which<'_>) -> bool {
        self.edges.iter().any(|edge| edge.to == node && self.is_followed(edge, which))
    }

    /// The condition that a row `t` refers through `key` to a book that is written; `None` where the event is no book's.
    fn direct(&self, from: usize, key: &ForeignKey, which: &Which<'_>) -> Option<String> {
        let condition = match from {
            DELETED_BOOKS => which.deleted.map(|deleted| deleted("b")),
            CHANGED_BOOKS if self.has_changes => Some((which.changed)("b", &key.referenced_columns)),
            _ => return None,
        };
        let columns: Vec<String> = key.columns.iter().map(|column| format!("t.{column}")).collect();
        let columns = columns.join(", ");
        Some(condition.map_or_else(
            || format!("({columns}) IS NOT NULL"),
            |condition| {
                let (rows, referenced) = (&key.references.rows, key.referenced_columns.join(", "));
                format!("({columns}) IN (SELECT {referenced} FROM {rows} b WHERE {condition})")
            },
        ))
    }

    /// The common table expression.
    fn hit(&self, which: &Which<'_>) -> String {
        let mut direct = vec!["SELECT 0, 0::oid, '(0,0)'::tid WHERE false".to_owned()];
        let mut further = Vec::new();
        for edge in self.edges.iter().filter(|edge| self.is_followed(edge, which)) {
            let Edge { from, key, to } = edge;
            let (table, parent) = (&key.table.rows, &key.references.rows);
            // A book that is to be deleted anyway is not deleted or changed along.
            let others = which.deleted.filter(|_| key.table.is_book);
            let others = others.map(|deleted| format!(" AND NOT {}", deleted("t"))).unwrap_or_default();
            if let Some(refers) = self.direct(*from, key, which) {
                direct.push(format!("SELECT {to}, t.tableoid, t.ctid FROM {table} t WHERE {refers}{others}"));
            }
            if self.is_in_hit(*from, which) {
                further.push(format!(
                    "SELECT {to}, t.tableoid, t.ctid FROM {parent} p JOIN {table} t ON {equal} \
                     WHERE hit.node = {from} AND p.tableoid = hit.relation AND p.ctid = hit.tuple{others}",
                    equal = equal(key, "p"),
                ));
            }
        }
        let mut terms = direct.join(" UNION ");
        if !further.is_empty() {
            let further = further.join(" UNION ALL ");
            terms = format!("({terms}) UNION SELECT next.* FROM hit CROSS JOIN LATERAL ({further}) next");
        }
        format!("WITH RECURSIVE hit (node, relation, tuple) AS ({terms})")
    }
}

/// The condition that a row `t` of the key's table refers to the row `parent`.
fn equal(key: &ForeignKey, parent: &str) -> String {
    let pairs = key.columns.iter().zip(&key.referenced_columns);
    let equal = pairs.map(|(column, referenced)| format!("t.{column} = {parent}.{referenced}"));
    equal.collect::<Vec<_>>().join(" AND ")
}
