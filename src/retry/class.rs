//! Which failures may pass by themselves, by what the server or the connection said.

use crate::error::Error;
use crate::postgres::{Fault, Origin};

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again on a new connection.
    Transient,
    /// Try again with statements of half the size, at most twice.
    Shrink,
    /// The COMMIT may have happened: try again, the claim decides.
    Ambiguous,
    /// Trying again would fail again.
    Permanent,
}

impl Class {
    /// The word used in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Shrink => "shrink",
            Self::Ambiguous => "ambiguous",
            Self::Permanent => "permanent",
        }
    }
}

/// The class of one fault. Unknown is permanent.
pub fn classify(fault: &Fault) -> Class {
    match &fault.origin {
        // Only an ERROR says that the COMMIT did not happen, and only the server's own.
        Origin::Server { fatal: true, .. } | Origin::Io | Origin::Deadline | Origin::Tls | Origin::Client
            if fault.at_commit =>
        {
            Class::Ambiguous
        }
        Origin::Server { .. } if fault.is_protocol_violation() => of_pooler(fault),
        Origin::Server { sqlstate, .. } => classify_sqlstate(sqlstate),
        Origin::Io | Origin::Deadline => Class::Transient,
        Origin::Guard | Origin::Tls | Origin::Client => Class::Permanent,
    }
}

/// A pooler has lost the server, unless it did not let us in to begin with.
fn of_pooler(fault: &Fault) -> Class {
    match (fault.at_commit, fault.at_startup) {
        (true, _) => Class::Ambiguous,
        (_, true) => Class::Permanent,
        (false, false) => Class::Transient,
    }
}

/// PostgreSQL's appendix A, as far as an answer may be another one next time.
fn classify_sqlstate(sqlstate: &str) -> Class {
    match sqlstate {
        // serialization failure, deadlock, lock not available, object in use
        "40001" | "40P01" | "55P03" | "55006"
        // administrator or crash shutdown, starting up, idle session ended, time-outs that end the session
        | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04"
        // too many connections
        | "53300" => Class::Transient,
        // statement completion unknown, transaction resolution unknown
        "40003" | "08007" => Class::Ambiguous,
        // statement time-out, out of memory
        "57014" | "53200" => Class::Shrink,
        code if code.starts_with("08") => Class::Transient,
        _ => Class::Permanent,
    }
}

/// The class of an error: that of the fault it carries.
pub fn classify_error(error: &Error) -> Class {
    fault_of(error).map_or(Class::Permanent, classify)
}

/// The fault that an error carries, if a server or the way to it caused it.
pub fn fault_of(error: &Error) -> Option<&Fault> {
    error.cause.as_ref().and_then(|cause| cause.downcast_ref::<Fault>())
}

#[cfg(test)]
mod tests {
    use super::Class::{Ambiguous, Permanent, Shrink, Transient};
    use super::*;
    use crate::error::Kind;

    fn server(sqlstate: &str, fatal: bool) -> Fault {
        Fault::of(Origin::Server { sqlstate: sqlstate.to_owned(), fatal }, "why")
    }

    #[test]
    fn every_sqlstate_has_the_class_of_the_table() {
        for (class, sqlstates) in [
            (Transient, "40001 40P01 55P03 55006 57P01 57P02 57P03 57P05 25P03 25P04 53300"),
            (Transient, "08000 08001 08003 08004 08006"),
            (Shrink, "57014 53200"),
            (Ambiguous, "40003 08007"),
            (Permanent, "25006 3D000 53100 57P04"),
            (
                Permanent,
                "22001 22P02 23502 23503 23505 23514 28000 28P01 42501 42P01 58000 58030 XX000 XX001",
            ),
            // Neither in the table nor known.
            (Permanent, "40002 53000 53400 55000 57000 P0001 0A000 25P02 99999"),
        ] {
            for sqlstate in sqlstates.split(' ') {
                assert_eq!(classify(&server(sqlstate, false)), class, "{sqlstate}");
                assert_eq!(classify(&server(sqlstate, true)), class, "FATAL {sqlstate}");
                // An ERROR is the server's word that it did not commit; a FATAL may come after it did.
                assert_eq!(classify(&server(sqlstate, false).at_commit()), class, "{sqlstate} at COMMIT");
                assert_eq!(
                    classify(&server(sqlstate, true).at_commit()),
                    Ambiguous,
                    "FATAL {sqlstate} at COMMIT"
                );
            }
        }
    }

    #[test]
    fn a_pooler_that_has_lost_the_server_is_asked_again_and_one_that_let_nobody_in_is_not() {
        for fatal in [false, true] {
            let lost = server("08P01", fatal);
            assert_eq!(classify(&lost), Transient);
            assert_eq!(classify(&lost.clone().at_commit()), Ambiguous);
            let mut first = lost;
            first.at_startup = true;
            assert_eq!(classify(&first), Permanent);
        }
    }

    #[test]
    fn what_no_server_answered_has_the_class_of_its_origin_unless_it_was_the_commit() {
        for (class, origin) in [
            (Transient, Origin::Io),
            (Transient, Origin::Deadline),
            (Permanent, Origin::Tls),
            (Permanent, Origin::Client),
        ] {
            let fault = Fault::of(origin.clone(), "why");
            assert_eq!(classify(&fault), class, "{origin:?}");
            assert_eq!(classify(&fault.at_commit()), Ambiguous, "{origin:?} at COMMIT");
        }
    }

    #[test]
    fn what_a_check_at_the_server_stops_is_not_committed_and_not_tried_again() {
        let stopped = Fault::of(Origin::Guard, "why");
        assert_eq!(classify(&stopped), Permanent);
        assert_eq!(classify(&stopped.at_commit()), Permanent);
    }

    #[test]
    fn an_error_without_a_fault_is_permanent() {
        let refused = Error::new(Kind::NotCompleted, "no");
        assert_eq!(classify_error(&refused), Permanent);
        assert_eq!(classify_error(&refused.because(server("40001", false))), Transient);
    }
}
