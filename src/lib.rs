//! Switchboard: a self-hosted, actor-based real-time hub for AI agents.

pub mod domain;
pub mod doors;
pub mod error;
pub mod framing;
pub mod transport;
