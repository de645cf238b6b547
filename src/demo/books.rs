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
