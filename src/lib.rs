//! Switchboard: a self-hosted, actor-based real-time hub for AI agents.

pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod doors;
pub mod error;
pub mod providers;
pub mod tools;
