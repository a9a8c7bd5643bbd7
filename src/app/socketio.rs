//! Sockets of Socket.IO at the door: a session of their own, or one that was polled until now.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::watch::confirm;
use crate::actors::connection::ConnectionKit;
use crate::actors::socketio::{EngineKit, Sessions};
use crate::auth::{Authenticator, Head};
use crate::doors::engine::{Misuse, Transport, wanted};
use crate::error::Fault;
use crate::http::socketio::{visitor_of_socket, vouch};
use crate::transport::{Opener, Refusal, SocketLimits};

/// What sessions of one worker share.
pub fn kit(
    connection: Rc<ConnectionKit>,
    sessions: Sessions,
    auth: &Arc<Authenticator>,
    limits: SocketLimits,
) -> Rc<EngineKit> {
    let (known, budgets) = (auth.clone(), connection.limits.clone());
    let vouch = Rc::new(move |visitor, token| vouch(&known, &budgets, visitor, token));
    EngineKit::new(connection, sessions, (vouch, confirm(auth)), limits)
}

/// Why there is no socket.
pub enum Refused {
    Misused(Misuse),
    Fault(Fault),
}

impl Refused {
    /// The answer of the stock server.
    pub fn misuse(what: Misuse) -> Refusal {
        Refusal { status: 400, body: Bytes::from(what.json()), headers: Vec::new() }
    }
}

/// What opens the socket, if it may be opened.
pub async fn admit(
    kit: &Rc<EngineKit>,
    auth: &Authenticator,
    head: &Head<'_>,
    who: (std::net::SocketAddr, &str),
) -> Result<Opener, Refused> {
    let wanted = wanted(head.query).map_err(Refused::Misused)?;
    if wanted.transport != Transport::WebSocket {
        return Err(Refused::Misused(Misuse::BadRequest));
    }
    let visitor = visitor_of_socket(auth, &kit.connection.limits, head, who).await.map_err(Refused::Fault)?;
    kit.opener(visitor, wanted.sid.as_deref()).map_err(Refused::Misused)
}
