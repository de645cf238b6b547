//! The decision about every setting of PostgreSQL that a role, or a superuser for it, may give to its sessions.
//!
//! A setting of a later version that is in no row makes `every_setting_is_decided` fail: somebody has to say what it does to
//! a sync. `hostile` plays a value of each that a sync would not choose itself.

use Decision::{AtStart, Left, Refused, Set};

/// What becomes of a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    /// Every transaction has this value.
    Set(&'static str),
    /// It is said when a transaction begins, or a session, and read back there.
    AtStart,
    /// Where the role may not set it itself, a run is refused; whether on both sides.
    Refused { at_source: bool },
    /// It is as somebody likes it, because.
    Left(&'static str),
}

/// A setting, a value that a sync would not choose, and what becomes of it. Without such a value (`""`) one is taken from
/// what the server says is possible.
pub(crate) type Row = (&'static str, &'static str, Decision);

const NOTHING: &str = "nothing that a sync does depends on it";
const OF_TRIGGERS: &str = "only the application's triggers may depend on it, and expect its value";
const DDL: &str = "it concerns changes of the schema, of which a sync makes none but its ledger's";
const ENDS: &str = "more of it is never needed; less fails with an error that names it, and changes nothing";
const LOGS: &str = "the server's own log is its owner's";
pub(crate) const SPEED: &str = "it changes when, not what";

pub(crate) const ROWS: &[Row] = &[
    // Parsing, casts, and what a value is as text.
    ("search_path", "nowhere", AtStart),
    ("client_encoding", "LATIN1", Set("UTF8")),
    ("DateStyle", "SQL, DMY", Set("ISO, MDY")),
    ("IntervalStyle", "iso_8601", Set("postgres")),
    ("TimeZone", "Asia/Kathmandu", Set("UTC")),
    ("timezone_abbreviations", "Australia", Set("Default")),
    ("extra_float_digits", "-15", Set("3")),
    ("bytea_output", "escape", Set("hex")),
    ("xmlbinary", "hex", Set("base64")),
    ("xmloption", "document", Set("content")),
    ("lc_monetary", "POSIX", Set("C")),
    ("lc_numeric", "POSIX", Set("C")),
    ("lc_time", "POSIX", Set("C")),
    ("array_nulls", "off", Set("on")),
    ("standard_conforming_strings", "off", Set("on")),
    ("backslash_quote", "off", Set("safe_encoding")),
    ("transform_null_equals", "on", Set("off")),
    ("quote_all_identifiers", "on", Set("off")),
    ("escape_string_warning", "on", Left("a warning is read by nobody")),
    ("operator_precedence_warning", "on", Left("a warning is read by nobody")),
    ("default_text_search_config", "pg_catalog.german", Left(OF_TRIGGERS)),
    ("lc_messages", "", Left("an error is told by its SQLSTATE and its names")),
    ("icu_validation_level", "error", Left(DDL)),
    // Which rows are read.
    ("row_security", "on", Set("off")),
    ("gin_fuzzy_search_limit", "1", Set("0")),
    ("restrict_nonsystem_relation_kind", "view, foreign-table", Set("")),
    ("zero_damaged_pages", "on", Refused { at_source: true }),
    ("ignore_checksum_failure", "on", Refused { at_source: true }),
    ("synchronize_seqscans", "off", Left("where the order of rows matters, it is asked for")),
    // Triggers, cascades and what functions may do.
    ("session_replication_role", "replica", Refused { at_source: false }),
    ("lo_compat_privileges", "on", Refused { at_source: false }),
    ("event_triggers", "off", Left(DDL)),
    ("exit_on_error", "on", Set("off")),
    // Transactions and time limits.
    ("default_transaction_isolation", "serializable", AtStart),
    ("default_transaction_read_only", "on", AtStart),
    ("default_transaction_deferrable", "on", AtStart),
    ("transaction_isolation", "", AtStart),
    ("transaction_read_only", "", AtStart),
    ("transaction_deferrable", "", AtStart),
    ("statement_timeout", "100ms", AtStart),
    ("lock_timeout", "1ms", AtStart),
    ("idle_in_transaction_session_timeout", "1ms", AtStart),
    ("idle_session_timeout", "20ms", AtStart),
    ("transaction_timeout", "100ms", Set("0")),
    ("client_connection_check_interval", "1h", Set("1s")),
    ("tcp_keepalives_idle", "7200", AtStart),
    ("tcp_keepalives_interval", "7200", AtStart),
    ("tcp_keepalives_count", "100", AtStart),
    ("tcp_user_timeout", "60000", AtStart),
    ("deadlock_timeout", "1h", Left("a deadlock that nobody looks for ends by `lock_timeout`")),
    ("wal_sender_timeout", "1h", Left("no session of a sync replicates")),
    ("synchronous_commit", "off", Set("local")),
    // What the ledger's tables are made as.
    ("default_table_access_method", "another", Set("heap")),
    ("default_tablespace", "nowhere", Left("where the ledger is stored is its owner's choice")),
    ("temp_tablespaces", "nowhere", Left("one that cannot be used is passed over")),
    ("default_toast_compression", "", Left("where it is not known, no such value can be set")),
    ("check_function_bodies", "off", Left(DDL)),
    ("createrole_self_grant", "set, inherit", Left(DDL)),
    ("password_encryption", "md5", Left(DDL)),
    ("scram_iterations", "1", Left(DDL)),
    ("md5_password_warnings", "off", Left(DDL)),
    ("file_copy_method", "", Left(DDL)),
    ("allow_system_table_mods", "on", Left(DDL)),
    ("allow_in_place_tablespaces", "on", Left(DDL)),
    // What is told and logged.
    ("client_min_messages", "debug5", Left("whatever is told besides answers is dropped")),
    ("log_parameter_max_length_on_error", "-1", Set("0")),
    ("application_name", "mine", AtStart),
    // Effort.
    ("jit", "on", Set("off")),
    ("vacuum_cost_delay", "100ms", Set("0")),
    (
        "max_parallel_workers_per_gather",
        "1024",
        Left("UTF-8 is the same by whichever process; else there are none"),
    ),
    ("force_parallel_mode", "regress", Left("what cannot be done by a worker is not")),
    ("debug_parallel_query", "regress", Left("what cannot be done by a worker is not")),
    ("max_stack_depth", "100kB", Left(ENDS)),
    ("temp_file_limit", "", Left(ENDS)),
    (
        "track_counts",
        "off",
        Left("it is set where the role may; without it, less can be measured, which is said"),
    ),
    ("track_activities", "off", Left("a session that cannot be seen counts as one that is at work")),
    // Loaded when a session starts; a library that is missing ends it with its name.
    ("local_preload_libraries", "", Left("what is loaded is the owner's choice")),
    ("session_preload_libraries", "", Left("what is loaded is the owner's choice")),
    ("dynamic_library_path", "", Left(DDL)),
    ("extension_control_path", "", Left(DDL)),
    ("extension_destdir", "", Left(DDL)),
    // For those who develop PostgreSQL.
    ("backtrace_functions", "", Left(LOGS)),
    ("debug_discard_caches", "", Left(SPEED)),
    ("debug_logical_replication_streaming", "", Left(NOTHING)),
    ("jit_dump_bitcode", "", Left(LOGS)),
    ("jit_expressions", "", Left(SPEED)),
    ("jit_tuple_deforming", "", Left(SPEED)),
    ("trace_notify", "", Left(LOGS)),
    ("trace_sort", "", Left(LOGS)),
    ("wal_consistency_checking", "", Left(NOTHING)),
    ("gin_pending_list_limit", "", Left(SPEED)),
];

/// Settings by what PostgreSQL's documentation has them under. None of these changes what a statement answers.
pub(crate) const CATEGORIES: &[(&str, &str)] = &[
    ("Query Tuning /", SPEED),
    ("Reporting and Logging /", LOGS),
    // Of its own before version 14.
    ("Process Title", LOGS),
    ("Resource Usage /", SPEED),
    ("Statistics /", SPEED),
    ("Vacuuming", SPEED),
    ("Client Connection Defaults / Statement Behavior vacuum_", SPEED),
    ("Write-Ahead Log /", SPEED),
];

/// The decision about a setting of this category; `None`: nobody has made one.
pub(crate) fn decision(name: &str, category: &str) -> Option<Decision> {
    let row = ROWS.iter().find(|(known, _, _)| *known == name);
    let known = format!("{category} {name}");
    let of_category = CATEGORIES.iter().find(|(start, _)| known.starts_with(start));
    row.map(|(_, _, decision)| *decision).or(of_category.map(|(_, why)| Left(why)))
}
