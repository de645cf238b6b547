//! A case as SQL: the whole of either side's schema with its rows.

mod acting;
mod tables;

use std::fmt::Write;

use dewey_sync::demo::books::SCHEMA;

use crate::draw::OTHER_SCHEMAS;
use crate::model::{BOOKS_CUT, Case, Ids, Role, Row, Shape, Table, Value};
use tables::{create, key};

/// What a sync copies, as the application's table has it; not the id, not the owner.
pub(crate) const COPIED: &str = r#"isbn10, isbn13, title, "titleLong", language, synopsis, image, edition, "pageCount",
 authors, binding, subjects, "datePublished", "imageOriginal", publisher, visibility, "createdAt", "readDate",
 "updatedAt""#;

/// Takes away what an earlier case and its sync made.
const CLEAR: &str = r#"SET client_min_messages = warning;
DROP SCHEMA IF EXISTS public, archive, "my ""schema""", dewey_sync CASCADE;
CREATE SCHEMA public;
"#;

/// Production, from nothing.
pub(crate) fn source(case: &Case) -> String {
    let mut sql = format!("{CLEAR}{}", application(3));
    if case.production_is_partitioned {
        sql.push_str(&partitioned_books());
    }
    let columns: Vec<String> = case.book().columns.iter().take(21).map(|c| quoted(&c.name)).collect();
    insert(&mut sql, "public.\"Book\"", &columns, case.production.iter().cloned());
    sql.push_str("GRANT USAGE ON SCHEMA public TO reader;\nGRANT SELECT ON \"Book\" TO reader;\n");
    sql
}

/// Development, from nothing.
pub(crate) fn target(case: &Case) -> String {
    let mut sql = format!("{CLEAR}{}", application(2));
    for schema in
        OTHER_SCHEMAS.iter().filter(|schema| case.others().any(|(_, table)| table.schema == **schema))
    {
        let _ = writeln!(sql, "CREATE SCHEMA {};", quoted(schema));
    }
    sql.push_str("CREATE DOMAIN public.number_of_it AS integer CHECK (VALUE > -1000000);\n");
    book(&mut sql, case);
    for (_, table) in case.others() {
        create(&mut sql, table);
    }
    for table in [case.book()].into_iter().chain(case.others().map(|(_, table)| table)) {
        rows(&mut sql, table);
    }
    ids(&mut sql, case);
    sequences(&mut sql, case);
    let mut names = Vec::new();
    for key_drawn in &case.keys {
        key(&mut sql, case, key_drawn, &mut names);
    }
    for (number, trigger) in case.triggers.iter().enumerate() {
        acting::trigger(&mut sql, case, trigger, number);
    }
    for (number, rule) in case.rules.iter().enumerate() {
        acting::rule(&mut sql, case, *rule, number);
    }
    sql
}

/// A script as a person reads it, without what is the same in all.
pub(crate) fn shown(script: &str) -> String {
    let script = script.replace(CLEAR, "");
    [2, 3].iter().fold(script, |script, users| {
        script.replace(&application(*users), &format!("-- the application's tables, and {users} users\n"))
    })
}

/// The application's users and books, without what else it has.
fn application(users: u32) -> String {
    let (tables, _) = SCHEMA.split_once("create table \"ReadingList\"").unwrap();
    format!(
        r#"{tables}
INSERT INTO "User" ("clerkId", email, "updatedAt") SELECT 'user_' || n, 'user' || n || '@example.org', '2024-01-01'
  FROM generate_series(1, {users}) n;
"#
    )
}

/// Makes the application's book table a partitioned one.
fn partitioned_books() -> String {
    format!(
        r#"ALTER TABLE "Book" RENAME TO "WholeBook";
CREATE TABLE "Book" (LIKE "WholeBook" INCLUDING DEFAULTS) PARTITION BY RANGE (isbn13);
ALTER SEQUENCE "Book_id_seq" OWNED BY "Book".id;
DROP TABLE "WholeBook";
ALTER TABLE "Book" ADD PRIMARY KEY (id, isbn13), ADD UNIQUE (isbn13),
  ADD FOREIGN KEY ("ownerId") REFERENCES "User" (id) ON DELETE CASCADE ON UPDATE CASCADE;
CREATE INDEX ON "Book" (isbn10);
CREATE TABLE "Book_p0" PARTITION OF "Book" FOR VALUES FROM (MINVALUE) TO ('{BOOKS_CUT}');
CREATE TABLE "Book_p1" PARTITION OF "Book" FOR VALUES FROM ('{BOOKS_CUT}') TO (MAXVALUE);
"#
    )
}

