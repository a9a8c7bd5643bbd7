//! The promises, tried from outside: the built program is driven over its sockets with literal frames.

mod support;

mod first_conversation;
mod full_disk;
mod handshake;
mod idempotency;
mod kill_points;
mod kills;
mod metrics;
mod panics;
mod postgres;
mod power_cut;
mod provider_faults;
mod real_model;
mod shutdown;
mod stop_before_commit;
mod stopping;
mod tls;
mod tool_turns;
