//! What each packet of a client means to its session, and how it is answered.

use actix::prelude::*;
use protocol::frames as wf;

use super::errand::{Asked, Done, Errand};
use super::session::{RESTART, SessionActor};
use super::space::{Auth, Joined, join, refusal};
use crate::domain::command::Command;
use crate::doors::socketio::{Ask, NAMESPACES, Namespace};
use crate::error::{Code, Fault, close};
use crate::framing::socketio as wire;
use crate::limits::Via;
use crate::transport::Close;

/// What the stock server says of a namespace that there is not.
const INVALID_NAMESPACE: &str = r#"{"message":"Invalid namespace"}"#;

/// The longest name of a namespace that is shown again, in bytes.
const NAMESPACE_BYTES: usize = 128;

impl SessionActor {
    /// Reads one packet of Engine.IO.
    pub(super) fn packet(&mut self, text: String, context: &mut Context<Self>) {
        let read = wire::engine(text).and_then(|packet| match packet {
            wire::Engine::Message(message) => wire::packet(message).map(Some),
            wire::Engine::Close => {
                self.end(RESTART, true);
                Ok(None)
            }
            wire::Engine::Binary => {
                self.attachment();
                Ok(None)
            }
            wire::Engine::Pong | wire::Engine::Noop => Ok(None),
            wire::Engine::Probe | wire::Engine::Upgrade => Err(wire::Broken("nothing is being upgraded here".into())),
        });
        match read {
            Ok(Some(packet)) => self.message(packet, context),
            Ok(None) => {}
            Err(broken) => self.complain(&Fault::new(Code::BadRequest, broken.to_string())),
        }
    }

    fn message(&mut self, packet: wire::Packet, context: &mut Context<Self>) {
        match packet {
            wire::Packet::Connect { namespace, auth } => self.connect(&namespace, auth.as_deref(), context),
            wire::Packet::Disconnect { namespace } => {
                if let Some(index) = self.space_of(&namespace) {
                    self.leave(index, false);
                }
            }
            wire::Packet::Event { namespace, ack, arguments, attachments } => {
                self.attachments = self.attachments.saturating_add(attachments);
                let Some(index) = self.space_of(&namespace) else { return self.unconnected(&namespace) };
                // Its end is told in its turn.
                if !self.spaces[index].queue.reader.is_open() {
                    return;
                }
                if attachments > 0 {
                    let fault = Fault::new(Code::BadRequest, "binary attachments are not understood here: send JSON");
                    let asked = Asked { event: name_of(&arguments), data: None, ack, holds: false };
                    return self.refuse(index, &asked, None, &fault);
                }
                self.event(index, ack, &arguments, context);
            }
            // The hub asks for no answers.
            wire::Packet::Ack { attachments, .. } => self.attachments = self.attachments.saturating_add(attachments),
        }
    }

    /// A binary packet: of an event that was refused because of it, or of nothing.
    pub(super) fn attachment(&mut self) {
        match self.attachments.checked_sub(1) {
            Some(left) => self.attachments = left,
            None => self.complain(&Fault::new(Code::BadRequest, "a binary packet that belongs to no event")),
        }
    }

    /// Tells what is wrong with something that belongs to no namespace. Where there is none, there is nobody to tell.
    pub(super) fn complain(&mut self, fault: &Fault) {
        match self.spaces.first().map(|space| space.namespace) {
            Some(namespace) => namespace.refused("", None, None, fault).into_iter().for_each(|frame| self.say(frame)),
            None => self.end(Close::new(close::PROTOCOL, "not understood"), false),
        }
    }

    fn space_of(&self, path: &str) -> Option<usize> {
        self.spaces.iter().position(|space| space.namespace.path() == path)
    }

    fn unconnected(&mut self, path: &str) {
        match NAMESPACES.iter().any(|namespace| namespace.path() == path) {
            true => self.say(wire::refused(path, &refusal(&Fault::new(Code::BadRequest, "connect first")))),
            false => self.invalid(path),
        }
    }

    fn invalid(&mut self, path: &str) {
        match path.len() <= NAMESPACE_BYTES {
            true => self.say(wire::refused(path, INVALID_NAMESPACE)),
            false => self.complain(&Fault::new(Code::BadRequest, "there is no such namespace")),
        }
    }

    fn connect(&mut self, path: &str, auth: Option<&str>, context: &mut Context<Self>) {
        let Some(namespace) = NAMESPACES.iter().copied().find(|namespace| namespace.path() == path) else {
            return self.invalid(path);
        };
        if self.space_of(path).is_some() {
            return self.complain(&Fault::new(Code::BadRequest, "the namespace is connected already"));
        }
        let auth = match Auth::read(auth) {
            Ok(auth) => auth,
            Err(fault) => return self.say(wire::refused(path, &refusal(&fault))),
        };
        let places =
            self.spaces.iter().map(|space| (space.caller.principal.clone(), space.place.clone())).collect::<Vec<_>>();
        self.connecting = true;
        let joining = join(self.kit.clone(), self.visitor.clone(), namespace, auth, places);
        context.spawn(joining.into_actor(self).map(move |joined, actor, context| {
            actor.connecting = false;
            actor.joined(namespace, joined, context);
            actor.nudge();
        }));
    }

