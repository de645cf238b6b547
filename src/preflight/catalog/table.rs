//! What the book table is.

use serde::Deserialize;

/// What the catalogs say of the book table. Names are quoted identifiers with their schema.
#[derive(Debug, Clone, Deserialize)]
pub struct BookTable {
    /// The table's own.
    pub oid: u32,
    /// `pg_class.relkind`.
    pub kind: char,
    /// `pg_class.relpersistence`.
    pub persistence: char,
    /// Whether it is a partition of another table.
    pub is_partition: bool,
    /// What it inherits from or is a partition of.
    pub parents: Option<Vec<String>>,
    /// What inherits from it, partitions apart.
    pub children: Option<Vec<String>>,
    /// Those of its partitions or children, and of theirs, that are foreign tables.
    pub foreign_parts: Option<Vec<String>>,
}

/// A scalar expression for [`BookTable`]; `oid` is an expression.
pub(crate) fn query(oid: &str) -> String {
    let named = "json_agg(format('%I.%I', n.nspname, r.relname) ORDER BY n.nspname, r.relname)";
    let of = "JOIN pg_namespace n ON n.oid = r.relnamespace";
    format!(
        "(SELECT json_build_object('oid', c.oid::bigint, 'kind', c.relkind, 'persistence', c.relpersistence,
   'is_partition', c.relispartition,
   'parents', (SELECT {named} FROM pg_inherits JOIN pg_class r ON r.oid = inhparent {of} WHERE inhrelid = c.oid),
   'children', (SELECT {named} FROM pg_inherits JOIN pg_class r ON r.oid = inhrelid {of}
     WHERE inhparent = c.oid AND c.relkind <> 'p'),
   'foreign_parts', (WITH RECURSIVE part (oid) AS (SELECT c.oid UNION SELECT inhrelid FROM part JOIN pg_inherits
     ON inhparent = part.oid) SELECT {named} FROM part JOIN pg_class r USING (oid) {of} WHERE r.relkind = 'f' AND r.oid <> c.oid))
 FROM pg_class c WHERE c.oid = {oid})"
    )
}
