//! Guard: the target's role has every right that a run will need, as the catalog knows it, before anything is written.
//!
//! Each was measured with a plain role: `FOR KEY SHARE` demands UPDATE of any one column, SHARE ROW EXCLUSIVE one of UPDATE,
//! DELETE and TRUNCATE, a default EXECUTE on its function, and a sequence that is raised SELECT beside UPDATE. What triggers
//! of the tables need no catalog knows.

use sea_orm::{IdenStatic, Iterable};
use serde::Deserialize;

use super::dependents::{Fate, Reach, Writes};
use crate::book::{Column, OWNER_TABLE, Role, role};
use crate::config::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, literal};
use crate::sync::facts::Facts;

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

/// The right to lock a table against writers.
const LOCK: &str = "LOCK";

/// What the rights are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// To find the tables.
    Finding,
    /// To compare.
    Reading,
    /// To sync.
    Writing,
}

/// The schema of the URL, an expression.
const SCHEMA: &str = "(parse_ident(current_setting('search_path'), false))[1]";

/// Of [`query`] what finding the tables needs.
pub(in crate::sync) fn query_of_schema() -> String {
    format!(
        "(SELECT json_agg(json_build_object('of', 'schema', 'object', format('%I', nspname), 'rights', ARRAY['USAGE']))
  FROM pg_namespace n WHERE nspname = {SCHEMA} AND NOT has_schema_privilege(n.oid, 'USAGE'))"
    )
}