/// What the book table has beyond the application's.
fn book(sql: &mut String, case: &Case) {
    let table = case.book();
    if table.shape == Shape::ByIsbn {
        sql.push_str(&partitioned_books());
    }
    if table.had_a_column {
        sql.push_str("ALTER TABLE \"Book\" ADD was_there integer;\nALTER TABLE \"Book\" DROP was_there;\n");
    }
    for column in table.columns.iter().filter(|column| !matches!(column.role, Role::Copied | Role::Id)) {
        let _ = writeln!(sql, "ALTER TABLE \"Book\" ADD {};", tables::column(column));
    }
    let application = if table.shape == Shape::ByIsbn { 1 } else { 2 };
    for unique in table.uniques.iter().skip(application) {
        let _ = writeln!(sql, "ALTER TABLE \"Book\" ADD UNIQUE ({});", list(unique));
    }
    if table.shape == Shape::Parent {
        let child = part(table, 0);
        let _ = writeln!(
            sql,
            "CREATE TABLE {child} (narrator text, PRIMARY KEY (id)) INHERITS (public.\"Book\");"
        );
    }
}

/// What counts the ids of books, once they are there.
fn ids(sql: &mut String, case: &Case) {
    sql.push_str(match case.ids {
        Ids::Sequence => "",
        Ids::Identity => {
            "ALTER TABLE \"Book\" ALTER id DROP DEFAULT;\nDROP SEQUENCE \"Book_id_seq\";
ALTER TABLE \"Book\" ALTER id ADD GENERATED ALWAYS AS IDENTITY;\n"
        }
        Ids::Foreign => "ALTER SEQUENCE \"Book_id_seq\" OWNED BY NONE;\n",
    });
    if case.has_a_check {
        sql.push_str("ALTER TABLE \"Book\" ADD CHECK (\"pageCount\" >= 0);\n");
    }
}

fn rows(sql: &mut String, table: &Table) {
    let taken: Vec<usize> =
        (0..table.columns.len()).filter(|at| table.columns[*at].role != Role::Generated).collect();
    let columns: Vec<String> = taken.iter().map(|at| quoted(&table.columns[*at].name)).collect();
    let values = |row: &Row| taken.iter().map(|at| row.values[*at].clone()).collect::<Vec<Value>>();
    let (in_child, own): (Vec<&Row>, Vec<&Row>) = table.rows.iter().partition(|row| row.in_child);
    insert(sql, &qualified(table), &columns, own.into_iter().map(values));
    if !in_child.is_empty() {
        insert(sql, &part(table, 0), &columns, in_child.into_iter().map(values));
    }
}

fn insert(sql: &mut String, table: &str, columns: &[String], rows: impl Iterator<Item = Vec<Value>>) {
    let rows: Vec<String> = rows
        .map(|row| {
            let values: Vec<String> = row.iter().map(|value| value_sql(value.as_deref())).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    if columns.is_empty() {
        for _ in rows {
            let _ = writeln!(sql, "INSERT INTO {table} DEFAULT VALUES;");
        }
        return;
    }
    let columns = columns.join(", ");
    let _ = writeln!(
        sql,
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES\n {};",
        rows.join(",\n ")
    );
}

fn value_sql(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), literal)
}

/// Every table that counts its ids up goes on where its rows end; the sequence of books is sometimes behind.
fn sequences(sql: &mut String, case: &Case) {
    let counted = |table: &&Table| {
        table.id().is_some_and(|id| id.sql_type.contains("serial") || id.sql_type.contains("IDENTITY"))
    };
    if !case.seed.is_multiple_of(5) {
        sql.push_str("SELECT setval('\"Book_id_seq\"', (SELECT coalesce(max(id), 1) FROM \"Book\"));\n");
    }
    for table in case.others().map(|(_, table)| table).filter(counted) {
        let name = qualified(table);
        let _ = writeln!(
            sql,
            "SELECT setval(pg_get_serial_sequence({}, 'id'), (SELECT coalesce(max(id), 1) FROM {name}));",
            literal(&name)
        );
    }
}

/// A table as SQL names it.
pub(crate) fn qualified(table: &Table) -> String {
    format!("{}.{}", quoted(table.schema), quoted(&table.name))
}

/// A partition or a child.
pub(crate) fn part(table: &Table, number: usize) -> String {
    let mut name = table.name.clone();
    // A part of a part has one figure more.
    while name.len() > 60 - number.to_string().len() {
        name.pop();
    }
    format!("{}.{}", quoted(table.schema), quoted(&format!("{name}_p{number}")))
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in which a backslash is one.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(crate) fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}

/// A place of a key: the table, or its part.
pub(crate) fn place(case: &Case, place: crate::model::Place) -> String {
    let table = &case.tables[place.table];
    place.part.map_or_else(|| qualified(table), |number| part(table, number))
}
