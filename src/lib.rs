//! Switchboard: a self-hosted, actor-based real-time hub for AI agents.

pub mod domain;
pub mod error;
pub mod providers;
pub mod tools;