/// The rights that the role lacks, as a scalar expression: a JSON array of [`Lacking`], or NULL. `book` is the alias of a
/// relation with the oid of the book table and `ids`, that of the sequence of its ids.
pub(in crate::sync) fn query(book: &str) -> String {
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

/// Whether the role has the right on all columns that meet a condition of the table with this oid.
fn columns(oid: &str, condition: &str, right: &str) -> String {
    format!(
        "(SELECT coalesce(bool_and(has_column_privilege(attrelid, attnum, '{right}')), true) FROM pg_attribute \
         WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND {condition})"
    )
}

/// The rights whose condition does not hold.
fn lacking(rights: &[(&str, String)]) -> String {
    let rights: Vec<String> =
        rights.iter().map(|(right, has)| format!("CASE WHEN {has} THEN NULL ELSE '{right}' END")).collect();
    format!("array_remove(ARRAY[{}]::text[], NULL)", rights.join(", "))
}

/// # Errors
/// [`Kind::Refused`] with the statements that grant what is lacking.
pub fn check(endpoint: &Endpoint, facts: &Facts, needs: Needs) -> Result<()> {
    let lacking = needed(facts, needs);
    if lacking.is_empty() { Ok(()) } else { Err(refused(endpoint, facts, &lacking)) }
}

/// Whether an older ledger can be brought up to date.
///
/// # Errors
/// [`Kind::Refused`] when its tables are somebody else's.
pub fn check_upgrade(endpoint: &Endpoint, facts: &Facts, ledger_is_old: bool) -> Result<()> {
    let owners = facts.rights.iter().flatten().filter(|lacking| lacking.of == Of::LedgerOwner);
    let owners: Vec<Lacking> = owners.filter(|_| ledger_is_old).cloned().collect();
    if owners.is_empty() { Ok(()) } else { Err(refused(endpoint, facts, &owners)) }
}

/// The function that tells which cluster a server is of.
const IDENTIFYING: &str = "pg_catalog.pg_control_system()";

/// Whether the role may not ask for the identity: the server then refuses the whole query.
pub(in crate::sync) fn hides_identity(fault: &Fault) -> bool {
    fault.sqlstate() == Some("42501") && fault.to_string().contains("pg_control_system")
}

/// Whether the server told which database this is; without that no guard can tell databases apart.
///
/// # Errors
/// [`Kind::Refused`].
pub fn check_identity(endpoint: &Endpoint, facts: &Facts) -> Result<()> {
    if facts.identity_readable {
        return Ok(());
    }
    let (function, role) = (IDENTIFYING, &facts.role);
    Err(Error::new(
        Kind::Refused,
        format!("could not tell the {}, {endpoint}, from other databases", endpoint.side),
    )
    .because(format!("the role `{role}` may not EXECUTE {function}"))
    .hint("as a superuser, run there:")
    .lines([format!("GRANT EXECUTE ON FUNCTION {function} TO {role};")]))
}

/// What of the lacking rights a run needs. Of dependents that depends on which tables books take along.
fn needed(facts: &Facts, needs: Needs) -> Vec<Lacking> {
    let keys = facts.foreign_keys.as_deref().unwrap_or_default();
    let reach = Reach::of(keys, Writes::Anything);
    let reached = reach.as_ref().map(Reach::tables).unwrap_or_default();
    let meets = |table: &str, fate| reach.as_ref().is_some_and(|reach| reach.meets(table, fate));
    let mut needed: Vec<Lacking> = Vec::new();
    for lacking in facts.rights.iter().flatten() {
        let is_out_of_reach = lacking.of == Of::Other && !reached.contains(&lacking.object.as_str());
        if is_out_of_reach || lacking.of == Of::LedgerOwner {
            continue;
        }
        let (of, table) = (lacking.of, lacking.object.as_str());
        let is_needed = |right: &&String| match (needs, right.as_str()) {
            (Needs::Finding, _) => of == Of::Schema,
            (Needs::Reading, right) => {
                matches!(of, Of::Schema | Of::Books | Of::Users | Of::Other)
                    && matches!(right, "SELECT" | "USAGE")
            }
            // So that `undo` can bring back what a sync takes along.
            (Needs::Writing, "INSERT") if of == Of::Other => meets(table, Fate::Removed),
            (Needs::Writing, "UPDATE") if of == Of::Other => meets(table, Fate::Detached),
            (Needs::Writing, _) => true,
        };
        let rights: Vec<String> = lacking.rights.iter().filter(is_needed).cloned().collect();
        let (of_schema, rights): (Vec<String>, Vec<String>) =
            rights.into_iter().partition(|right| right == "USAGE" && lacking.of == Of::Other);
        let schema = lacking.schema.clone().unwrap_or_default();
        let of_schema = Lacking { of: Of::Schema, object: schema, schema: None, rights: of_schema };
        for lacking in [of_schema, Lacking { rights, ..lacking.clone() }] {
            if !lacking.rights.is_empty() && !needed.contains(&lacking) {
                needed.push(lacking);
            }
        }
    }
    needed
}

fn refused(endpoint: &Endpoint, facts: &Facts, lacking: &[Lacking]) -> Error {
    let role = &facts.role;
    let causes: Vec<String> = lacking.iter().map(Lacking::cause).collect();
    let grants: Vec<String> = lacking.iter().map(|lacking| format!("{};", lacking.grant(role))).collect();
    let doing = format!("the role `{role}` lacks rights on the {}, {endpoint}", endpoint.side);
    Error::new(Kind::Refused, doing)
        .because(format!("it lacks {}", causes.join("; ")))
        .hint("as the owner of these objects or a superuser, run there:")
        .lines(grants)
}

impl Lacking {
    /// `UPDATE on sequence public."Book_id_seq"`.
    fn cause(&self) -> String {
        let Self { of, object, .. } = self;
        match of {
            Of::LedgerOwner => format!("the ownership of the older ledger, which is `{object}`'s"),
            _ => format!("{} on {} `{object}`", self.granted().join(", "), of.kind()),
        }
    }

    fn grant(&self, role: &str) -> String {
        let Self { of, object, .. } = self;
        match of {
            Of::LedgerOwner => format!("GRANT {object} TO {role}"),
            _ => format!(
                "GRANT {} ON {} {object} TO {role}",
                self.granted().join(", "),
                of.kind().to_uppercase()
            ),
        }
    }

    /// As GRANT knows them. UPDATE allows to lock, and may be lacking for another reason too.
    fn granted(&self) -> Vec<&str> {
        let rights = self.rights.iter().map(|right| if right == LOCK { "UPDATE" } else { right });
        let mut rights: Vec<&str> = rights.collect();
        rights.dedup();
        rights
    }
}

impl Of {
    /// As GRANT names it, in lower case.
    const fn kind(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Schema | Self::LedgerSchema => "schema",
            Self::LedgerSequence | Self::Sequence => "sequence",
            Self::Language => "language",
            Self::Function => "function",
            Self::Ledger | Self::LedgerOwner | Self::Books | Self::Users | Self::Other => "table",
        }
    }
}
