//! What the driver and SeaORM report, as a fault.

use sea_orm::{DbErr, RuntimeErr};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::{Fault, Origin, Overdue};
use crate::postgres::effect::{Effects, TOO_MUCH};
use crate::postgres::message::{
    CLOSED, NO_ANSWER, UNSENDABLE, function_of, text_of, text_of_io, text_of_tls,
};
use crate::postgres::same_table::says_replaced;
use crate::postgres::settings::unlike;

impl Fault {
    fn of_server(error: &PgDatabaseError) -> Self {
        if let Some(text) = guarded(error) {
            return Self::of(Origin::Guard, text);
        }
        let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        let measured = (error.code() == TOO_MUCH).then(|| Effects::from_json(error.message()).ok()).flatten();
        let text = match &measured {
            Some(_) => "the transaction did more than it may".into(),
            None => text_of(error),
        };
        Self {
            effects: measured.map(Box::new),
            function: function_of(error).map(str::to_owned),
            ..Self::of(Origin::Server { sqlstate: error.code().to_owned(), fatal }, text)
        }
    }
}

/// What a check of ours found, which is an unknown setting to the server.
fn guarded(error: &PgDatabaseError) -> Option<String> {
    if error.code() != "42704" {
        return None;
    }
    if says_replaced(error.message()) {
        return Some("the book table was replaced by another table or view meanwhile".into());
    }
    unlike(error.message())
        .map(|names| format!("the server's session has another value than a sync needs for {names}"))
}

impl From<&sqlx::Error> for Fault {
    fn from(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(answer) => match answer.try_downcast_ref::<PgDatabaseError>() {
                Some(answer) => Self::of_server(answer),
                None => Self::client("an answer that is not PostgreSQL's"),
            },
            // What a peer presents in vain, such as a certificate for another name, arrives as bad data.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::of(Origin::Tls, text_of_tls(&error.to_string()))
            }
            sqlx::Error::Io(error) => {
                let ours = error.get_ref();
                if let Some(fault) = ours.and_then(|error| error.downcast_ref::<Self>()) {
                    return fault.clone();
                }
                match ours.and_then(|error| error.downcast_ref()) {
                    Some(Overdue(waited)) => Self::deadline(*waited),
                    None => Self::of(Origin::Io, text_of_io(error)),
                }
            }
            sqlx::Error::Configuration(error) if error.to_string().contains("saslprep") => {
                Self::client(UNSENDABLE)
            }
            // The other options that can be wrong at a connection are files with keys.
            sqlx::Error::Tls(error) | sqlx::Error::Configuration(error) => {
                Self::of(Origin::Tls, text_of_tls(&error.to_string()))
            }
            sqlx::Error::Protocol(text) if text.starts_with(NO_ANSWER) => Self::of(Origin::Io, CLOSED),
            sqlx::Error::Protocol(text) if text.contains("SSL") || text.contains("TLS") => {
                Self::of(Origin::Tls, text)
            }
            // Decoding errors quote the value; only the column is passed on.
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::client(format!("a value of column `{index}` could not be decoded"))
            }
            sqlx::Error::Decode(_) => Self::client("a value could not be decoded"),
            sqlx::Error::Encode(_) => Self::client("a value could not be encoded"),
            other => Self::client(other.to_string()),
        }
    }
}

const NO_CONNECTION: &str = "no connection was to be had in time";

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Conn(RuntimeErr::SqlxError(inner))
            | DbErr::Exec(RuntimeErr::SqlxError(inner))
            | DbErr::Query(RuntimeErr::SqlxError(inner)) => Self::from(inner.as_ref()),
            DbErr::Custom(text) | DbErr::Exec(RuntimeErr::Internal(text)) => Self::client(text),
            DbErr::ConnectionAcquire(_) => Self::of(Origin::Deadline, NO_CONNECTION),
            DbErr::Type(_) | DbErr::TryIntoErr { .. } => Self::client("a value could not be decoded"),
            other => Self::client(other.to_string()),
        }
    }
}
