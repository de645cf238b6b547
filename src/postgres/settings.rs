//! What a transaction asks of its session, and whether it has it.
//!
//! A pooler may have lent the session to somebody else, and a role or a database may have defaults of its own. So every
//! transaction sets what matters to it for itself, in the text that begins it, and the server reads it back: an answer that
//! is not as it should be is an error there, which stops whatever follows in the same text.

use std::time::Duration;

use super::Limit;
use crate::config::decided::{COMPUTED, SET, WISHED, privileged};
use crate::config::{Endpoint, Side};
use crate::quote::{identifier, literal};

/// The name in the server's error begins with it; the settings that are not as they should be follow.
const UNLIKE: &str = "dewey_sync.unlike(";

/// Where PostgreSQL knows `transaction_timeout`.
pub(super) const TRANSACTION_TIMEOUT: u32 = 170_000;

/// Where a role may be granted the right to set a privileged setting.
const GRANTED: u32 = 150_000;

/// What no statement should run without, before any function is looked for: the search path, and a role's own time limits,
/// which could be too short for the rest. With the keepalives the server notices within a minute that a client vanished; on
/// a socket there are none to be read back.
pub(super) fn settings(schema: &str, name: &str, limit: Limit, version: Option<u32>) -> String {
    let transaction = if version.is_some_and(|version| version >= TRANSACTION_TIMEOUT) {
        "SET LOCAL transaction_timeout = 0; "
    } else {
        ""
    };
    format!(
        "{transaction}SET LOCAL statement_timeout = {timeout_ms}; SET LOCAL search_path = {path}; \
         SET LOCAL application_name = {name}; SET LOCAL tcp_keepalives_idle = 30; SET LOCAL tcp_keepalives_interval = 10; \
         SET LOCAL tcp_keepalives_count = 3; SET LOCAL tcp_user_timeout = 0",
        timeout_ms = limit.statement_timeout().as_millis(),
        path = search_path(schema),
        name = literal(name),
    )
}

/// A query that makes all other settings and reads everything back. Its row has the column `is_read_only`; it ends so that
/// further columns can follow.
pub(super) fn begun(endpoint: &Endpoint, mode: &str, limit: Limit, version: Option<u32>) -> String {
    let idle = limit.idle_timeout().min(Duration::from_millis(i32::MAX.unsigned_abs().into()));
    let own = [
        ("statement_timeout", shown(limit.statement_timeout())),
        ("lock_timeout", shown(limit.lock_timeout())),
        ("idle_in_transaction_session_timeout", shown(idle)),
        ("transaction_timeout", "0".to_owned()),
        // PostgreSQL 14 and later end a statement whose client is gone; without it, it goes on to its end.
        ("client_connection_check_interval", "1s".to_owned()),
    ];
    let is_read_only = if mode.ends_with("READ ONLY") { "on" } else { "off" };
    let isolation = if mode.contains("REPEATABLE READ") { "repeatable read" } else { "read committed" };
    let checked = [("transaction_read_only", is_read_only), ("transaction_isolation", isolation)];
    let checked = checked_sql(&rows(endpoint, &own, &checked), version);
    format!("SELECT current_setting('transaction_read_only') AS is_read_only, {checked} AS checked")
}

/// The same for a transaction that another library has begun, as statements whose rows need not be read.
pub(super) fn of_migration(endpoint: &Endpoint, name: &str, version: Option<u32>) -> String {
    let limit = Limit::Statement(Duration::from_mins(1));
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; {}; {}",
        settings(&endpoint.schema, name, limit, version),
        begun(endpoint, "READ WRITE", limit, version),
    )
}

/// An expression that makes the settings of `rows` which can be made, and then fails where one is not as it should be. The
/// last part depends on `made`, so that it comes after it.
fn checked_sql(rows: &str, version: Option<u32>) -> String {
    let may = match version {
        Some(version) if version >= GRANTED => "has_parameter_privilege(name, 'SET')",
        _ => "current_setting('is_superuser') = 'on'",
    };
    let [set, checked] = [how::SET, how::CHECKED];
    format!(
        "(WITH wanted (name, value, how) AS (VALUES {rows}), \
         made AS (SELECT count(set_config(name, value, true)) AS made FROM wanted \
         WHERE current_setting(name, true) <> value AND how <> '{checked}' AND (how = '{set}' OR {may})) \
         SELECT current_setting(CASE WHEN names IS NULL THEN 'search_path' ELSE '{UNLIKE}' || names || ')' END) \
         FROM (SELECT string_agg(name, ',') AS names FROM wanted, made \
         WHERE current_setting(name, made >= 0) <> value AND {STRICTLY}) unlike)"
    )
}

/// Which settings make it fail.
const STRICTLY: &str = "how <> 'w'";

