//! The two servers: a [`Source`] that can only be read, a [`Target`] that is written through [`Tx`], and what goes
//! wrong with either as a [`Fault`].

mod connect;
pub mod effects;
mod fault;
pub mod fingerprint;
mod heartbeat;
mod identity;
mod message;
mod nodelay;
mod opening;
mod quote;
mod room;
mod same_table;
pub mod settings;
mod source;
mod target;
mod traffic;
mod tx;
mod waiting;

pub use connect::Server;
pub use effects::{Effect, Effects};
pub use fault::{Fault, Origin};
pub use fingerprint::Fingerprint;
pub use heartbeat::Limit;
pub use identity::Identity;
pub(crate) use message::name_of_stranger;
pub use quote::{identifier, literal};
pub use source::{Source, SourceTx};
pub use target::Target;
pub use traffic::Traffic;
pub use tx::Tx;
pub use waiting::{Listener, Waiting};
