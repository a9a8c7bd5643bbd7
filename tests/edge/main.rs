//! The edge of the hub, driven from outside: the built program, its command line, its first start, its credentials.

mod accounts;
mod command_line;
mod configuration;
mod credentials;
mod first_start;
mod http;
mod hub;
