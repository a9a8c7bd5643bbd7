//! The transport over real loopback sockets: literal bytes in, literal bytes out.

mod support;

mod closing;
mod framing;
mod handshake;
mod limits;
mod slow;
mod tls;
