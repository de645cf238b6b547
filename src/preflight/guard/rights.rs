//! Guard: the target's role has every right that a run will need, as the catalog knows it, before anything is written.
//!
//! Each was measured with a plain role: `FOR KEY SHARE` demands UPDATE of any one column, SHARE ROW EXCLUSIVE one of UPDATE,
//! DELETE and TRUNCATE, a default EXECUTE on its function, and a sequence that is raised SELECT beside UPDATE. What triggers
//! of the tables need no catalog knows.

use crate::config::Endpoint;
use crate::dependents::{Fate, Reach, Writes};
use crate::error::{Error, Kind, Result};
use crate::postgres::Fault;
use crate::preflight::catalog::Facts;
use crate::preflight::catalog::rights::{LOCK, Lacking, Of};

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
pub(crate) fn hides_identity(fault: &Fault) -> bool {
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
