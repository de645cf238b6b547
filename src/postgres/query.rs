//! Statements together with the way their answers are read.
//!
//! Several queries are sent as one text, so in one round trip. A mark between two tells where the answers to the next one
//! begin: each is read from its own rows, by position, whatever the others ask.

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Column as _, Row as _};

use super::fault::Fault;

type Read<'q, T> = Box<dyn FnOnce(&[PgRow]) -> Result<T, Fault> + Send + 'q>;

/// A statement or several, and what their rows mean.
pub(crate) struct Query<'q, T> {
    sql: String,
    read: Read<'q, T>,
}

impl<'q, T: 'q> Query<'q, T> {
    /// `read` is given the rows of all its statements.
    pub(crate) fn new(
        sql: impl Into<String>,
        read: impl FnOnce(&[PgRow]) -> Result<T, Fault> + Send + 'q,
    ) -> Self {
        Self { sql: sql.into(), read: Box::new(read) }
    }

    /// The same after `statements` that have no rows.
    pub(crate) fn after(self, statements: &str) -> Self {
        Self { sql: format!("{statements}; {}", self.sql), ..self }
    }

    /// The last row that its statements have, read by `read`.
    pub(crate) fn last_row(
        sql: impl Into<String>,
        read: impl FnOnce(&PgRow) -> Result<T, Fault> + Send + 'q,
    ) -> Self {
        Self::new(sql, |rows| read(rows.last().ok_or_else(unanswered)?))
    }

    /// The JSON text in the first column of the last row.
    pub(crate) fn json(sql: impl Into<String>) -> Self
    where
        T: DeserializeOwned,
    {
        Self::last_row(sql, |row| json_at(row, 0))
    }
}

impl Query<'static, ()> {
    /// Statements whose answers nobody reads.
    pub(crate) fn silent(sql: impl Into<String>) -> Self {
        Self::new(sql, |_| Ok(()))
    }
}

/// The JSON text in the column `at`.
pub(crate) fn json_at<T: DeserializeOwned>(row: &PgRow, at: usize) -> Result<T, Fault> {
    let text: String = row.try_get(at)?;
    serde_json::from_str(&text).map_err(|error| Fault::unreadable(&error))
}

/// One query, or a tuple of them.
pub trait Queries {
    /// What they come to, in the same order.
    type Answers;

    /// The whole text, marks between its parts.
    fn sql(&self) -> String;

    /// Reads each from its rows.
    fn read(self, rows: Vec<PgRow>) -> Result<Self::Answers, Fault>;
}

impl<T> Queries for Query<'_, T> {
    type Answers = T;

    fn sql(&self) -> String {
        self.sql.clone()
    }

    fn read(self, rows: Vec<PgRow>) -> Result<T, Fault> {
        (self.read)(&rows)
    }
}

/// A text whose rows whoever sends it reads.
impl Queries for &str {
    type Answers = Vec<PgRow>;

    fn sql(&self) -> String {
        (*self).to_owned()
    }

    fn read(self, rows: Vec<PgRow>) -> Result<Vec<PgRow>, Fault> {
        Ok(rows)
    }
}

impl Queries for &String {
    type Answers = Vec<PgRow>;

    fn sql(&self) -> String {
        (*self).clone()
    }

    fn read(self, rows: Vec<PgRow>) -> Result<Vec<PgRow>, Fault> {
        Ok(rows)
    }
}

macro_rules! tuple_of_queries {
    ($($answer:ident $at:tt),+) => {
        impl<'q, $($answer),+> Queries for ($(Query<'q, $answer>,)+) {
            type Answers = ($($answer,)+);

            fn sql(&self) -> String {
                [$(self.$at.sql.as_str()),+].join(MARK)
            }

            fn read(self, rows: Vec<PgRow>) -> Result<Self::Answers, Fault> {
                let mut parts = rows.split(is_mark);
                let answers = ($((self.$at.read)(parts.next().ok_or_else(unanswered)?)?,)+);
                if parts.next().is_some() { Err(unanswered()) } else { Ok(answers) }
            }
        }
    };
}

tuple_of_queries!(A 0, B 1);
tuple_of_queries!(A 0, B 1, C 2);
tuple_of_queries!(A 0, B 1, C 2, D 3);
tuple_of_queries!(A 0, B 1, C 2, D 3, E 4);
tuple_of_queries!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);

/// A statement whose only row no other one has.
const MARK: &str = ";\nSELECT 0 AS dewey_sync_next_answer;\n";

fn is_mark(row: &PgRow) -> bool {
    matches!(row.columns(), [column] if column.name() == "dewey_sync_next_answer")
}

fn unanswered() -> Fault {
    Fault::client("a question about the database was not answered")
}