/// The same while a guard is to say more about those that the role may not set.
const TOLERANTLY: &str = "how NOT IN ('w', 'p')";

/// The text of an opening, for a transaction in which a guard looks at the settings.
pub(super) fn tolerating(opening: &str) -> String {
    opening.replacen(STRICTLY, TOLERANTLY, 1)
}

/// What a server says by the name of an unknown parameter, if it is this: the settings that are not as they should be.
pub(super) fn unlike(message: &str) -> Option<String> {
    let (_, names) = message.split_once(UNLIKE)?;
    let (names, _) = names.split_once(')')?;
    Some(names.split(',').map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

/// A scalar expression: a JSON array of the settings of `side` that its transactions need otherwise and may not set, each
/// with its name, value and source; NULL when there is none.
pub fn unsettled(side: Side) -> String {
    let rows = privileged(side).map(|(name, value)| format!("('{name}', {value})"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    format!(
        "(SELECT json_agg(json_build_object('name', s.name, 'value', s.setting, 'wanted', value, 'source', s.source,
     'role', format('%I', session_user), 'database', format('%I', current_database())) ORDER BY s.name) FROM (VALUES {rows}) AS wanted (name, value) CROSS JOIN LATERAL (SELECT name, setting, source
     FROM pg_settings s WHERE s.name = wanted.name AND s.setting <> value) s WHERE current_setting(wanted.name, true) <> value)"
    )
}

/// A time limit as PostgreSQL shows it: in the largest unit that needs no fraction.
fn shown(limit: Duration) -> String {
    let ms = limit.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
    let unit = units.into_iter().find(|(_, length)| ms.is_multiple_of(*length));
    match unit {
        Some((unit, length)) if ms > 0 => format!("{}{unit}", ms / length),
        _ => "0".to_owned(),
    }
}

/// What the application's tables are found by: first the server's own objects, then the URL's schema, and last what some
/// session has for itself, which PostgreSQL would look at first unless it is said.
pub(crate) fn search_path(schema: &str) -> String {
    format!("{}, pg_temp", identifier(schema))
}

/// The rows for `endpoint`, and those of the transaction itself: set and checked ones.
pub(crate) fn rows(endpoint: &Endpoint, set: &[(&str, String)], checked: &[(&str, &str)]) -> String {
    let path = search_path(&endpoint.schema);
    let row = |name: &str, value: &str, how: char| format!("('{name}', {value}, '{how}')");
    let known = SET.iter().map(|(name, value)| row(name, &literal(value), how::SET));
    let own = set.iter().map(|(name, value)| row(name, &literal(value), how::SET));
    let computed = COMPUTED.iter().map(|(name, value)| row(name, value, how::SET));
    let wished = WISHED.iter().map(|(name, value)| row(name, &literal(value), how::WISHED));
    let checked = checked.iter().map(|(name, value)| row(name, &literal(value), how::CHECKED));
    let privileged = privileged(endpoint.side).map(|(name, value)| row(name, value, how::PRIVILEGED));
    let first = std::iter::once(row("search_path", &literal(&path), how::SET));
    let rows = first.chain(known).chain(own).chain(computed).chain(wished).chain(checked).chain(privileged);
    rows.collect::<Vec<_>>().join(", ")
}

/// How a row is dealt with.
mod how {
    /// Set.
    pub(super) const SET: char = 's';
    /// Looked at only.
    pub(super) const CHECKED: char = 'c';
    /// Set where the role may, else refused.
    pub(super) const PRIVILEGED: char = 'p';
    /// Set where the role may.
    pub(super) const WISHED: char = 'w';
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_shown_as_postgresql_shows_them() {
        for (ms, text) in [
            (0, "0"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (80_000, "80s"),
            (120_000, "2min"),
            (90_000, "90s"),
            (3_600_000, "1h"),
            (86_400_000, "1d"),
            (2_147_483_647, "2147483647ms"),
        ] {
            assert_eq!(shown(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn the_settings_in_a_servers_error_are_named() {
        let english =
            r#"unrecognized configuration parameter "dewey_sync.unlike(row_security,lo_compat_privileges)""#;
        assert_eq!(unlike(english).as_deref(), Some("`row_security`, `lo_compat_privileges`"));
        assert_eq!(
            unlike("nicht erkannter Konfigurationsparameter »dewey_sync.unlike(jit)«").unwrap(),
            "`jit`"
        );
        assert_eq!(unlike(r#"unrecognized configuration parameter "work_men""#), None);
    }

    #[test]
    fn a_guard_that_looks_is_told_of_what_would_stop_others() {
        let strict = checked_sql("", None);
        assert!(strict.contains(STRICTLY));
        assert!(tolerating(&strict).contains(TOLERANTLY));
    }
}
