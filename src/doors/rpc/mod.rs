//! The native door, `/ws`: requests, subscriptions, events. See `docs/PROTOCOL.md`.

mod encode;
mod methods;
mod replies;
mod sound;

pub use encode::{Native, error_frame, pong, response_error, response_raw};
pub use methods::{Limits, attachments, content, decode, field_error, once};
pub use replies::result;
pub use sound::sound;
