//! The rights that a role lacks.

use sea_orm::{IdenStatic, Iterable};
use serde::Deserialize;

use crate::book::{Column, OWNER_TABLE, Role, role};
use crate::postgres::literal;

/// The right to lock a table against writers.
pub(crate) const LOCK: &str = "LOCK";

/// The schema of the URL, an expression.
pub(crate) const SCHEMA: &str = "(parse_ident(current_setting('search_path'), false))[1]";

/// What an object is to a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// The target's database, in which there is no ledger yet.
    Database,
    /// The application's schema.
    Schema,
    /// Our own schema.
    LedgerSchema,
    /// A table of the ledger.
    Ledger,
    /// A sequence of the ledger.
    LedgerSequence,
    /// The role that owns the ledger's tables, and which alone may alter them.
    LedgerOwner,
    /// The book table.
    Books,
    /// The table of users.
    Users,
    /// A sequence that gives out values of the book table.
    Sequence,
    /// A function that a default, a check or an index of the book table calls.
    Function,
    /// The language of the last statement of each transaction, which measures it.
    Language,
    /// Any other table that has a foreign key.
    Other,
}

/// Rights on one object that the role does not have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lacking {
    /// What the object is to a sync.
    pub of: Of,
    /// As a quoted identifier, with its schema where it is in one.
    pub object: String,
    /// That schema, of a table that has a foreign key.
    pub schema: Option<String>,
    /// As GRANT writes them; `LOCK` is any right that allows to lock a table.
    pub rights: Vec<String>,
}

/// The rights that the role lacks, as a scalar expression: a JSON array of [`Lacking`], or NULL. `book` is the alias of a
/// relation with the oid of the book table and `ids`, that of the sequence of its ids.
pub(crate) fn query(book: &str) -> String {
    let tables: Vec<String> = dewey_sync_migration::ledger_tables().map(literal).collect();
    let table = |oid: &str, right: &str| format!("has_table_privilege({oid}, '{right}')");
    // The server may ask before it looks at the kind, and then fails for what is no sequence.
    let of_sequence = |right: &str| {
        format!("CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, '{right}') ELSE true END")
    };
    let if_raised = |right: &str| format!("NOT bool_or(is_raised) OR {}", of_sequence(right));
    let of_copied = of_copied_columns();
    format!(
        include_str!("rights.sql"),
        create_schema = lacking(&[("CREATE", "has_database_privilege(current_database(), 'CREATE')".into())]),
        use_schema = lacking(&[("USAGE", "has_schema_privilege(n.oid, 'USAGE')".into())]),
        ledger_schema = lacking(&[
            ("USAGE", "has_schema_privilege(n.oid, 'USAGE')".into()),
            ("CREATE", creates_tables(&tables)),
        ]),
        ledger = lacking(&[
            ("SELECT", table("c.oid", "SELECT")),
            ("INSERT", table("c.oid", "INSERT")),
            ("UPDATE", table("c.oid", "UPDATE")),
            ("DELETE", table("c.oid", "DELETE")),
            (
                "TRUNCATE",
                format!("relname NOT IN ('stage', 'stage_checkpoint') OR {}", table("c.oid", "TRUNCATE"))
            ),
        ]),
        ledger_sequence = lacking(&[("USAGE", of_sequence("USAGE, UPDATE"))]),
        books = lacking(&[
            ("SELECT", columns("c.oid", "true", "SELECT")),
            ("INSERT", columns("c.oid", &of_copied, "INSERT")),
            ("UPDATE", columns("c.oid", &of_copied, "UPDATE")),
            ("DELETE", table("c.oid", "DELETE")),
        ]),
        users = lacking(&[
            ("SELECT", columns("c.oid", "attname IN ('id', 'email', 'name')", "SELECT")),
            ("UPDATE (name)", "has_any_column_privilege(c.oid, 'UPDATE')".into()),
        ]),
        sequence = lacking(&[
            ("USAGE", of_sequence("USAGE, UPDATE")),
            ("SELECT", if_raised("SELECT")),
            ("UPDATE", if_raised("UPDATE")),
        ]),
        function = lacking(&[("EXECUTE", "has_function_privilege(p.oid, 'EXECUTE')".into())]),
        language = lacking(&[("USAGE", "has_language_privilege(oid, 'USAGE')".into())]),
        other = lacking(&[
            ("USAGE", "has_schema_privilege(n.oid, 'USAGE')".into()),
            ("SELECT", columns("c.oid", "true", "SELECT")),
            ("INSERT", table("c.oid", "INSERT")),
            ("UPDATE", table("c.oid", "UPDATE")),
            (LOCK, table("c.oid", "UPDATE, DELETE, TRUNCATE")),
        ]),
        tables = tables.join(", "),
        book = book,
        named = "format('%I.%I', n.nspname, c.relname)",
        relations = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
        schema = SCHEMA,
        owner_table = OWNER_TABLE,
    )
}

/// The condition that a column is given a value by a sync.
fn of_copied_columns() -> String {
    let copied = Column::iter().filter(|column| role(*column) != Role::Id);
    let copied: Vec<String> = copied.map(|column| literal(column.as_str())).collect();
    format!("attname IN ({})", copied.join(", "))
}

/// The condition that the ledger's tables are there or may be made.
fn creates_tables(tables: &[String]) -> String {
    format!(
        "has_schema_privilege(n.oid, 'CREATE') OR {} = (SELECT count(*) FROM pg_class \
         WHERE relnamespace = n.oid AND relname IN ({}) AND relname <> 'application_migration')",
        tables.len() - 1,
        tables.join(", ")
    )
}

/// Of [`query`] what finding the tables needs.
pub(crate) fn query_of_schema() -> String {
    format!(
        "(SELECT json_agg(json_build_object('of', 'schema', 'object', format('%I', nspname), 'rights', ARRAY['USAGE']))
  FROM pg_namespace n WHERE nspname = {SCHEMA} AND NOT has_schema_privilege(n.oid, 'USAGE'))"
    )
}

/// Whether the role has the right on all columns that meet a condition of the table with this oid.
pub(crate) fn columns(oid: &str, condition: &str, right: &str) -> String {
    format!(
        "(SELECT coalesce(bool_and(has_column_privilege(attrelid, attnum, '{right}')), true) FROM pg_attribute \
         WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND {condition})"
    )
}

/// The rights whose condition does not hold.
pub(crate) fn lacking(rights: &[(&str, String)]) -> String {
    let rights: Vec<String> =
        rights.iter().map(|(right, has)| format!("CASE WHEN {has} THEN NULL ELSE '{right}' END")).collect();
    format!("array_remove(ARRAY[{}]::text[], NULL)", rights.join(", "))
}
