//! The native door, `/ws`: requests, subscriptions, events. See `docs/PROTOCOL.md`.

mod encode;
mod methods;
mod publish;
mod replies;
mod sound;

pub use encode::{Native, error_frame, pong, published, response_error, response_raw};
pub use methods::{Limits, attachments, content, decode, field_error, once, session, tags};
pub(super) use methods::{bounded, named};
pub use publish::{PlainPublish, plain_publish};
pub use replies::result;
pub use sound::sound;
