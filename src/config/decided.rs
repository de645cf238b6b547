//! The settings about which every transaction decides, as rows `(name, value, how)` of an SQL `VALUES` list.
//!
//! PostgreSQL leaves them to servers, databases, roles and whoever had a pooler's session before; each changes what a
//! statement means, which rows it reads, or how long it may take. Those that a server does not know are passed over. Why
//! all others of the contexts `user` and `superuser` are left alone stands in the table of `tests/it/settings`.

use super::Side;

/// Any role may set these.
pub(crate) const SET: [(&str, &str); 25] = [
    // How text becomes a value, and a value text: expressions of `dewey-sync.toml`, and rows that are kept as text.
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("timezone_abbreviations", "Default"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    // `{NULL}` would become the text.
    ("array_nulls", "on"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("transform_null_equals", "off"),
    // Tables are told apart by what `format('%I')` makes of their names.
    ("quote_all_identifiers", "off"),
    // Which rows are read: a policy's or an index's choice would go unnoticed.
    ("row_security", "off"),
    ("gin_fuzzy_search_limit", "0"),
    ("restrict_nonsystem_relation_kind", ""),
    // A function that catches an error would lose the session instead.
    ("exit_on_error", "off"),
    // The ledger's rows are changed and removed.
    ("default_table_access_method", "heap"),
    // The values of a statement that failed would be logged and answered.
    ("log_parameter_max_length_on_error", "0"),
    // Compiling the long lists of columns would take longer than it saves; an `ANALYZE` would sleep.
    ("jit", "off"),
    ("vacuum_cost_delay", "0"),
];

/// Whoever may set these does; nobody reads or writes books otherwise. The value is an SQL expression.
const PRIVILEGED: [(&str, &str, Option<Side>); 4] = [
    // A page that cannot be read would be taken for an empty one, or for a good one.
    ("zero_damaged_pages", "'off'", None),
    ("ignore_checksum_failure", "'off'", None),
    // No cascade and no trigger of the application would happen; `local` is another word for `origin`.
    (
        "session_replication_role",
        "CASE current_setting('session_replication_role') WHEN 'local' THEN 'local' ELSE 'origin' END",
        Some(Side::Target),
    ),
    // A trigger could remove large objects that are not its owner's.
    ("lo_compat_privileges", "'off'", Some(Side::Target)),
];

/// Whoever may set these does; others go on without.
pub(crate) const WISHED: [(&str, &str); 1] = [
    // What a transaction did is counted by it.
    ("track_counts", "on"),
];

/// Computed by the server. A parallel worker sends text in the encoding of the database, not of the client, so that a digest
/// would depend on who computed it: where the two differ, there are no workers. A COMMIT that was answered has to outlive a
/// crash; whether it waits for standbys as well is not ours to say.
pub(crate) const COMPUTED: [(&str, &str); 2] = [
    (
        "max_parallel_workers_per_gather",
        "CASE getdatabaseencoding() WHEN 'UTF8' THEN current_setting('max_parallel_workers_per_gather') ELSE '0' END",
    ),
    (
        "synchronous_commit",
        "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'local' ELSE current_setting('synchronous_commit') END",
    ),
];

/// The settings of a side that only some roles may set, each with an SQL expression for what it has to be.
pub(crate) fn privileged(side: Side) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_here = move |only: &Option<Side>| only.is_none_or(|only| only == side);
    PRIVILEGED.iter().filter(move |(_, _, only)| is_here(only)).map(|(name, value, _)| (*name, *value))
}

/// Set for speed or safety, and of no meaning to what a statement does.
const WITHOUT_MEANING: [&str; 7] = [
    "backslash_quote",
    "default_table_access_method",
    "exit_on_error",
    "extra_float_digits",
    "jit",
    "log_parameter_max_length_on_error",
    "vacuum_cost_delay",
];

/// What a setting is in every transaction of either side, under its own name, if it changes what statements mean.
pub fn decided(name: &str) -> Option<(&'static str, &'static str)> {
    const ORIGIN: (&str, &str) = ("session_replication_role", "origin");
    let privileged = PRIVILEGED
        .iter()
        .map(|(name, value, _)| (*name, value.trim_matches('\'')))
        .map(|row| if row.0 == ORIGIN.0 { ORIGIN } else { row });
    let mut all = SET.into_iter().chain(privileged);
    all.find(|(known, _)| known.eq_ignore_ascii_case(name) && !WITHOUT_MEANING.contains(known))
}
