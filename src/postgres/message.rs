//! What may be shown of a server's answer, and in which words.
//!
//! Invariant: names of the schema, limits and settings, never data. PostgreSQL puts values into the details of every
//! class and into the messages of some; details are never read, and those messages are replaced.

use sqlx::postgres::PgDatabaseError;

use crate::printable::value;

/// The SQLSTATE classes whose messages name objects and limits, never values.
const NAMING_CLASSES: [&str; 17] =
    ["08", "0A", "23", "25", "26", "28", "2B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "XX"];

/// What the files of PostgreSQL's sources begin with that run functions in other languages than SQL. Their authors raise
/// what they like, under any SQLSTATE and with any names.
const LANGUAGES: [&str; 5] = ["pl_", "plpy", "plperl", "pltcl", "plv8"];

/// PostgreSQL's message where it names only the schema, else the names that come with it.
pub(super) fn text_of(error: &PgDatabaseError) -> String {
    let code = error.code();
    let raised = error.file().is_some_and(|file| LANGUAGES.iter().any(|name| file.starts_with(name)));
    if !raised && !quotes_a_statement(error) && NAMING_CLASSES.iter().any(|class| code.starts_with(class)) {
        return format!("{} (SQLSTATE {code})", error.message());
    }
    if raised {
        let function = function_of(error)
            .map_or_else(|| "a function or trigger".into(), |name| format!("the function `{name}`"));
        return format!("an error raised by {function} (SQLSTATE {code})");
    }
    let what = match (code.get(..2), function_of(error)) {
        (Some("22"), _) => "a value was not accepted".into(),
        (_, Some(function)) => format!("a statement of the function `{function}` was refused"),
        (_, None) => "the statement was refused".to_owned(),
    };
    let places = [
        ("table", error.table()),
        ("column", error.column()),
        ("type", error.data_type()),
        ("constraint", error.constraint()),
    ];
    let named: String =
        places.into_iter().filter_map(|(kind, name)| name.map(|name| format!(", {kind} `{name}`"))).collect();
    format!("{what}{named} (SQLSTATE {code})")
}

/// The PL/pgSQL function that an error comes from, if it is one's. Lines of the context that quote a statement are not read.
pub(super) fn function_of(error: &PgDatabaseError) -> Option<&str> {
    let line = error.r#where()?.lines().find_map(|line| line.strip_prefix("PL/pgSQL function "))?;
    line.split_once(" line ").map(|(name, _)| name)
}

/// Whether the message may quote the text of a statement that a function put together, such as a trigger's from a title:
/// such an answer has a context. Statements of ours hold no value.
fn quotes_a_statement(error: &PgDatabaseError) -> bool {
    let code = error.code();
    code.starts_with("42") && code != "42501" && error.r#where().is_some()
}

/// A name that others gave, as part of a line.
pub(crate) fn name_of_stranger(name: &str) -> String {
    format!("`{}`", value(name))
}

/// The byte that the driver makes of an answer that did not come; what forwards a port does that when nothing listens
/// behind it.
pub(super) const NO_ANSWER: &str = "unexpected response from SSLRequest: 0x00";

pub(super) const CLOSED: &str = "the server closed the connection";

/// The operating system's words, without the number that they end with.
pub(super) fn text_of_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match text.strip_prefix("failed to lookup address information: ") {
        Some(why) => format!("unknown host: {why}"),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => CLOSED.into(),
        None => text.to_lowercase(),
    }
}

/// What is wrong with a certificate, in words where the TLS library has a name of its own.
pub(super) fn text_of_tls(text: &str) -> String {
    match text {
        "invalid peer certificate: UnknownIssuer" => UNKNOWN_AUTHORITY.into(),
        "no keys found pem file" => "the file of `sslkey` holds no key".into(),
        _ => text.replacen("invalid peer certificate: certificate", "the server's certificate is", 1),
    }
}

const UNKNOWN_AUTHORITY: &str = "the server's certificate was issued by an unknown authority";

/// In place of the driver's text, which names the character.
pub(super) const UNSENDABLE: &str =
    "user or password have a character that the driver cannot send, such as an emoji";

/// What was not as expected in an answer of JSON; the reader's own text quotes what it found.
pub(super) fn text_of_json(error: &serde_json::Error) -> String {
    format!("an answer was not as expected, at its character {}", error.column())
}
