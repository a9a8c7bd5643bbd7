//! Sockets: who may connect, WebSocket framing, TLS, bounded outgoing queues, closing. Knows nothing
//! of doors, users or actors.
//!
//! A connection comes in through `accept` past the gate, speaks HTTP with actix-web's `App`
//! or asks for an upgrade; a [`Doorkeeper`] decides, the 101 goes out, the HTTP dispatcher is freed,
//! and a [`Socket`] is what remains: an [`InboundStream`] for one reader and an `Rc<`[`Outbound`]`>`
//! for whoever has something to say on that worker.
//!
//! Three things poll a socket: its reader polls the stream; the worker's flusher writes all that was
//! pushed in a tick, one write per socket; a task for each blocked or closing socket does the rest,
//! so that a reader that waits for something else never leaves a socket stuck.

mod accept;
mod blocked;
mod body;
mod counters;
mod decoder;
#[cfg(test)]
mod decoder_tests;
mod guard;
mod heartbeat;
mod inbound;
mod outbound;
mod patience;
mod reader;
mod server;
mod service;
mod settings;
mod stream;
mod upgrade;
mod worker;

pub use accept::LocalAddress;
pub use counters::{Counters, OpenConnections, Reading};
pub use inbound::{Inbound, InboundStream};
pub use outbound::{Outbound, Pushed};
pub use reader::{Heard, Reader};
pub use server::{Handle, RunningServer, serve};
pub use settings::{Close, ConnectionId, ServerSettings, SocketLimits};
pub use upgrade::{Admitted, Doorkeeper, Opener, Refusal, Socket, UpgradeRequest};
pub use worker::{Drained, current_worker, on_drained, with_connection};
