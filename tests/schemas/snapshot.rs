//! Every table of the application row by row, with the version of each row: a row that was deleted and inserted again,
//! or updated with the values that it had, is another version.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row};

use crate::lab::run;
use crate::model::{Case, Role};
use crate::script::{COPIED, literal, quoted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// By oid.
    pub(crate) tables: BTreeMap<i64, TableState>,
    pub(crate) rows: BTreeSet<RowState>,
    /// By isbn13.
    pub(crate) books: BTreeMap<String, BookState>,
    /// More than `books` if an isbn13 came twice.
    pub(crate) book_rows: usize,
    /// Whether there is a schema of the tool's.
    pub(crate) has_ledger: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableState {
    /// A quoted identifier with its schema.
    pub(crate) name: String,
    /// The same as the server's messages have it, without a schema.
    pub(crate) bare: String,
    /// Of a partition, the name of the whole table; of a child of the book table, that one.
    pub(crate) family: String,
    file: i64,
    /// Its columns, constraints and triggers.
    pub(crate) definition: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowState {
    pub(crate) table: i64,
    /// Where it is.
    pub(crate) ctid: String,
    /// Which transaction wrote it.
    pub(crate) xmin: String,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BookState {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) copied: String,
    /// The columns that only the target has.
    pub(crate) own: String,
}

/// Rows by their table and text, and how often they are there.
pub(crate) type Multiset = BTreeMap<(i64, String), i64>;

const TABLES: &str = r#"WITH RECURSIVE family (oid, root) AS (
  SELECT c.oid, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_.*|information_schema|dewey_sync)$'
      AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid AND inhparent = 'public."Book"'::regclass)
  UNION ALL
  SELECT i.inhrelid, f.root FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
    JOIN pg_class c ON c.oid = i.inhrelid AND (c.relispartition OR i.inhparent = 'public."Book"'::regclass)
)
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), format('%I.%I', rn.nspname, r.relname), c.relkind::text,
  c.relfilenode::bigint, concat_ws(' | ',
    (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull), ', ' ORDER BY attnum)
       FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
    (SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated, ', ' ORDER BY oid)
       FROM pg_constraint WHERE conrelid = c.oid),
    (SELECT string_agg(concat(tgname, ' ', tgenabled), ', ' ORDER BY oid) FROM pg_trigger WHERE tgrelid = c.oid)),
  EXISTS (SELECT FROM pg_namespace WHERE nspname = 'dewey_sync'), c.relname::text
FROM family JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class r ON r.oid = family.root JOIN pg_namespace rn ON rn.oid = r.relnamespace ORDER BY c.oid"#;

impl Snapshot {
    pub(crate) async fn take(connection: &mut PgConnection, case: &Case) -> Result<Self, sqlx::Error> {
        let mut tables = BTreeMap::new();
        let mut queries = Vec::new();
        let mut has_ledger = false;
        for row in run(connection, TABLES).await? {
            let (oid, name): (i64, String) = (row.get(0), row.get(1));
            let (kind, file): (String, i64) = (row.get(3), row.get(4));
            if kind == "r" {
                let of_table = "ctid::text, xmin::text, whole_row_of_it::text";
                queries.push(format!(
                    "SELECT {oid}::bigint, {of_table}, NULL FROM ONLY {name} AS whole_row_of_it"
                ));
            }
            has_ledger = row.get(6);
            let (family, definition, bare) = (row.get(2), row.get(5), row.get(7));
            tables.insert(oid, TableState { name, bare, family, file, definition });
        }
        let own = case.book().columns.iter().filter(|column| column.role == Role::Reference);
        let own: Vec<String> = own.map(|column| quoted(&column.name)).collect();
        queries.push(format!(
            r#"SELECT -id::bigint, isbn13::text, "ownerId"::text, row({COPIED})::text, row({})::text FROM public."Book""#,
            own.join(", ")
        ));
        let mut rows = BTreeSet::new();
        let mut books = BTreeMap::new();
        let mut book_rows = 0;
        // An id is never 0 or less, an oid always more.
        for row in run(connection, &queries.join(" UNION ALL ")).await? {
            let table: i64 = row.get(0);
            let [first, second, third] = [1, 2, 3].map(|at| row.get::<String, _>(at));
            if table < 0 {
                let own = row.get::<Option<String>, _>(4).unwrap_or_default();
                let book = BookState { id: (-table).to_string(), owner: second, copied: third, own };
                books.insert(first, book);
                book_rows += 1;
            } else {
                rows.insert(RowState { table, ctid: first, xmin: second, text: third });
            }
        }
        Ok(Self { tables, rows, books, book_rows, has_ledger })
    }

