//! The providers, against servers that say exactly what a test wants, and against real ones.

#[path = "support/mock_http.rs"]
mod mock_http;

#[path = "support/peer.rs"]
mod peer;

#[path = "providers/kit.rs"]
mod kit;

#[path = "providers/anthropic_wire.rs"]
mod anthropic_wire;
#[path = "providers/cancelling.rs"]
mod cancelling;
#[path = "providers/demo.rs"]
mod demo;
#[path = "providers/hostile.rs"]
mod hostile;
#[path = "providers/openai_wire.rs"]
mod openai_wire;
#[path = "providers/peers.rs"]
mod peers;
#[path = "providers/recorded.rs"]
mod recorded;
#[path = "providers/settings.rs"]
mod settings;
