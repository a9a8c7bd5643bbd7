//! Socket.IO: its wire by literal packets, and the official client.

pub mod raw;

mod doors;
mod namespaces;
mod recovery;
mod stock;
mod transports;
