//! The promises, tried from outside: the built program is driven over its sockets with literal frames.

#[path = "../edge/signers.rs"]
mod signers;
mod support;

mod administration;
mod adversarial;
mod approvals;
mod bad_frames;
mod doors;
mod fan_out;
mod first_conversation;
mod full_disk;
mod handshake;
mod idempotency;
mod kill_points;
mod kills;
mod limits;
mod live_settings;
mod matrix;
mod metrics;
mod neighbours;
mod organizations;
mod panics;
mod postgres;
mod power_cut;
mod presence;
mod provider_faults;
mod publishing;
mod real_model;
mod rest;
mod resume;
mod revocation;
mod shutdown;
mod slow_readers;
mod socketio;
mod stop_before_commit;
mod stopping;
mod subscribing;
mod tls;
mod tool_turns;
mod walk;
mod wider_channels;