    /// Whether this is the family of the book table.
    pub(crate) fn is_book(family: &str) -> bool {
        family == "public.\"Book\""
    }

    pub(crate) fn family(&self, oid: i64) -> &str {
        self.tables.get(&oid).map_or("a table that is not there any more", |table| &table.family)
    }

    /// The family that a name of the tool's output means.
    pub(crate) fn family_of_name(&self, name: &str) -> Option<&str> {
        let whole = |table: &&TableState| table.name == name || table.name == format!("public.{name}");
        self.tables.values().find(whole).map(|table| table.family.as_str())
    }

    /// How many row versions of each family `after` has no more.
    pub(crate) fn gone_in(&self, after: &Self) -> BTreeMap<&str, u64> {
        self.by_family(self.rows.difference(&after.rows))
    }

    /// How many rows of each family there are.
    pub(crate) fn counts(&self) -> BTreeMap<&str, u64> {
        self.by_family(&self.rows)
    }

    fn by_family<'a, 'b>(&'a self, rows: impl IntoIterator<Item = &'b RowState>) -> BTreeMap<&'a str, u64> {
        let mut families = BTreeMap::new();
        for row in rows {
            *families.entry(self.family(row.table)).or_default() += 1;
        }
        families
    }

    /// How many rows of each family, by their text, `after` has no more.
    pub(crate) fn missing_in(&self, after: &Self) -> BTreeMap<&str, u64> {
        let mut families = BTreeMap::new();
        for ((table, _), number) in minus(&self.texts(), &after.texts()) {
            *families.entry(self.family(table)).or_default() += number.unsigned_abs();
        }
        families
    }

    pub(crate) fn texts(&self) -> Multiset {
        let mut texts = Multiset::new();
        for row in &self.rows {
            *texts.entry((row.table, row.text.clone())).or_default() += 1;
        }
        texts
    }

    /// The tables besides the book table that are not there any more, in another file, or defined otherwise.
    pub(crate) fn rewritten_in<'a>(&'a self, after: &Self) -> Vec<&'a str> {
        let other = self.tables.iter().filter(|(oid, table)| {
            let same = after.tables.get(oid).is_some_and(|now| {
                now.definition == table.definition && (now.file == table.file || Self::is_book(&table.family))
            });
            !same
        });
        other.map(|(_, table)| table.name.as_str()).collect()
    }

    /// Nothing was written to any table, not even the same values; what differs, if something does.
    pub(crate) fn is_untouched_in(&self, after: &Self) -> Result<(), String> {
        if self.tables != after.tables {
            return Err(format!("tables: {:?} in place of {:?}", after.tables, self.tables));
        }
        if self.rows != after.rows {
            let gone = self.gone_in(after);
            let new = after.gone_in(self);
            return Err(format!("row versions gone: {gone:?}, new: {new:?}"));
        }
        Ok(())
    }
}

/// What is in `one` more often than in `other`.
pub(crate) fn minus(one: &Multiset, other: &Multiset) -> Multiset {
    let more = one.iter().filter_map(|(row, number)| {
        let more = number - other.get(row).copied().unwrap_or_default();
        (more > 0).then(|| (row.clone(), more))
    });
    more.collect()
}

/// Adds what is in `other`.
pub(crate) fn plus(one: &Multiset, other: &Multiset) -> Multiset {
    let mut sum = one.clone();
    for (row, number) in other {
        *sum.entry(row.clone()).or_default() += number;
    }
    sum
}

/// The source's books by their isbn13, as a snapshot has the copied columns.
pub(crate) async fn production(
    connection: &mut PgConnection,
) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let books = format!(r#"SELECT isbn13::text, row({COPIED})::text FROM public."Book""#);
    Ok(run(connection, &books).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// An array of texts.
pub(crate) fn array<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(literal).collect();
    format!("ARRAY[{}]::text[]", texts.join(", "))
}
