//! The edge of the hub, driven from outside: the built program, its command line, its first start, its credentials.

mod accounts;
mod answers;
mod bodies;
mod command_line;
mod configuration;
mod credentials;
mod first_start;
mod foreign_sessions;
mod http;
mod hub;
mod issuers;
#[path = "../support/ledger.rs"]
mod ledger;
mod passwords;
mod signers;
mod tuning;
