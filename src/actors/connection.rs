//! A native connection: what comes in becomes commands; what goes out it never touches but to answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use protocol::{frames as wf, methods as wm};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::HubSettings;
use crate::domain::channel::{Channel, Position};
use crate::domain::command::{ApprovalRef, Caller, Command, NewMessage, Reply, SessionCommand};
use crate::domain::hub::{Hub, Listen};
use crate::domain::ids::{ApprovalId, ConversationId, Source, SystemSource};
use crate::doors::gateway::flat_error;
use crate::doors::{FLAT, NATIVE, rpc};
use crate::error::{Code, Fault, close};
use crate::fanout::{self, Workers};
use crate::framing::Frame;
use crate::transport::{Close, Inbound, Outbound, Socket};

/// The longest id of a request, in bytes.
const ID_BYTES: usize = 128;

/// Channels that one frame may name.
const CHANNELS_PER_FRAME: usize = 1000;

/// The session that the flat form talks in when it names none.
const FLAT_CHANNEL: &str = "websocket";

/// What connections of one worker share.
pub struct ConnectionKit {
    pub hub: Rc<dyn Hub>,
    pub workers: Workers,
    pub settings: Arc<HubSettings>,
}

pub struct ConnectionActor {
    kit: Rc<ConnectionKit>,
    caller: Caller,
    outbound: Rc<Outbound>,
    /// Made with the first request: most connections only listen.
    permits: Option<Arc<Semaphore>>,
    requests: u64,
}

/// The kind of a frame and its id, before anything else is looked at.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RequestFrame<'a> {
    id: String,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PublishFrame<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    id: Option<String>,
}

impl ConnectionActor {
    /// Gives a new socket its actor. `caller.request_id` is the handshake's.
    pub fn open(kit: Rc<ConnectionKit>, caller: Caller, socket: Socket) {
        let Socket { outbound, inbound } = socket;
        Self::create(|context| {
            context.add_stream(inbound);
            Self { kit, caller, outbound, permits: None, requests: 0 }
        });
    }

    /// The caller of the next request: same principal, an id of its own within the connection.
    fn next_caller(&mut self) -> Caller {
        self.requests += 1;
        let mut caller = self.caller.clone();
        caller.request_id = format!("{}-{}", caller.request_id, self.requests);
        caller
    }

    fn push(&self, frame: &Frame) {
        self.outbound.push(frame);
    }

    fn refuse(&self, fault: &Fault, id: Option<&str>) {
        self.push(&rpc::error_frame(fault, None, id));
    }

