//! What the two databases of a case hold: before it, after it, and in between.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Row};

/// What a sync copies, without the owner.
pub(crate) const COPIED: &str = r#"isbn10, isbn13, title, "titleLong", language, synopsis, image, edition, "pageCount",
    authors, binding, subjects, "datePublished", "imageOriginal", publisher, visibility, "createdAt", "readDate",
    "updatedAt""#;

/// One book as COPY writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) id: i64,
    /// The copied columns and the owner.
    pub(crate) content: String,
}

/// Books by isbn13, and what hangs on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// How many rows there are; more than `books` if an isbn13 came twice.
    pub(crate) rows: usize,
    pub(crate) books: BTreeMap<String, Book>,
    /// Lines of the table of dependents, by their id.
    pub(crate) entries: Vec<Entry>,
}

/// One entry of a reading list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) book: i64,
    pub(crate) line: String,
}

impl State {
    /// The target's books.
    pub(crate) async fn of_target(connection: &mut PgConnection) -> Self {
        Self::read(connection, r#""ownerId""#, true).await
    }

    /// The source's books as the target shall have them.
    pub(crate) async fn of_source(connection: &mut PgConnection) -> Self {
        Self::read(connection, "1", false).await
    }

    async fn read(connection: &mut PgConnection, owner: &str, entries: bool) -> Self {
        let books = format!(r#"SELECT isbn13, id, {COPIED}, {owner} FROM "Book""#);
        let mut found = BTreeMap::new();
        let lines = copy(connection, &books).await;
        for line in &lines {
            let (isbn13, rest) = line.split_once('\t').unwrap();
            let (id, content) = rest.split_once('\t').unwrap();
            let book = Book { id: id.parse().unwrap(), content: content.to_owned() };
            found.insert(isbn13.to_owned(), book);
        }
        let entries = if entries {
            let lines =
                copy(connection, r#"SELECT "bookId", e.* FROM "BookInReadingList" e ORDER BY id"#).await;
            let entry = |line: &String| {
                let (book, line) = line.split_once('\t').unwrap();
                Entry { book: book.parse().unwrap(), line: line.to_owned() }
            };
            lines.iter().map(entry).collect()
        } else {
            Vec::new()
        };
        Self { rows: lines.len(), books: found, entries }
    }

    /// Whether both hold the same books, whatever their ids.
    pub(crate) fn has_books_of(&self, other: &Self) -> bool {
        self.rows == other.rows
            && self.books.len() == other.books.len()
            && self.books.iter().zip(&other.books).all(|((isbn, book), (other_isbn, other))| {
                isbn == other_isbn && book.content == other.content
            })
    }

    /// How they differ, in numbers.
    pub(crate) fn difference(&self, wanted: &Self) -> String {
        let missing = wanted.books.keys().filter(|isbn| !self.books.contains_key(*isbn)).count();
        let extra = self.books.keys().filter(|isbn| !wanted.books.contains_key(*isbn)).count();
        let other = self.books.iter().filter(|(isbn, book)| {
            wanted.books.get(*isbn).is_some_and(|wanted| wanted.content != book.content)
        });
        format!(
            "{} rows of {}: {missing} missing, {extra} extra, {} other",
            self.rows,
            wanted.rows,
            other.count()
        )
    }
}

/// The lines that COPY writes for a query.
async fn copy(connection: &mut PgConnection, query: &str) -> Vec<String> {
    let rows = connection.copy_out_raw(&format!("COPY ({query}) TO STDOUT")).await.unwrap();
    let bytes: Vec<_> = rows.try_collect().await.unwrap();
    let text = String::from_utf8(bytes.concat()).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Everything that has rows, outside the server's own schemas.
pub(crate) async fn relations(connection: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
               WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1";
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// One number.
pub(crate) async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap().get(0)
}
