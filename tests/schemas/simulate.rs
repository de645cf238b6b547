//! What plain statements would do: the books of production deleted, updated and inserted by hand in a transaction that is
//! rolled back. It says whether a refusal has a reason; that nothing was lost, the rows themselves say.

use std::collections::BTreeMap;
use std::fmt::Write;

use sqlx::{PgConnection, Row};

use crate::lab::run;
use crate::model::Case;
use crate::script::{literal, quoted};
use crate::snapshot::{BookState, Snapshot};

/// In which order books are deleted, updated and inserted. All of them first give a placeholder to isbn10s that are
/// wanted by another book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    DeleteUpdateInsert,
    InsertUpdateDelete,
    UpdateInsertDelete,
}

#[derive(Debug, Default)]
pub(crate) struct Simulated {
    /// Of a statement, with the table that it names.
    pub(crate) error: Option<(String, Option<String>)>,
    /// Why the books are not production's, if they are not.
    pub(crate) differs: Option<String>,
    /// Rows deleted and updated, of all tables, and of books more than are to be deleted.
    pub(crate) losses: BTreeMap<String, (i64, i64)>,
    /// Tables that were dropped, truncated, written anew.
    pub(crate) rewritten: Vec<String>,
    /// Books of both sides that have another id, and those with other values in the columns that are not copied.
    pub(crate) reborn: usize,
    pub(crate) touched: usize,
}

impl Simulated {
    /// The statements make the books what they should be.
    pub(crate) fn is_possible(&self) -> bool {
        self.error.is_none() && self.differs.is_none()
    }

    /// And nothing that can be counted is lost.
    pub(crate) fn has_known_size(&self) -> bool {
        self.is_possible() && self.rewritten.is_empty()
    }

    /// And nothing is lost.
    pub(crate) fn is_free(&self) -> bool {
        let losses = self.losses.values().any(|(deleted, updated)| *deleted + *updated > 0);
        self.has_known_size() && !losses && self.reborn == 0 && self.touched == 0
    }
}

/// Leaves nothing behind.
pub(crate) async fn simulate(
    target: &mut PgConnection,
    case: &Case,
    before: &Snapshot,
    expected: &BTreeMap<String, String>,
    order: Order,
) -> Simulated {
    let mut simulated = Simulated::default();
    run(target, "BEGIN").await.unwrap();
    match go(target, case, before, expected, order).await {
        Ok((after, counts)) => {
            compare(&mut simulated, before, &after, expected);
            simulated.losses = counts;
        }
        Err(error) => {
            let database = error.as_database_error();
            let table = database.and_then(|error| error.table()).map(str::to_owned);
            let message = database.map_or_else(|| error.to_string(), |error| error.message().to_owned());
            simulated.error = Some((message, table));
        }
    }
    run(target, "ROLLBACK").await.unwrap();
    simulated
}

type Counts = BTreeMap<String, (i64, i64)>;

async fn go(
    target: &mut PgConnection,
    case: &Case,
    before: &Snapshot,
    expected: &BTreeMap<String, String>,
    order: Order,
) -> Result<(Snapshot, Counts), sqlx::Error> {
    run(target, &production(case)).await?;
    let first = counts(target).await?;
    let delete = r#"DELETE FROM public."Book" b WHERE NOT EXISTS (SELECT FROM pg_temp.production p WHERE p.isbn13 = b.isbn13)"#;
    let only_kept = "AND EXISTS (SELECT FROM pg_temp.production p WHERE p.isbn13 = b.isbn13)";
    let statements = match order {
        Order::DeleteUpdateInsert => [delete.to_owned(), park(only_kept), update(case), insert(case)],
        Order::InsertUpdateDelete => [park(""), insert(case), update(case), delete.to_owned()],
        Order::UpdateInsertDelete => [park(""), update(case), insert(case), delete.to_owned()],
    };
    for statement in statements {
        run(target, &statement).await?;
    }
    run(target, "SET CONSTRAINTS ALL IMMEDIATE").await?;
    let last = counts(target).await?;
    let after = Snapshot::take(target, case).await?;
    let mut losses = Counts::new();
    let mut books = 0;
    for (oid, (deleted, updated)) in last {
        let (deleted_first, updated_first) = first.get(&oid).copied().unwrap_or_default();
        let Some(table) = before.tables.get(&oid) else { continue };
        let change = (deleted - deleted_first, updated - updated_first);
        if Snapshot::is_book(&table.family) {
            books += change.0;
        }
        if change != (0, 0) && !Snapshot::is_book(&table.family) {
            let (deleted, updated) = losses.entry(table.family.clone()).or_default();
            *deleted += change.0;
            *updated += change.1;
        }
    }
    // Those that a trigger deleted in vain were counted as well.
    let listed = before.books.keys().filter(|isbn13| !expected.contains_key(*isbn13)).count();
    if books > i64::try_from(listed).unwrap() {
        losses.insert("public.\"Book\"".into(), (books, 0));
    }
    Ok((after, losses))
}

