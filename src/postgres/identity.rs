//! Which database this is, whatever name it goes by.

use serde::{Deserialize, Serialize};

/// A database of a server: a dump restored elsewhere has another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Given to a cluster by initdb, shared by its physical copies.
    pub system_identifier: String,
    /// The database's oid within the cluster.
    pub database_oid: i64,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.system_identifier, self.database_oid)
    }
}
