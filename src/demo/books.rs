//! Books that no one wrote: the same on every machine, believable in bulk, awkward at the start.

use sqlx::{PgConnection, Row};

use crate::error::{Error, Kind, Result};

/// The application's schema, as its own migrations leave it.
pub const SCHEMA: &str = include_str!("penumbra.sql");

/// Fills a database that [`SCHEMA`] made with `books` books of about 1.7 KB and their seven owners.
///
/// The first thirty are awkward: quotes, control characters, every kind of Unicode, arrays of every shape, dates
/// at their limits, an empty text everywhere, a text of 1 MB, a negative id.
pub async fn fill(connection: &mut PgConnection, books: u32) -> Result<()> {
    let failed =
        |cause: sqlx::Error| Error::new(Kind::NotCompleted, "could not generate the books").because(cause);
    sqlx::query("SELECT set_config('dewey_demo.books', $1, false)")
        .bind(books.to_string())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    sqlx::raw_sql(include_str!("books.sql")).execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}

/// Adds a user, as a developer's database has one, and returns its id.
pub async fn add_developer(connection: &mut PgConnection, email: &str) -> Result<i32> {
    let user = sqlx::query(
        r#"INSERT INTO "User" ("clerkId", email, "updatedAt")
           VALUES ('user_' || md5($1), $1, current_timestamp AT TIME ZONE 'UTC') RETURNING id"#,
    )
    .bind(email)
    .fetch_one(connection)
    .await;
    user.and_then(|row| row.try_get(0))
        .map_err(|cause| Error::new(Kind::NotCompleted, "could not add a user").because(cause))
}

/// Puts the target's first `books` books, in order of their keys, on a new reading list of user `owner`.
pub async fn add_reading_list(connection: &mut PgConnection, owner: i32, books: i32) -> Result<()> {
    let added = sqlx::query(
        r#"WITH list AS (INSERT INTO "ReadingList" ("ownerId", title, "updatedAt")
             VALUES ($1, 'Next', current_timestamp AT TIME ZONE 'UTC') RETURNING id)
           INSERT INTO "BookInReadingList" ("bookId", "readingListId", position)
           SELECT b.id, list.id, b.place FROM list,
             (SELECT id, row_number() OVER (ORDER BY isbn13 COLLATE "C") AS place FROM "Book") b WHERE b.place <= $2"#,
    )
    .bind(owner)
    .bind(books)
    .execute(connection)
    .await;
    added
        .map(drop)
        .map_err(|cause| Error::new(Kind::NotCompleted, "could not add a reading list").because(cause))
}

/// How many books are on reading lists.
pub async fn on_reading_lists(connection: &mut PgConnection) -> Result<i64> {
    let counted = sqlx::query(r#"SELECT count(*) FROM "BookInReadingList""#).fetch_one(connection).await;
    counted
        .and_then(|row| row.try_get(0))
        .map_err(|cause| Error::new(Kind::NotCompleted, "could not count the reading list").because(cause))
}

/// Lets production go on: of its first books, in order of their keys, three get another title, two swap their `isbn10`s
/// and one goes.
pub async fn go_on(connection: &mut PgConnection) -> Result<()> {
    let went = sqlx::raw_sql(
        r#"CREATE TEMP TABLE first AS SELECT id, isbn10, row_number() OVER (ORDER BY isbn13 COLLATE "C") AS place
             FROM "Book" ORDER BY place LIMIT 50;
           UPDATE "Book" SET title = title || ' (second edition)' WHERE id IN (SELECT id FROM first WHERE place <= 3);
           UPDATE "Book" SET isbn10 = 'swapping' WHERE id = (SELECT id FROM first WHERE place = 4);
           UPDATE "Book" b SET isbn10 = other.isbn10 FROM first, first other
             WHERE b.id = first.id AND first.place = 5 AND other.place = 4;
           UPDATE "Book" b SET isbn10 = other.isbn10 FROM first, first other
             WHERE b.id = first.id AND first.place = 4 AND other.place = 5;
           DELETE FROM "Book" WHERE id = (SELECT id FROM first WHERE place = 6)"#,
    )
    .execute(connection)
    .await;
    went.map(drop)
        .map_err(|cause| Error::new(Kind::NotCompleted, "could not change production").because(cause))
}