    fn text(&mut self, text: &str, context: &mut Context<Self>) {
        let envelope: Envelope<'_> = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(error) => {
                let fault = Fault::new(Code::BadRequest, format!("not a JSON object of this protocol: {error}"));
                return self.refuse(&fault, None);
            }
        };
        let id = envelope.id.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let Some(kind) = envelope.r#type else {
            return self.refuse(&Fault::field("type", "is missing"), id.as_deref());
        };
        let done = match &*kind {
            "publish" => self.publish(text),
            "request" => self.request(text, context),
            "subscribe" => self.subscribe(text, context),
            "unsubscribe" => self.unsubscribe(text),
            "ping" => {
                self.push(&rpc::pong());
                Ok(())
            }
            "message" => return self.flat_message(text, context),
            "approval_response" => return self.flat_approval(text, context),
            other => {
                let shown: String = other.chars().take(64).collect();
                Err(Fault::field("type", format!("no such frame: {shown}")))
            }
        };
        if let Err(fault) = done {
            match (&*kind, &id) {
                ("request", Some(id)) if id.len() <= ID_BYTES => self.push(&rpc::response_error(id, &fault)),
                _ => self.refuse(&fault, id.as_deref()),
            }
        }
    }

    /// Waits, without reading, where too many requests are under way; gives the place of the next one.
    fn permit(&mut self, context: &mut Context<Self>) -> Arc<Semaphore> {
        let limit = self.kit.settings.requests_in_flight;
        let permits = self.permits.get_or_insert_with(|| Arc::new(Semaphore::new(limit))).clone();
        if permits.available_permits() == 0 {
            let free = permits.clone();
            let wait = async move { drop(free.acquire().await) };
            context.wait(wait.into_actor(self));
        }
        permits
    }

    /// Runs a request beside the actor. First polls keep the order of arrival.
    fn run(&mut self, context: &mut Context<Self>, work: impl Future<Output = Vec<Frame>> + 'static) {
        let permits = self.permit(context);
        let permit: Option<OwnedSemaphorePermit> = permits.clone().try_acquire_owned().ok();
        let (outbound, workers) = (self.outbound.clone(), self.kit.workers.clone());
        actix_rt::spawn(async move {
            let _permit = match permit {
                Some(permit) => Some(permit),
                None => permits.acquire_owned().await.ok(),
            };
            let frames = work.await;
            // What was told before the answer was given is delivered before it.
            workers.read_now();
            for frame in &frames {
                outbound.push(frame);
            }
        });
    }

    fn request(&mut self, text: &str, context: &mut Context<Self>) -> Result<(), Fault> {
        let frame: RequestFrame<'_> = parse(text)?;
        checked_id(&frame.id)?;
        let limits = rpc::Limits { message_bytes: self.kit.settings.message_bytes };
        let command = rpc::decode(&frame.method, frame.params.map(RawValue::get), limits)?;
        let caller = self.next_caller();
        let answer = self.kit.hub.call(caller, command);
        let id = frame.id;
        self.run(context, async move {
            vec![match answer.await {
                Ok(reply) => rpc::response_raw(&id, |out| rpc::result(out, &reply)),
                Err(fault) => rpc::response_error(&id, &fault),
            }]
        });
        Ok(())
    }

    fn publish(&mut self, text: &str) -> Result<(), Fault> {
        let frame: PublishFrame<'_> = parse(text)?;
        if let Some(id) = &frame.id {
            checked_id(id)?;
        }
        let data: Arc<str> = frame.data.map_or("null", RawValue::get).into();
        let published = self.kit.hub.publish(&self.caller, &frame.channel, &frame.event, data, frame.id.is_some())?;
        if let (Some(position), Some(id)) = (published, frame.id) {
            let outbound = self.outbound.clone();
            actix_rt::spawn(async move {
                outbound.push(&match position.await {
                    Ok(Position { epoch, seq }) => rpc::response_raw(&id, |out| {
                        out.extend_from_slice(format!("{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}").as_bytes());
                    }),
                    Err(fault) => rpc::response_error(&id, &fault),
                });
            });
        }
        Ok(())
    }

    fn subscribe(&mut self, text: &str, context: &mut Context<Self>) -> Result<(), Fault> {
        let frame: wf::Subscribe = parse(text)?;
        check_subscription(frame.id.as_deref(), &frame.channels)?;
        let greeted = frame.id.is_some() || frame.since.is_some();
        let (hub, caller, outbound) = (self.kit.hub.clone(), self.next_caller(), self.outbound.clone());
        let (workers, limit) = (self.kit.workers.clone(), self.kit.settings.subscriptions);
        let connection = self.outbound.id().0;
        self.run(context, async move {
            let mut since = frame.since.unwrap_or_default();
            let mut outcome = wm::SubscribeOutcome { subscribed: Vec::new(), refused: BTreeMap::new() };
            for name in unique(frame.channels) {
                let listened = match Channel::parse(&name) {
                    Err(error) => Err(Fault::field("channels", error)),
                    Ok(_) if fanout::listens_to(connection) >= limit => {
                        Err(Fault::new(Code::TooLarge, format!("channels: at most {limit} for one connection")))
                    }
                    Ok(channel) => {
                        let since = since.remove(&name).map(|p| Position { epoch: p.epoch.into(), seq: p.seq });
                        let listen = Listen { channel, since, greeted, dialect: NATIVE };
                        hub.listen(caller.clone(), connection, listen).await
                    }
                };
                workers.read_now();
                match listened {
                    Ok(()) => outcome.subscribed.push(name),
                    Err(fault) => {
                        outbound.push(&rpc::error_frame(&fault, Some(&name), frame.id.as_deref()));
                        outcome.refused.insert(name, fault.code.name().to_owned());
                    }
                }
            }
            answer(frame.id, &outcome)
        });
        Ok(())
    }

    fn unsubscribe(&mut self, text: &str) -> Result<(), Fault> {
        let frame: wf::Unsubscribe = parse(text)?;
        check_subscription(frame.id.as_deref(), &frame.channels)?;
        let connection = self.outbound.id().0;
        let listened = |name: &String| {
            let channel = Channel::parse(name);
            channel.is_ok_and(|channel| self.kit.hub.unlisten(connection, &self.caller, &channel, NATIVE))
        };
        let unsubscribed = unique(frame.channels).into_iter().filter(listened).collect();
        for frame in answer(frame.id, &wm::UnsubscribeOutcome { unsubscribed }) {
            self.push(&frame);
        }
        Ok(())
    }

    /// The flat form: from its first message on, the socket hears that conversation.
    fn flat_message(&mut self, text: &str, context: &mut Context<Self>) {
        let decoded = parse(text).and_then(|frame: wf::FlatMessage| {
            let attachments = rpc::attachments(frame.attachments)?;
            let limits = rpc::Limits { message_bytes: self.kit.settings.message_bytes };
            rpc::content(&frame.content, &attachments, limits)?;
            let session = frame.session_id.map(|id| ConversationId::parse(&id)).transpose();
            let session = session.map_err(|_| Fault::not_found("session"))?;
            let new = NewMessage { content: frame.content, attachments, model: None, busy: None, once: None };
            Ok((session, new))
        });
        let (session, new) = match decoded {
            Ok(decoded) => decoded,
            Err(fault) => return self.push(&flat_error(&fault, None, None)),
        };
        let (hub, caller, connection) = (self.kit.hub.clone(), self.next_caller(), self.outbound.id().0);
        self.run(context, async move {
            match flat_send(hub, caller, connection, session, new).await {
                Ok(()) => Vec::new(),
                Err(fault) => vec![flat_error(&fault, session, None)],
            }
        });
    }

    fn flat_approval(&mut self, text: &str, context: &mut Context<Self>) {
        let decoded = parse(text).and_then(|frame: wf::ApprovalResponse| {
            let id = ApprovalId::parse(&frame.request_id).map_err(|_| Fault::not_found("approval"))?;
            let (which, approved, reason) = (ApprovalRef::Request(id), frame.approved, frame.reason);
            Ok(Command::ApprovalDecide { which, approved, reason })
        });
        let command = match decoded {
            Ok(command) => command,
            Err(fault) => return self.push(&flat_error(&fault, None, None)),
        };
        let caller = self.next_caller();
        let answer = self.kit.hub.call(caller, command);
        self.run(context, async move {
            match answer.await {
                Ok(Reply::Decided { applied: false, approval }) => {
                    let text = format!("the approval is {} already", approval.state.name());
                    vec![flat_error(&Fault::new(Code::Conflict, text), None, Some(approval.turn))]
                }
                Ok(_) => Vec::new(),
                Err(fault) => vec![flat_error(&fault, None, None)],
            }
        });
    }
}

