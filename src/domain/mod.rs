//! The model of the hub: pure, without actors, I/O or a clock of its own.

pub mod account;
pub mod act;
pub mod admin;
pub mod agent;
pub mod alias;
pub mod approval;
pub mod approval_rule;
pub mod canonical;
pub mod channel;
pub mod command;
pub mod conversation;
pub mod event;
pub mod generation;
pub mod hub;
pub mod ids;
pub mod message;
pub mod policy;
pub mod principal;
pub mod record;
pub mod session_info;
pub mod settings;
pub mod spending;
pub mod tool_call;
pub mod tool_policy;
pub mod turn;
pub mod usage;
