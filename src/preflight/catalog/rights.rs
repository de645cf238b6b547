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
    let copied = Column::iter().filter(|column| role(*column) != Role::Id);
    let copied: Vec<String> = copied.map(|column| literal(column.as_str())).collect();
    let tables: Vec<String> = dewey_sync_migration::ledger_tables().map(literal).collect();
    let table = |oid: &str, right: &str| format!("has_table_privilege({oid}, '{right}')");
    // The server may ask before it looks at the kind, and then fails for what is no sequence.
    let of_sequence = |right: &str| {
        format!("CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, '{right}') ELSE true END")
    };
    let named = "format('%I.%I', n.nspname, c.relname)";
    let relations = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";
    format!(
        "(SELECT json_agg(json_build_object('of', of, 'object', object, 'schema', schema, 'rights', rights) ORDER BY place, object)
  FROM (SELECT 1 AS place, 'database' AS of, format('%I', current_database()) AS object, {create_schema} AS rights,
      NULL AS schema WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'dewey_sync')
  UNION ALL SELECT 2, 'schema', format('%I', nspname), {use_schema}, NULL FROM pg_namespace n WHERE nspname = {SCHEMA}
  UNION ALL SELECT 3, 'ledger_schema', 'dewey_sync', {ledger_schema}, NULL FROM pg_namespace n WHERE nspname = 'dewey_sync'
  UNION ALL SELECT 4, 'ledger', {named}, {ledger}, NULL FROM {relations}
    WHERE nspname = 'dewey_sync' AND relname IN ({tables}) AND relkind = 'r'
  UNION ALL SELECT 5, 'ledger_sequence', {named}, {ledger_sequence}, NULL FROM {relations}
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
      AND d.deptype = 'a' JOIN pg_class t ON t.oid = d.refobjid
    WHERE nspname = 'dewey_sync' AND c.relkind = 'S' AND t.relname IN ({tables})
  UNION ALL SELECT DISTINCT 6, 'ledger_owner', format('%I', pg_get_userbyid(relowner)), ARRAY['OWNER'], NULL FROM {relations}
    WHERE nspname = 'dewey_sync' AND relname IN ({tables}) AND relkind = 'r' AND NOT pg_has_role(relowner, 'USAGE')
  UNION ALL SELECT 7, 'books', {named}, {books}, NULL FROM {relations} WHERE c.oid = {book}.oid
  UNION ALL SELECT 8, 'users', {named}, {users}, NULL FROM {relations} WHERE c.oid = to_regclass('{OWNER_TABLE}')
  UNION ALL SELECT 9, 'sequence', {named}, {sequence}, NULL FROM (
      SELECT {book}.ids AS oid, true AS is_raised
      UNION ALL SELECT d.refobjid, false FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
          AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass WHERE f.adrelid = {book}.oid) used
    JOIN {relations} ON c.oid = used.oid AND c.relkind = 'S' GROUP BY c.oid, c.relname, c.relkind, n.nspname
  UNION ALL SELECT DISTINCT 10, 'function', format('%I.%I(%s)', n.nspname, proname, pg_get_function_identity_arguments(p.oid)),
      {function}, NULL FROM pg_depend d JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
    JOIN pg_namespace n ON n.oid = pronamespace
    WHERE d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = {book}.oid)
      OR d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT oid FROM pg_constraint WHERE conrelid = {book}.oid)
      OR d.classid = 'pg_class'::regclass AND d.objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = {book}.oid)
  UNION ALL SELECT 11, 'other', {named}, {other}, format('%I', nspname) FROM {relations}
    WHERE c.oid IN (SELECT conrelid FROM pg_constraint WHERE contype = 'f') AND nspname <> 'dewey_sync' AND c.oid <> {book}.oid
  UNION ALL SELECT 12, 'language', format('%I', lanname), {language}, NULL FROM pg_language WHERE lanname = 'plpgsql'
  ) object WHERE rights <> '{{}}')",
        create_schema = lacking(&[("CREATE", "has_database_privilege(current_database(), 'CREATE')".into())]),
        use_schema = lacking(&[("USAGE", "has_schema_privilege(n.oid, 'USAGE')".into())]),
        ledger_schema = lacking(&[
            ("USAGE", "has_schema_privilege(n.oid, 'USAGE')".into()),
            (
                "CREATE",
                format!(
                    "has_schema_privilege(n.oid, 'CREATE') OR {} = (SELECT count(*) FROM pg_class \
                     WHERE relnamespace = n.oid AND relname IN ({}) AND relname <> 'application_migration')",
                    tables.len() - 1,
                    tables.join(", ")
                )
            ),
        ]),
        ledger = lacking(&[
            ("SELECT", table("c.oid", "SELECT")),
            ("INSERT", table("c.oid", "INSERT")),
            ("UPDATE", table("c.oid", "UPDATE")),
            ("DELETE", table("c.oid", "DELETE")),
            ("TRUNCATE", format!("relname NOT IN ('stage', 'stage_checkpoint') OR {}", table("c.oid", "TRUNCATE"))),
        ]),
        ledger_sequence = lacking(&[("USAGE", of_sequence("USAGE, UPDATE"))]),
        books = lacking(&[
            ("SELECT", columns("c.oid", "true", "SELECT")),
            ("INSERT", columns("c.oid", &format!("attname IN ({})", copied.join(", ")), "INSERT")),
            ("UPDATE", columns("c.oid", &format!("attname IN ({})", copied.join(", ")), "UPDATE")),
            ("DELETE", table("c.oid", "DELETE")),
        ]),
        users = lacking(&[
            ("SELECT", columns("c.oid", "attname IN ('id', 'email', 'name')", "SELECT")),
            ("UPDATE (name)", "has_any_column_privilege(c.oid, 'UPDATE')".into()),
        ]),
        sequence = lacking(&[
            ("USAGE", of_sequence("USAGE, UPDATE")),
            ("SELECT", format!("NOT bool_or(is_raised) OR {}", of_sequence("SELECT"))),
            ("UPDATE", format!("NOT bool_or(is_raised) OR {}", of_sequence("UPDATE"))),
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
