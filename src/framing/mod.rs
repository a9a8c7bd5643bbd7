//! Bytes to messages and back: how a door's messages are cut into frames. Imports nothing of ours.
pub mod plain;
pub mod socketio;
pub mod sse;

pub use plain::Frame;