    fn joined(&mut self, namespace: &dyn Namespace, joined: Result<Joined, Fault>, context: &mut Context<Self>) {
        if self.over {
            return;
        }
        let Joined { space, first } = match joined {
            Ok(joined) => joined,
            // After a CONNECT_ERROR the stock client would not come again by itself.
            Err(fault) if matches!(fault.code, Code::Unavailable | Code::Internal) => {
                tracing::warn!(%fault, "nobody can connect to a namespace now");
                return self.end(RESTART, true);
            }
            Err(fault) => return self.say(wire::refused(namespace.path(), &refusal(&fault))),
        };
        self.kit.parking.begins(space.pid.clone(), context.address());
        self.say(wire::connected(namespace.path(), &space.sid, &space.pid));
        self.spaces.push(space);
        first.into_iter().for_each(|frame| self.say(frame));
        self.connected();
    }

    fn event(&mut self, index: usize, ack: Option<i64>, arguments: &str, context: &mut Context<Self>) {
        let kit = self.kit.connection.clone();
        let space = &mut self.spaces[index];
        let (namespace, connection) = (space.namespace, space.queue.reader.id().0);
        let caller = space.next_caller();
        let event = match wire::event(arguments) {
            Ok(event) => event,
            Err(broken) => {
                let asked = Asked { event: String::new(), data: None, ack, holds: false };
                return self.refuse(index, &asked, None, &Fault::new(Code::BadRequest, broken.to_string()));
            }
        };
        let mut asked =
            Asked { event: event.name.into_owned(), data: event.data.map(ToOwned::to_owned), ack, holds: false };
        let decoded = namespace.decode(&asked.event, event.data, kit.settings.message_bytes);
        let decoded = decoded.and_then(|ask| {
            if is_message(&ask) {
                kit.limits.message(&caller.principal, Via::Socket)?;
            }
            Ok(ask)
        });
        let ask = match decoded {
            Ok(ask) => ask,
            Err(fault) => return self.refuse(index, &asked, None, &fault),
        };
        asked.holds = matches!(ask, Ask::Send { .. });
        space.held += usize::from(asked.holds);
        self.underway += 1;
        let errand = Errand { kit, namespace, caller, connection, ask };
        // It goes on, though the session may end: what was sent is sent.
        let done = actix_rt::spawn(Box::pin(errand.run()));
        context.spawn(done.into_actor(self).map(move |done, actor, _| {
            actor.underway -= 1;
            let failed = || Err(Fault::plain(Code::Internal));
            let fell_over = |_| Done { conversation: None, named: None, watched: false, result: failed() };
            actor.answer(connection, &asked, done.unwrap_or_else(fell_over));
            actor.nudge();
        }));
    }

    /// Answers an event, unless its namespace is gone by now.
    fn answer(&mut self, connection: u64, asked: &Asked, done: Done) {
        let Some(index) = self.spaces.iter().position(|space| space.queue.reader.id().0 == connection) else { return };
        let workers = self.kit.connection.workers.clone();
        let space = &mut self.spaces[index];
        space.held -= usize::from(asked.holds);
        if let Some(found) = &done.conversation {
            space.call(found.id, found.alias.clone());
        }
        let reply = match done.result {
            Ok(reply) => reply,
            Err(fault) => return self.refuse(index, asked, done.named.as_deref(), &fault),
        };
        let namespace = space.namespace;
        self.acknowledge(index, asked, done.named.as_deref(), None);
        if done.watched && namespace.heard(&asked.event, &reply) {
            return;
        }
        let frames = namespace.answered(&asked.event, asked.data.as_deref(), done.named.as_deref(), &reply);
        if asked.holds {
            return frames.into_iter().for_each(|frame| self.say(frame));
        }
        // Behind what was told before the answer was given.
        workers.read_now();
        let reader = &self.spaces[index].queue.reader;
        for frame in &frames {
            reader.push(frame);
        }
    }

    fn refuse(&mut self, index: usize, asked: &Asked, named: Option<&str>, fault: &Fault) {
        self.acknowledge(index, asked, named, Some(fault));
        let namespace = self.spaces[index].namespace;
        let frames = namespace.refused(&asked.event, asked.data.as_deref(), named, fault);
        frames.into_iter().for_each(|frame| self.say(frame));
    }

    /// Tells that an event is accepted, or that it is not, where its sender asked for that.
    fn acknowledge(&mut self, index: usize, asked: &Asked, named: Option<&str>, fault: Option<&Fault>) {
        let Some(id) = asked.ack else { return };
        let mut told = serde_json::json!({ "ok": fault.is_none() });
        if let Some(named) = named {
            told["conversationId"] = named.into();
        }
        if let Some(fault) = fault {
            let error = wf::ErrorBody {
                code: fault.code.name().to_owned(),
                message: fault.message.clone(),
                details: fault.details.clone(),
            };
            told["error"] = serde_json::to_value(error).unwrap_or_default();
        }
        let path = self.spaces[index].namespace.path();
        self.say(wire::acknowledged(path, id, &told.to_string()));
    }
}

/// Whether it begins a turn: those are counted.
fn is_message(ask: &Ask) -> bool {
    match ask {
        Ask::Send { .. } => true,
        Ask::Session { command, .. } | Ask::Hub(Command::Session(_, command)) => command.asks_model(),
        Ask::Hub(_) => false,
    }
}

/// The name of an event that is refused for another reason, if it has one.
fn name_of(arguments: &str) -> String {
    wire::event(arguments).map(|event| event.name.into_owned()).unwrap_or_default()
}
