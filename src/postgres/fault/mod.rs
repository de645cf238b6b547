//! What a server or the way to it answered, without any value of a row.
//!
//! Invariant: the text of a `Fault` names objects of the schema, never data; see [`message`](super::message).

mod driver;

use super::awaited::Awaited;
use super::effect::Effects;
use super::message::text_of_json;
use crate::error::{Error, Kind};

/// The origin of a fault, as far as the classifier in `retry` wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The server answered with an SQLSTATE; `fatal` when the answer also ended the session.
    Server {
        /// Five characters, PostgreSQL's appendix A.
        sqlstate: String,
        /// Whether the session ended with it.
        fatal: bool,
    },
    /// The connection broke or was never there.
    Io,
    /// A deadline of ours passed.
    Deadline,
    /// A check of ours that the server makes found something else than the guards did.
    Guard,
    /// TLS could not be agreed on.
    Tls,
    /// The wire, a value or the use of the driver was not as expected, or a transaction was used after its failure.
    Client,
}

/// One failed request to a server.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// Where it came from.
    pub origin: Origin,
    /// Whether the request was a COMMIT, so that its effect is unknown when no answer came.
    pub at_commit: bool,
    /// Whether it answered the opening of a connection before any other one was let in, so that the URL may be wrong.
    pub at_startup: bool,
    /// What the transaction did, when that was more than it may have done, and nothing of it was committed.
    pub effects: Option<Box<Effects>>,
    /// The function that raised it, as the server writes its signature.
    pub function: Option<String>,
    text: String,
    #[source]
    awaited: Option<Box<Awaited>>,
}

/// The answer that did not come in time, as the driver's errors can carry it.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {}", humantime::format_duration(*.0))]
pub(super) struct Overdue(pub(super) std::time::Duration);

impl From<Overdue> for sqlx::Error {
    fn from(overdue: Overdue) -> Self {
        Self::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, overdue))
    }
}

/// As the driver's errors can carry it.
impl From<Fault> for sqlx::Error {
    fn from(fault: Fault) -> Self {
        Self::Io(std::io::Error::other(fault))
    }
}

impl From<Overdue> for Fault {
    fn from(Overdue(waited): Overdue) -> Self {
        Self::deadline(waited)
    }
}

impl Fault {
    /// A fault of the client's own.
    pub fn client(text: impl Into<String>) -> Self {
        Self::of(Origin::Client, text)
    }

    /// An answer of JSON that is not what was asked for.
    pub fn unreadable(error: &serde_json::Error) -> Self {
        Self::client(text_of_json(error))
    }

    /// A deadline that passed; `waited` says for what.
    pub fn deadline(waited: std::time::Duration) -> Self {
        Self::of(Origin::Deadline, Overdue(waited).to_string())
    }

    /// The same fault as the answer to a COMMIT.
    #[must_use]
    pub fn at_commit(mut self) -> Self {
        self.at_commit = true;
        self
    }

    /// The same fault, which came because `awaited` did not.
    #[must_use]
    pub(super) fn awaiting(mut self, awaited: Awaited) -> Self {
        self.awaited = Some(Box::new(awaited));
        self
    }

    /// Whether it is a time-out, ours or one of the server.
    pub(super) fn ends_a_wait(&self) -> bool {
        self.origin == Origin::Deadline || matches!(self.sqlstate(), Some("55P03" | "57014"))
    }

