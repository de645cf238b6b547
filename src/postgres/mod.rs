//! The two servers: a [`Source`] that can only be read, a [`Target`] that is written through [`Tx`], and what goes
//! wrong with either as a [`Fault`].

pub mod awaited;
mod connect;
pub mod effect;
pub mod effects;
mod fault;
pub mod fingerprint;
mod heartbeat;
mod identity;
pub mod limit;
mod message;
mod mutex;
mod nodelay;
mod opening;
mod pool_check;
pub(crate) mod query;
mod same_table;
pub mod settings;
mod source;
mod target;
mod traffic;
mod tx;
mod waiting;

pub use crate::quote::{identifier, literal};
pub use awaited::{Listener, Waiting};
pub use connect::Server;
pub use effect::{Effect, Effects};
pub use fault::{Fault, Origin};
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use limit::Limit;
pub(crate) use message::name_of_stranger;
pub use source::{SizedBook, Source, SourceTx};
pub use target::Target;
pub use traffic::Traffic;
pub use tx::Tx;
