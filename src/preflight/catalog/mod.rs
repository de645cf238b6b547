//! What one query to each side tells about it before anything is decided.

pub mod rights;
pub mod table;
pub mod triggers;

use crate::book::{BOOK_OID, Column, TABLE, sequence};
use crate::config::{Endpoint, Side};
use crate::dependents::{self, ForeignKey};
use crate::postgres::query::Query;
use crate::postgres::settings::unsettled;
use crate::postgres::{Identity, literal};
use rights::Lacking;
use sea_orm::IdenStatic;
use serde::Deserialize;
use table::BookTable;
use triggers::Trigger;

/// True of either side, from its catalogs and settings.
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of the server")]
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// As the server says it, such as `15.18 (Debian …)`.
    pub version: String,
    /// Such as 150018.
    pub version_num: u32,
    /// Of the database's text, such as `UTF8`.
    pub encoding: String,
    /// A standby that replays another server's log.
    pub in_recovery: bool,
    /// Whether this session is encrypted, as the server sees it.
    pub tls: Option<bool>,
    /// Which database it is.
    pub identity: Identity,
    /// Whether the role may know that.
    pub identity_readable: bool,
    /// Whether schema `dewey_sync` holds an identity table.
    pub ledger: bool,
    /// Whether the role may read that table.
    pub ledger_readable: bool,
    /// Of the book table; `None` when there is no such table in the schema.
    pub columns: Option<Vec<ColumnFacts>>,
    /// What the book table is; `None` as for `columns`.
    pub table: Option<BookTable>,
    /// The columns of each unique key of the book table that holds for every row.
    pub unique_keys: Option<Vec<Vec<String>>>,
    /// Whether the role may change the book table, or a column of it.
    pub can_write: Option<bool>,
    /// The session's role, as an identifier.
    pub role: String,
    /// The tables some of whose rows a policy could hide from the role.
    pub policed: Option<Vec<Policed>>,
    /// Of the target: how many ids the sequence behind the book table's can give out, where it can tell and comes to an end.
    pub ids_left: Option<i64>,
    /// Rights that the role lacks; of the source only that on the schema.
    pub rights: Option<Vec<Lacking>>,
    /// Whether there is a table of users.
    pub users: bool,
    /// Whether the role may count them.
    pub users_readable: bool,
    /// The server's clock, RFC 3339 in UTC.
    pub now: String,
    /// The server's own address, when it is reached over TCP.
    pub address: Option<String>,
    /// Whether the advisory lock of the same-database guard was free.
    pub lock_was_free: bool,
    /// Of the target: every foreign key of the database.
    pub foreign_keys: Option<Vec<ForeignKey>>,
    /// Whether the server counts what a transaction does.
    pub track_counts: bool,
    /// Of the target: what else runs when books are changed or deleted.
    pub triggers: Option<Vec<Trigger>>,
    /// The settings that are otherwise than they have to be, and that the role may not set.
    pub settings: Option<Vec<Unsettled>>,
}

/// A column of the book table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// As the server writes it, such as `character varying(10)`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// It takes no NULL, or nobody knows, as of a view.
    pub not_null: bool,
    /// An insert that leaves it out has a value for it.
    pub filled: bool,
    /// Computed from other columns.
    pub generated: bool,
    /// Of an enum, in its order.
    pub labels: Option<Vec<String>>,
}