fn columns(case: &Case) -> Vec<String> {
    case.book().columns[2..21].iter().map(|column| quoted(&column.name)).collect()
}

/// Production's books in a table of the transaction.
fn production(case: &Case) -> String {
    let columns = columns(case).join(", ");
    let mut sql = format!(
        r#"SET LOCAL client_min_messages = warning;
CREATE TEMP TABLE production ON COMMIT DROP AS SELECT {columns} FROM public."Book" WITH NO DATA"#
    );
    for book in &case.production {
        let values: Vec<String> =
            book[2..].iter().map(|value| value.as_deref().map_or("NULL".to_owned(), literal)).collect();
        let _ = write!(sql, "; INSERT INTO pg_temp.production VALUES ({})", values.join(", "));
    }
    sql
}

async fn counts(target: &mut PgConnection) -> Result<BTreeMap<i64, (i64, i64)>, sqlx::Error> {
    let counts = "SELECT relid::bigint, n_tup_del, n_tup_upd FROM pg_stat_xact_user_tables";
    Ok(run(target, counts).await?.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

fn park(also: &str) -> String {
    format!(
        r#"UPDATE public."Book" b SET isbn10 = E'\x01' || to_hex(b.id) WHERE EXISTS (SELECT FROM pg_temp.production p
  WHERE p.isbn10 = b.isbn10 AND p.isbn13 <> b.isbn13) {also}"#
    )
}

fn update(case: &Case) -> String {
    let names = columns(case);
    let theirs: Vec<String> = names.iter().map(|name| format!("p.{name}")).collect();
    let ours: Vec<String> = names.iter().map(|name| format!("b.{name}")).collect();
    format!(
        r#"UPDATE public."Book" b SET ({}, "ownerId") = ROW({}, 1) FROM pg_temp.production p
  WHERE p.isbn13 = b.isbn13 AND ({}, b."ownerId") IS DISTINCT FROM ({}, 1)"#,
        names[0].clone() + ", " + &names[2..].join(", "),
        theirs[0].clone() + ", " + &theirs[2..].join(", "),
        ours.join(", "),
        theirs.join(", "),
    )
}

fn insert(case: &Case) -> String {
    let names = columns(case).join(", ");
    format!(
        r#"SELECT setval('public."Book_id_seq"', greatest((SELECT coalesce(max(id), 1) FROM public."Book"),
  (SELECT last_value FROM public."Book_id_seq")));
INSERT INTO public."Book" ({names}, "ownerId") SELECT {names}, 1 FROM pg_temp.production p
  WHERE NOT EXISTS (SELECT FROM public."Book" b WHERE b.isbn13 = p.isbn13)"#
    )
}

fn compare(
    simulated: &mut Simulated,
    before: &Snapshot,
    after: &Snapshot,
    expected: &BTreeMap<String, String>,
) {
    simulated.differs = books_differ(after, expected).err();
    simulated.rewritten = before.rewritten_in(after).into_iter().map(str::to_owned).collect();
    (simulated.reborn, simulated.touched) = kept(before, after, expected);
}

/// The books are those of production and belong to user 1.
pub(crate) fn books_differ(after: &Snapshot, expected: &BTreeMap<String, String>) -> Result<(), String> {
    if after.book_rows != expected.len() {
        return Err(format!("{} books in place of {}", after.book_rows, expected.len()));
    }
    for (isbn13, copied) in expected {
        let Some(book) = after.books.get(isbn13) else { return Err(format!("book {isbn13} is missing")) };
        if book.copied != *copied || book.owner != "1" {
            return Err(format!(
                "book {isbn13} of user {}: {} in place of {copied}",
                book.owner, book.copied
            ));
        }
    }
    Ok(())
}

/// Of the books that both sides have, how many have another id now, and how many other values of their own.
pub(crate) fn kept(
    before: &Snapshot,
    after: &Snapshot,
    expected: &BTreeMap<String, String>,
) -> (usize, usize) {
    let kept = before.books.iter().filter(|(isbn13, _)| expected.contains_key(*isbn13));
    let (mut reborn, mut touched) = (0, 0);
    for (isbn13, BookState { id, own, .. }) in kept {
        match after.books.get(isbn13) {
            Some(now) if now.id == *id => touched += usize::from(now.own != *own),
            _ => reborn += 1,
        }
    }
    (reborn, touched)
}
