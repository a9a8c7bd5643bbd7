//! Cases that broke others, by their numbers.

mod acts;
mod aliases;
mod approvals;
mod bodies;
mod bytes;
mod channels;
mod claims;
mod configuration;
mod guesses;
mod hosts;
mod origins;
mod scene;
mod secrets;
mod socketio;
mod strangers;
mod tenants;
mod tokens;
mod tools;
