//! The promises, tried from outside: the built program is driven over its sockets with literal frames.

mod support;

mod first_conversation;
mod handshake;
mod idempotency;
mod kill_points;
mod kills;
mod metrics;
mod panics;
mod provider_faults;
mod real_model;
mod stopping;
mod tls;
mod tool_turns;
