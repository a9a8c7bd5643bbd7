//! Switchboard: a self-hosted, actor-based real-time hub for AI agents.

pub mod actors;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod doors;
pub mod error;
pub mod failpoint;
pub mod fanout;
pub mod framing;
pub mod http;
pub mod limits;
pub mod providers;
pub mod skills;
pub mod store;
pub mod telemetry;
pub mod tools;
pub mod transport;
pub mod tuning;