    pub(crate) fn of(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            at_commit: false,
            at_startup: false,
            effects: None,
            function: None,
            text: text.into(),
            awaited: None,
        }
    }

    /// The answer to a start-up packet, which may quote the options that a URL holds. `first` is before another one was
    /// answered with a session.
    pub(super) fn at_startup(error: &sqlx::Error, first: bool) -> Self {
        let fault = Self { at_startup: first, ..Self::from(error) };
        match fault.sqlstate() {
            Some(code) if code.starts_with("42") || code.starts_with("22") => {
                Self { text: format!("the server refuses an option of the URL (SQLSTATE {code})"), ..fault }
            }
            _ => fault,
        }
    }

    /// The SQLSTATE, when a server answered.
    pub fn sqlstate(&self) -> Option<&str> {
        match &self.origin {
            Origin::Server { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    /// Whether a pooler says that there is no server behind it for now, or no room there. It passes on what the server told
    /// it, and says both in the way in which it refuses a password.
    pub fn is_of_absent_server(&self) -> bool {
        self.is_protocol_violation() && ABSENT.iter().any(|words| self.text.contains(words))
    }

    /// The one SQLSTATE that older poolers have for everything that is not well: a start-up option or a password that is
    /// refused, a server that crashed, a time-out. A server itself has it for a driver that makes mistakes.
    pub fn is_protocol_violation(&self) -> bool {
        self.sqlstate() == Some("08P01")
    }

    /// What this fault means while the run is on its way: a server out of reach, or a statement that failed for good.
    pub fn kind(&self) -> Kind {
        let out_of_reach = match &self.origin {
            Origin::Io | Origin::Deadline => true,
            Origin::Server { sqlstate, .. } => {
                sqlstate.starts_with("08") || matches!(&sqlstate[..], "53300" | "57P01" | "57P02" | "57P03")
            }
            Origin::Guard => return Kind::Refused,
            Origin::Tls | Origin::Client => false,
        };
        if out_of_reach { Kind::Unreachable } else { Kind::NotCompleted }
    }

    /// What it means before the first write: mostly that the configuration names what is not there.
    pub fn kind_at_start(&self) -> Kind {
        match &self.origin {
            Origin::Server { .. } if self.is_protocol_violation() && self.at_startup => {
                if self.is_of_absent_server() { Kind::Unreachable } else { Kind::Usage }
            }
            Origin::Server { sqlstate, .. }
                if ["28", "3D", "3F", "42"].iter().any(|c| sqlstate.starts_with(c)) =>
            {
                Kind::Usage
            }
            Origin::Tls => Kind::Usage,
            _ => self.kind(),
        }
    }

    /// The error of which this fault is the cause.
    pub fn error(self, doing: impl Into<String>) -> Error {
        Error::new(self.kind(), doing).because(self)
    }
}

/// Words of `PgBouncer`, and those of a server that it passes on.
const ABSENT: [&str; 11] = [
    "server conn crashed",
    "server login has been failing",
    "cannot connect to server",
    "client_login_timeout",
    "query_wait_timeout",
    "starting up",
    "shutting down",
    "in recovery mode",
    "not yet accepting connections",
    "too many clients",
    "too many connections",
];

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::message::{CLOSED, NO_ANSWER, UNSENDABLE};
    use super::*;

    fn server(sqlstate: &str) -> Fault {
        Fault::of(Origin::Server { sqlstate: sqlstate.to_owned(), fatal: true }, "why")
    }

    #[test]
    fn a_server_out_of_reach_is_told_from_a_statement_that_failed() {
        for sqlstate in ["08000", "08006", "53300", "57P01", "57P02", "57P03"] {
            assert_eq!(server(sqlstate).kind(), Kind::Unreachable, "{sqlstate}");
        }
        for sqlstate in ["40001", "55P03", "57014", "23505", "42501", "XX000"] {
            assert_eq!(server(sqlstate).kind(), Kind::NotCompleted, "{sqlstate}");
        }
        for (origin, kind) in [
            (Origin::Io, Kind::Unreachable),
            (Origin::Deadline, Kind::Unreachable),
            (Origin::Tls, Kind::NotCompleted),
            (Origin::Client, Kind::NotCompleted),
        ] {
            assert_eq!(Fault::of(origin.clone(), "why").kind(), kind, "{origin:?}");
        }
    }

    #[test]
    fn before_the_first_write_a_wrong_name_or_right_is_the_calls_fault() {
        for sqlstate in ["28P01", "28000", "3D000", "3F000", "42501", "42P01"] {
            assert_eq!(server(sqlstate).kind_at_start(), Kind::Usage, "{sqlstate}");
        }
        assert_eq!(Fault::of(Origin::Tls, "why").kind_at_start(), Kind::Usage);
        for sqlstate in ["08006", "53300", "57P03"] {
            assert_eq!(server(sqlstate).kind_at_start(), Kind::Unreachable, "{sqlstate}");
        }
    }

    #[test]
    fn a_pooler_refuses_a_password_in_the_way_in_which_it_misses_a_server() {
        for (text, kind) in [
            ("SASL authentication failed", Kind::Usage),
            ("password authentication failed for user \"x\"", Kind::Usage),
            ("no such database: x", Kind::Usage),
            ("bouncer config error", Kind::Usage),
            ("unsupported startup parameter: options", Kind::Usage),
            ("server login has been failing, try again later (server_login_retry)", Kind::Unreachable),
            ("client_login_timeout (server down)", Kind::Unreachable),
            ("the database system is starting up", Kind::Unreachable),
            ("sorry, too many clients already", Kind::Unreachable),
        ] {
            let fault = Fault { text: text.into(), ..server("08P01") };
            let first = Fault { at_startup: true, ..fault.clone() };
            assert_eq!(first.kind_at_start(), kind, "{text}");
            assert_eq!(first.is_of_absent_server(), kind == Kind::Unreachable, "{text}");
            assert_eq!(fault.kind_at_start(), Kind::Unreachable, "{text}, once a connection was let in");
        }
        assert!(!Fault { text: "starting up".into(), ..server("57014") }.is_of_absent_server());
    }

    #[test]
    fn what_the_driver_says_keeps_its_origin_and_loses_its_values() {
        let decode = || Box::<dyn std::error::Error + Send + Sync>::from("`a title` is no number");
        let column = sqlx::Error::ColumnDecode { index: "pageCount".into(), source: decode() };
        for (error, origin, text) in [
            (
                sqlx::Error::Io(io::ErrorKind::UnexpectedEof.into()),
                Origin::Io,
                "the server closed the connection",
            ),
            (sqlx::Error::Io(io::Error::from_raw_os_error(111)), Origin::Io, "connection refused"),
            (Overdue(std::time::Duration::from_secs(7)).into(), Origin::Deadline, "no answer within 7s"),
            (
                sqlx::Error::Io(io::Error::other("failed to lookup address information: Name not known")),
                Origin::Io,
                "unknown host: Name not known",
            ),
            (sqlx::Error::Protocol(format!("{NO_ANSWER} (tls:95)")), Origin::Io, CLOSED),
            (
                sqlx::Error::Protocol("server does not support SSL".into()),
                Origin::Tls,
                "server does not support SSL",
            ),
            (column, Origin::Client, "a value of column `pageCount` could not be decoded"),
            (sqlx::Error::Decode(decode()), Origin::Client, "a value could not be decoded"),
            (sqlx::Error::Encode(decode()), Origin::Client, "a value could not be encoded"),
            (
                sqlx::Error::Configuration("saslprep password: ProhibitedCharacter('x')".into()),
                Origin::Client,
                UNSENDABLE,
            ),
        ] {
            let fault = Fault::from(error);
            assert_eq!((&fault.origin, fault.to_string().as_str()), (&origin, text));
            assert!(!fault.at_commit);
        }
        let quoting = serde_json::from_str::<u32>(r#""a title""#).unwrap_err();
        assert!(quoting.to_string().contains("a title"));
        let text = Fault::unreadable(&quoting).to_string();
        assert_eq!(text, "an answer was not as expected, at its character 9");
    }
}
