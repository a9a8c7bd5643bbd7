//! Switchboard: a self-hosted, actor-based real-time hub for AI agents.

pub mod domain;
pub mod doors;
pub mod error;
pub mod fanout;
pub mod framing;
pub mod providers;
pub mod store;
pub mod transport;
