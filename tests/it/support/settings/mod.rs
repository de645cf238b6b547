//! Settings of servers, databases and roles: what each of them does to a sync is decided once, in [`table`], and shown on a
//! pair of servers.

pub(crate) mod decided;
pub(crate) mod hostile;
pub(crate) mod pair;
pub(crate) mod table;
