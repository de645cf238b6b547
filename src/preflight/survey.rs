//! What the second query to each side tells: books in numbers, users, the ledger's mark.

use dewey_sync_migration::{LEDGER_HISTORY, LEDGER_VERSION};
use serde::Deserialize;

use super::catalog::{Facts, Holds};
use super::guard::kind;
use super::guard::owner::{OwnerChoice, UNNAMED_SHOWN, User};
use crate::book::{
    CopiedColumns, OWNER, OWNER_TABLE, PRIVATE, SourceUserId, TABLE, TITLE, TargetUserId, VISIBILITY, quoted,
};
use crate::config::mapping::OwnerLines;
use crate::dependents::{Dependents, Reach, Which, Writes};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::postgres::{Identity, literal};
use crate::printable::value;

/// What a menu of users may show.
const CANDIDATES_MAX: usize = 100;

/// The source's books in numbers.
#[derive(Debug, Clone, Deserialize)]
pub struct SourceSurvey {
    /// Rows.
    pub books: u64,
    /// Different owners.
    pub owners: u64,
    /// All users, where the role may count them.
    pub users: Option<u64>,
    /// Rows that only their owner may see in the application.
    pub private: u64,
    /// Owners that the owner map does not name, with their books, the largest first; where there is an owner map.
    pub unnamed_owners: Option<Vec<(i32, u64)>>,
    /// Titles of the first three.
    pub titles: Option<Vec<String>>,
    /// The identity in the ledger, where there is one.
    pub marked: Option<Identity>,
    /// The last id and the rows of each range of a plan, where one is wanted.
    pub ranges: Option<Vec<(i32, i64)>>,
}

/// The target's books, users and ledger.
#[derive(Debug, Clone, Deserialize)]
pub struct TargetSurvey {
    /// Rows.
    pub books: u64,
    /// Different owners of a target that is not marked.
    pub different_owners: Option<u64>,
    /// Whose they are, the largest owners first.
    pub owners: Option<Vec<OwnerBooks>>,
    /// All users.
    pub users: u64,
    /// Those that the call allows, by id.
    pub candidates: Option<Vec<User>>,
    /// Those among them whom the owner map names.
    pub named_users: Option<Vec<TargetUserId>>,
    /// How many ids come more than once.
    pub repeated_ids: u64,
    /// Rows of other tables that reference books.
    pub dependents: Vec<Dependents>,
    /// The identity in the ledger, where there is one.
    pub marked: Option<Identity>,
    /// The newest migration of the ledger.
    pub ledger_version: Option<String>,
    /// Who owned the books after the last verified run.
    pub last_owner: Option<i32>,
}

/// A target user's books.
#[derive(Debug, Clone, Deserialize)]
pub struct OwnerBooks {
    /// The user.
    pub email: String,
    /// Rows.
    pub books: u64,
}

impl TargetSurvey {
    /// Whether the ledger has to be created or brought up to date.
    ///
    /// # Errors
    /// [`Kind::Refused`] when a newer tool made it.
    pub fn ledger_is_old(&self) -> Result<bool> {
        refuse_newer(self.ledger_version.as_deref())?;
        Ok(self.ledger_version.as_deref() != Some(LEDGER_VERSION))
    }
}

/// # Errors
/// [`Kind::Refused`] when a newer tool made the ledger, whose newest migration is `version`.
pub(crate) fn refuse_newer(version: Option<&str>) -> Result<()> {
    version.filter(|version| *version > LEDGER_VERSION).map_or(Ok(()), |version| Err(made_by_newer(version)))
}

/// The error of a ledger with a migration that only a newer version of this tool knows.
pub fn made_by_newer(migration: &str) -> Error {
    Error::new(Kind::Refused, "could not use the target's ledger")
        .because(format!(
            "a newer version of this tool made it: `{}` is unknown to this one",
            value(migration)
        ))
        .hint("update `dewey-sync`")
}

/// The newest migration of the ledger, as a JSON expression.
pub(crate) fn ledger_version() -> String {
    format!("(SELECT max(version) FROM {LEDGER_HISTORY})")
}

/// The identity in a ledger, as a JSON expression.
pub(crate) const MARKED: &str = "(SELECT json_build_object('system_identifier', system_identifier, 'database_oid', database_oid) \
                      FROM dewey_sync.identity)";

/// Whether a ledger carries `identity`, as an SQL condition.
fn is_marked(Identity { system_identifier, database_oid }: &Identity) -> String {
    format!(
        "EXISTS (SELECT FROM dewey_sync.identity WHERE (system_identifier, database_oid) = ({}, {database_oid}))",
        literal(system_identifier)
    )
}

