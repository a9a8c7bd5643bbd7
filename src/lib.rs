//! Switchboard: a self-hosted, actor-based real-time hub for AI agents.
pub mod framing;
pub mod transport;