async fn flat_send(
    hub: Rc<dyn Hub>,
    caller: Caller,
    connection: u64,
    session: Option<ConversationId>,
    new: NewMessage,
) -> Result<(), Fault> {
    let id = match session {
        Some(id) => id,
        None => match hub.call(caller.clone(), Command::SessionOfChannel(FLAT_CHANNEL)).await? {
            Reply::Session(settings) => settings.id,
            _ => return Err(Fault::plain(Code::Internal)),
        },
    };
    if !fanout::is_listening(connection, &caller.principal.organization, id, FLAT) {
        let listen = Listen { channel: Channel::Session(id), since: None, greeted: false, dialect: FLAT };
        hub.listen(caller.clone(), connection, listen).await?;
    }
    hub.call(caller, Command::Session(id, SessionCommand::Send(new))).await.map(|_| ())
}

/// A frame of its type, or the field at fault.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    // Watching the path costs; it is only walked where something is wrong.
    if let Ok(frame) = serde_json::from_str(text) {
        return Ok(frame);
    }
    let mut from = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut from).map_err(rpc::field_error)
}

fn checked_id(id: &str) -> Result<(), Fault> {
    match id.len() {
        1..=ID_BYTES => Ok(()),
        _ => Err(Fault::field("id", "1 to 128 bytes")),
    }
}

fn check_subscription(id: Option<&str>, channels: &[String]) -> Result<(), Fault> {
    id.map_or(Ok(()), checked_id)?;
    match channels.len() {
        0 => Err(Fault::field("channels", "is empty")),
        1..=CHANNELS_PER_FRAME => Ok(()),
        _ => Err(Fault::field("channels", format!("at most {CHANNELS_PER_FRAME} in one frame"))),
    }
}

/// A channel that is named twice is meant once.
fn unique(channels: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    channels.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

fn answer(id: Option<String>, outcome: &(impl serde::Serialize + DeserializeOwned)) -> Vec<Frame> {
    let write = |out: &mut Vec<u8>| drop(serde_json::to_writer(out, outcome));
    id.map(|id| rpc::response_raw(&id, write)).into_iter().collect()
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(1);
        if let Some(expires) = self.caller.principal.expires_at {
            let left = expires.since(SystemSource.now()).max(0) as u64;
            context.run_later(Duration::from_millis(left), |actor, _| {
                actor.outbound.close(Close::new(close::EXPIRED, "the credential has expired"));
            });
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        fanout::leave(self.outbound.id().0);
    }
}

impl StreamHandler<Inbound> for ConnectionActor {
    fn handle(&mut self, item: Inbound, context: &mut Self::Context) {
        match item {
            Inbound::Text(text) => self.text(&text, context),
            Inbound::Binary(_) => {
                let fault = Fault::new(Code::BadRequest, "binary frames are not understood here: send JSON text");
                self.refuse(&fault, None);
            }
            Inbound::Closed { .. } => context.stop(),
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        context.stop();
    }
}