/// The query for [`SourceSurvey`].
/// With `batch_size`, the plan comes along.
pub(crate) fn source_books_query(
    facts: &Facts,
    columns: &CopiedColumns,
    lines: &OwnerLines,
    batch_size: Option<u32>,
) -> String {
    let marked = if facts.ledger { MARKED } else { "NULL" };
    let owner = columns.at_source(OWNER);
    let named: Vec<String> = lines.named.keys().map(|SourceUserId(id)| id.to_string()).collect();
    let unnamed = if named.is_empty() {
        "NULL".to_owned()
    } else {
        format!(
            "(SELECT json_agg(json_build_array(owner, books)) FROM (SELECT {owner} AS owner, count(*) AS books FROM {TABLE}
    WHERE {owner} NOT IN ({}) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {UNNAMED_SHOWN} + 1) unnamed)",
            named.join(", ")
        )
    };
    format!(
        "SELECT json_build_object('books', coalesce(sum(books), 0), 'owners', count(DISTINCT owner),
 'private', coalesce(sum(books) FILTER (WHERE visibility::text = '{PRIVATE}'), 0),
 'unnamed_owners', {unnamed}, 'users', {users},
 'titles', (SELECT json_agg(title) FILTER (WHERE title IS NOT NULL) FROM (SELECT {title} AS title FROM {TABLE} ORDER BY id LIMIT 3) first),
 'marked', {marked},
 'ranges', {ranges})::text
FROM (SELECT {owner} AS owner, {visibility} AS visibility, count(*) AS books FROM {TABLE} GROUP BY 1, 2) shelves",
        users = users_query(facts),
        ranges = batch_size.map_or_else(|| "NULL".to_owned(), Plan::ends_query),
        visibility = columns.at_source(VISIBILITY),
        title = columns.at_source(TITLE),
    )
}

/// How many users there are, as a scalar expression; NULL where the role may not count them.
pub(crate) fn users_query(facts: &Facts) -> String {
    let hidden = facts.policed.iter().flatten().any(|policed| policed.holds == Holds::Users);
    if facts.users_readable && !hidden {
        format!("(SELECT count(*) FROM {OWNER_TABLE})")
    } else {
        "NULL".into()
    }
}

/// How many different owners books have, as a scalar expression.
pub(crate) fn owners_query() -> String {
    format!("(SELECT count(DISTINCT {}) FROM {TABLE})", quoted(OWNER))
}

/// The query for [`TargetSurvey`]. The ledger's tables are read only where they are.
pub(crate) fn target_books_query(facts: &Facts, wanted: &OwnerChoice, lines: &OwnerLines) -> String {
    let filter = match wanted {
        OwnerChoice::Id(id) | OwnerChoice::Default(id) => format!("WHERE id = {id}"),
        OwnerChoice::Email(email) => format!("WHERE email = {}", literal(email)),
        OwnerChoice::Any => String::new(),
    };
    let named: Vec<String> = lines.named.values().map(|TargetUserId(id)| id.to_string()).collect();
    let ledger = |query: &str| if facts.ledger { query.to_owned() } else { "NULL".to_owned() };
    let reach = Reach::of(facts.foreign_keys.as_deref().unwrap_or_default(), Writes::Replaces);
    let dependents = reach.map(|reach| reach.counted(&Which::all()));
    format!(
        "SELECT json_build_object('books', (SELECT count(*) FROM {TABLE}),
 'owners', (SELECT json_agg(owner) FROM (SELECT email, count(*) AS books FROM {TABLE} b JOIN {OWNER_TABLE} u
    ON u.id = b.{owner} GROUP BY u.id, email ORDER BY books DESC, u.id LIMIT 3) owner),
 'users', (SELECT count(*) FROM {OWNER_TABLE}),
 'different_owners', CASE WHEN {is_marked} THEN NULL ELSE {different_owners} END,
 'candidates', (SELECT json_agg(candidate) FROM (SELECT id, email, name FROM {OWNER_TABLE} {filter}
    ORDER BY id LIMIT {CANDIDATES_MAX}) candidate),
 'named_users', (SELECT json_agg(id) FROM {OWNER_TABLE} WHERE id = ANY ('{{{named}}}'::integer[])),
 'repeated_ids', {repeated_ids},
 'dependents', {dependents},
 'marked', {marked},
 'ledger_version', {version},
 'last_owner', {last_owner})::text",
        dependents = dependents.as_deref().unwrap_or("json_build_array()"),
        named = named.join(","),
        repeated_ids = kind::repeated_ids(facts),
        marked = ledger(MARKED),
        is_marked = if facts.ledger { is_marked(&facts.identity) } else { "false".into() },
        different_owners = owners_query(),
        owner = quoted(OWNER),
        version = ledger(&ledger_version()),
        last_owner = ledger(
            "(SELECT owner_id FROM dewey_sync.run WHERE state = 'verified' AND action = 'sync' \
             ORDER BY run_id DESC LIMIT 1)"
        ),
    )
}
