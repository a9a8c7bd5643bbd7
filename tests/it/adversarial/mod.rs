//! Cases that broke others, by their numbers.

mod bytes;
mod channels;
mod claims;
mod hosts;
mod origins;
mod scene;
mod secrets;
mod strangers;
mod tenants;