impl Facts {
    /// The query for `endpoint`; `lock` is an SQL expression of boolean that takes or tries the same-database lock.
    pub(crate) fn query(endpoint: &Endpoint, lock: &str) -> Query<'static, Self> {
        Self::query_with(endpoint, lock, "(SELECT system_identifier::text FROM pg_control_system())")
    }

    /// The same for a role that may not know the identity.
    pub(crate) fn query_without_identity(endpoint: &Endpoint, lock: &str) -> Query<'static, Self> {
        Self::query_with(endpoint, lock, "NULL::text")
    }

    fn query_with(endpoint: &Endpoint, lock: &str, system_identifier: &str) -> Query<'static, Self> {
        // Planning this query is most of what its answer costs. So what only concerns writing is not asked of the source, and
        // `OFFSET 0` keeps what stands in FROM from being planned again wherever it is used.
        let writes = endpoint.side == Side::Target;
        let if_written = |asked: String| if writes { asked } else { "NULL".to_owned() };
        Query::json(format!(
            include_str!("facts.sql"),
            book = relation(endpoint, TABLE),
            user = relation(endpoint, crate::book::OWNER_TABLE),
            table = table::query("book.oid"),
            settings = unsettled(endpoint.side),
            foreign_keys = if_written(dependents::foreign_keys(BOOK_OID)),
            triggers = if_written(triggers::query(BOOK_OID)),
            lock = lock,
            system_identifier = system_identifier,
            rights = if writes { rights::query("book") } else { rights::query_of_schema() },
            ids_left = if_written(ids_left("book.oid", "book.ids")),
            sequence = if_written(sequence::of_ids("named.oid")),
        ))
    }

    /// Whether the book table has `column`.
    pub fn has(&self, column: Column) -> bool {
        self.column(column.as_str()).is_some()
    }

    /// The column of the book table with this name.
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().flatten().find(|column| column.name == name)
    }

    /// The major version, such as 15.
    pub fn major_version(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// An expression for the oid of a relation in the URL's schema, and in no other one; NULL when there is none. `name` is a
/// quoted identifier.
fn relation(endpoint: &Endpoint, name: &str) -> String {
    format!(
        "(SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {})",
        literal(&endpoint.schema),
        literal(name.trim_matches('"')),
    )
}

/// How many ids are left, as a scalar expression; `book` and `sequence` are expressions for the oids of the book table and of the
/// sequence of its ids.
pub(crate) fn ids_left(book: &str, sequence: &str) -> String {
    format!(
        "(SELECT (least(seqmax, CASE atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END)
     - coalesce(CASE WHEN has_sequence_privilege(seqrelid, 'USAGE, SELECT') AND NOT pg_is_in_recovery()
         THEN pg_sequence_last_value(seqrelid) END,
         seqstart - seqincrement)) / seqincrement
   FROM pg_attribute JOIN pg_sequence ON seqrelid = {sequence}
   WHERE attrelid = {book} AND attname = '{id}' AND seqincrement > 0 AND NOT seqcycle)",
        id = Column::Id.as_str(),
    )
}

/// A query for [`Facts::triggers`] alone; never NULL.
pub(crate) fn triggers_sql() -> String {
    format!("SELECT coalesce({}, '[]')::text", triggers::query(BOOK_OID))
}

/// A table with policies that apply to the session's role: it is not the owner, or they are forced on owners, and it lacks
/// BYPASSRLS.
#[derive(Debug, Clone, Deserialize)]
pub struct Policed {
    /// As a quoted identifier with its schema.
    pub table: String,
    /// Which table it is.
    pub holds: Holds,
}

/// What a table is to a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// The book table.
    Books,
    /// The table of users.
    Users,
    /// Any other one; dependents are among them.
    Others,
}

/// A setting that has to be otherwise, and that the role may not set.
#[derive(Debug, Clone, Deserialize)]
pub struct Unsettled {
    /// Its name.
    pub name: String,
    /// What it is.
    pub value: String,
    /// What it has to be.
    pub wanted: String,
    /// Where that comes from, in the words of `pg_settings`.
    pub source: String,
    /// The role that logged in, as an identifier; another one may act for it.
    pub role: String,
    /// The database, as an identifier.
    pub database: String,
}

/// One side with what it told about itself.
#[derive(Debug, Clone, Copy)]
pub struct SideFacts<'a> {
    /// Where it is.
    pub endpoint: &'a Endpoint,
    /// What it told.
    pub facts: &'a Facts,
}
