//! How much of the hub anybody may use: what is above a limit is refused in words, and nobody else notices.

mod bodies;
mod connections;
pub mod raw;
mod requests;
mod sockets;
mod spending;
