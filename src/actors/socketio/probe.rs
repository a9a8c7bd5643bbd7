//! From polls to a socket: it comes with the session's sid, asks whether it reaches the session, and takes over.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use actix::prelude::*;
use tokio::time::Instant;

use super::line::{Incoming, Line, poll_socket};
use super::session::{ALONE, ENDED, Letter, SessionActor};
use crate::framing::{Frame, socketio as wire};
use crate::transport::Socket;

thread_local! {
    /// Sockets between their opener and their session: they cannot be in a letter.
    static ARRIVED: RefCell<ahash::AHashMap<u64, Socket>> = RefCell::default();
}

/// Gives a socket that has come to this worker to its session.
pub fn hand_over(session: &Addr<SessionActor>, socket: Socket) {
    let id = socket.outbound.id().0;
    if !session.connected() {
        socket.outbound.close(ENDED);
        return;
    }
    ARRIVED.with_borrow_mut(|arrived| arrived.insert(id, socket));
    session.do_send(Letter::Socket(id));
}

/// A socket that may take the place of the polls.
pub(super) struct Probe {
    pub socket: Socket,
    /// The client has asked whether it reaches the session.
    pub asked: bool,
    pub until: Instant,
}

impl SessionActor {
    /// A socket has come. One at a time is tried, and none where there is one.
    pub(super) fn arrived(&mut self, id: u64) {
        let Some(socket) = ARRIVED.with_borrow_mut(|arrived| arrived.remove(&id)) else { return };
        if self.over || !self.line.is_polled() || self.probe.is_some() {
            socket.outbound.close(ENDED);
            return;
        }
        self.probe = Some(Probe { socket, asked: false, until: Instant::now() + ALONE });
    }

    pub(super) fn read_probe(&mut self, task: &mut Context<'_>) {
        while let Some(probe) = &mut self.probe {
            let Poll::Ready(incoming) = poll_socket(&mut probe.socket, task) else { return };
            let packet = match incoming {
                Incoming::Text(text) => wire::engine(text).ok(),
                Incoming::Control => continue,
                _ => None,
            };
            match packet {
                Some(wire::Engine::Probe) if !probe.asked => {
                    probe.asked = true;
                    probe.socket.outbound.push(&Frame::text(wire::PROBED));
                }
                Some(wire::Engine::Upgrade) if probe.asked => return self.upgrade(),
                _ => {
                    if let Some(probe) = self.probe.take() {
                        probe.socket.outbound.close(ENDED);
                    }
                }
            }
        }
    }

    /// From here on the socket is the transport.
    fn upgrade(&mut self) {
        let Some(probe) = self.probe.take() else { return };
        if let Line::Polled(polling) = &mut self.line {
            // The client waits for its last poll before it asks for this: there is none but of somebody who does not.
            polling.add(wire::NOOP);
            polling.flush();
        }
        self.state.has_socket.store(true, Ordering::Relaxed);
        self.line = Line::Socket(probe.socket);
        self.nudge();
    }
}
