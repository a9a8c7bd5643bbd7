//! A native connection: what comes in becomes commands; what goes out it never touches but to answer.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use protocol::{frames as wf, methods as wm};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::standing::{self, Standing};
use super::underway::Underway;
use super::{HubSettings, expiry};
use crate::domain::alias::{ChannelName, SessionName};
use crate::domain::approval_rule::RuleScope;
use crate::domain::channel::{Channel, Position};
use crate::domain::command::{ApprovalRef, Caller, Command, Keep, NewMessage, Reply, SessionCommand};
use crate::domain::hub::{ConnectionNumber, DialectId, Hub, Listen, channel_named, session_named};
use crate::domain::ids::ApprovalId;
use crate::doors::gateway::flat_error;
use crate::doors::rpc::PlainPublish;
use crate::doors::{FLAT, NATIVE, rpc};
use crate::error::{Code, Fault, close};
use crate::fanout::{self, Workers};
use crate::framing::Frame;
use crate::limits::{FrameBucket, Limits, Pace, Place, Via};
use crate::transport::{Close, Inbound, Outbound, Socket};

/// The longest id of a request, in bytes.
const ID_BYTES: usize = 128;

/// Channels that one frame may name.
const CHANNELS_PER_FRAME: usize = 1000;

/// How often a connection that waits for its socket to drain looks.
const LOOK: Duration = Duration::from_millis(5);

/// The session that the flat form talks in when it names none.
const FLAT_CHANNEL: &str = "websocket";

/// What connections of one worker share.
pub struct ConnectionKit {
    pub hub: Rc<dyn Hub>,
    pub workers: Workers,
    pub settings: Arc<HubSettings>,
    pub limits: Arc<Limits>,
}

pub struct ConnectionActor {
    kit: Rc<ConnectionKit>,
    caller: Caller,
    /// Where it learns that its principal's rights are others now.
    standing: Rc<Standing>,
    outbound: Rc<Outbound>,
    requests: u64,
    frames: FrameBucket,
    /// Counted among the user's sockets until it is gone.
    _place: Option<Place>,
}

/// The kind of a frame and its id, before anything else is looked at.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A position that makes no sense is one that cannot be resumed from: the channel is given anew.
#[derive(Deserialize)]
struct SubscribeFrame<'a> {
    channels: Vec<String>,
    #[serde(borrow)]
    since: Option<BTreeMap<String, &'a RawValue>>,
    id: Option<String>,
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
    pub fn open(kit: Rc<ConnectionKit>, mut caller: Caller, place: Option<Place>, socket: Socket) {
        let Socket { outbound, inbound } = socket;
        let standing = standing::enter(&caller, outbound.id().0);
        // Sockets with the same credential share one principal.
        standing.refresh(&mut caller);
        Self::create(|context| {
            context.add_stream(inbound);
            let frames = FrameBucket::default();
            Self { kit, caller, standing, outbound, requests: 0, frames, _place: place }
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

    /// Counts a frame. Above the limit of its connection the next one is read later; false where it is the last.
    fn in_time(&mut self, context: &mut Context<Self>) -> bool {
        if !self.kit.limits.frames.is_on() {
            return true;
        }
        let (wait, tell) = match self.kit.limits.frames.count(&mut self.frames, Instant::now()) {
            Pace::Fine => return true,
            Pace::Pause { wait, tell } => (wait, tell),
            Pace::Enough => {
                self.outbound.close(Close::new(close::ABUSE, "too many frames"));
                return false;
            }
        };
        if tell {
            self.refuse(&Limits::too_many_frames(wait), None);
        }
        context.wait(actix_rt::time::sleep(wait).into_actor(self));
        true
    }

    /// Refuses a message that is one too many of its user over sockets.
    fn may_send(&self, command: &Command) -> Result<(), Fault> {
        let sends = matches!(command, Command::Session(_, command) if command.asks_model());
        let sends = sends || matches!(command, Command::SkillExecute { .. });
        if sends { self.kit.limits.message(&self.caller.principal, Via::Socket) } else { Ok(()) }
    }

    fn text(&mut self, text: &str, context: &mut Context<Self>) {
        self.standing.refresh(&mut self.caller);
        if let Some(plain) = rpc::plain_publish(text) {
            if let Err(fault) = self.plain_publish(&plain) {
                self.refuse(&fault, plain.id.filter(|id| checked_id(id).is_ok()));
            }
            return;
        }
        let envelope: Envelope<'_> = match parse(text) {
            Ok(envelope) => envelope,
            Err(fault) => return self.refuse(&fault, None),
        };
        let id = envelope.id.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let id = id.filter(|id| checked_id(id).is_ok());
        let kind = match kind_of(envelope.r#type) {
            Ok(kind) => kind,
            Err(fault) => return self.refuse(&fault, id.as_deref()),
        };
        let done = match &*kind {
            "publish" => self.publish(text),
            "request" => self.request(text, context),
            "subscribe" => self.subscribe(text, context),
            "unsubscribe" => self.unsubscribe(text, context),
            "ping" => {
                // A pong comes after all that was told before the ping.
                self.kit.workers.read_now();
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
                ("request", Some(id)) => self.push(&rpc::response_error(id, &fault)),
                _ => self.refuse(&fault, id.as_deref()),
            }
        }
    }

    /// What this connection's requests have in common while there are any.
    fn underway(&self) -> Underway {
        Underway::of(self.outbound.id().0, self.kit.settings.requests_in_flight)
    }

    /// Runs a request beside the actor. First polls keep the order of arrival. Where too many are under way nothing
    /// more is read.
    fn run(&mut self, context: &mut Context<Self>, work: impl Future<Output = Vec<Frame>> + 'static) {
        let underway = self.underway();
        if underway.is_full() {
            let free = self.underway();
            context.wait(async move { free.room().await }.into_actor(self));
        }
        let place = underway.try_enter();
        // A task is as large as what it holds, twice, and aligned: holes of that size would be left between what stays.
        let work = Box::pin(work);
        let (outbound, workers) = (self.outbound.clone(), self.kit.workers.clone());
        actix_rt::spawn(async move {
            let _place = match place {
                Some(place) => place,
                None => underway.enter().await,
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
        self.may_send(&command)?;
        let caller = self.next_caller();
        // Long pages one after the other, each into a queue with room: many at once must not look like a slow client.
        let long = matches!(command, Command::Session(_, SessionCommand::Messages { .. }));
        let order = long.then(|| (self.underway(), self.outbound.clone()));
        let answer = self.kit.hub.call(caller, command);
        let id = frame.id;
        self.run(context, async move {
            let _turn = match &order {
                Some((order, outbound)) => {
                    let turn = order.turn().await;
                    drained(outbound).await;
                    Some(turn)
                }
                None => None,
            };
            vec![match answer.await {
                Ok(reply) => rpc::response_raw(&id, |out| rpc::result(out, &reply)),
                Err(fault) => rpc::response_error(&id, &fault),
            }]
        });
        Ok(())
    }

    fn publish(&self, text: &str) -> Result<(), Fault> {
        let frame: PublishFrame<'_> = parse(text)?;
        if let Some(id) = &frame.id {
            checked_id(id)?;
        }
        let data = frame.data.map_or("null", RawValue::get);
        rpc::sound("data", data)?;
        let plain = PlainPublish { channel: &frame.channel, event: &frame.event, data, id: frame.id.as_deref() };
        self.plain_publish(&plain)
    }

    fn plain_publish(&self, frame: &PlainPublish<'_>) -> Result<(), Fault> {
        frame.id.map_or(Ok(()), checked_id)?;
        let confirm = frame.id.is_some();
        let published = self.kit.hub.publish(&self.caller, frame.channel, frame.event, frame.data.into(), confirm)?;
        if let (Some(position), Some(id)) = (published, frame.id) {
            let (outbound, id) = (self.outbound.clone(), id.to_owned());
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
        let frame: SubscribeFrame<'_> = parse(text)?;
        check_subscription(frame.id.as_deref(), &frame.channels)?;
        let greeted = frame.id.is_some() || frame.since.is_some();
        let mut since: BTreeMap<String, Position> = frame.since.map(positions).unwrap_or_default();
        let (channels, id, order) = (frame.channels, frame.id, self.underway());
        let (hub, caller, outbound) = (self.kit.hub.clone(), self.next_caller(), self.outbound.clone());
        let (workers, limit) = (self.kit.workers.clone(), self.kit.settings.subscriptions);
        let connection = self.outbound.id().0;
        self.run(context, async move {
            let _turn = order.turn().await;
            let mut outcome = wm::SubscribeOutcome { subscribed: Vec::new(), refused: BTreeMap::new() };
            for name in unique(channels) {
                drained(&outbound).await;
                let listened = match channel_of(&*hub, &caller, &name).await {
                    Err(fault) => Err(fault),
                    Ok(channel) if is_full(connection, &caller, &channel, NATIVE, limit) => Err(too_many(limit)),
                    Ok(channel) => {
                        let listen = Listen { channel, since: since.remove(&name), greeted, dialect: NATIVE };
                        hub.listen(caller.clone(), connection, listen).await
                    }
                };
                workers.read_now();
                match listened {
                    Ok(()) => outcome.subscribed.push(name),
                    Err(fault) => {
                        outbound.push(&rpc::error_frame(&fault, Some(&name), id.as_deref()));
                        outcome.refused.insert(name, fault.code.name().to_owned());
                    }
                }
            }
            answer(id, &outcome)
        });
        Ok(())
    }

    fn unsubscribe(&mut self, text: &str, context: &mut Context<Self>) -> Result<(), Fault> {
        let frame: wf::Unsubscribe = parse(text)?;
        check_subscription(frame.id.as_deref(), &frame.channels)?;
        let (hub, caller, order) = (self.kit.hub.clone(), self.caller.clone(), self.underway());
        let connection = self.outbound.id().0;
        self.run(context, async move {
            let _turn = order.turn().await;
            let mut unsubscribed = Vec::new();
            for name in unique(frame.channels) {
                let channel = channel_of(&*hub, &caller, &name).await;
                if channel.is_ok_and(|channel| hub.unlisten(connection, &caller, &channel, NATIVE)) {
                    unsubscribed.push(name);
                }
            }
            answer(frame.id, &wm::UnsubscribeOutcome { unsubscribed })
        });
        Ok(())
    }

    /// The flat form: from its first message on, the socket hears that conversation.
    fn flat_message(&mut self, text: &str, context: &mut Context<Self>) {
        let decoded = parse(text).and_then(|frame: wf::FlatMessage| {
            let attachments = rpc::attachments(frame.attachments)?;
            let limits = rpc::Limits { message_bytes: self.kit.settings.message_bytes };
            rpc::content(&frame.content, &attachments, limits)?;
            let session = frame.session_id.map(|id| rpc::session(&id)).transpose()?;
            let new =
                NewMessage { content: frame.content, attachments, model: None, yields: false, busy: None, once: None };
            self.kit.limits.message(&self.caller.principal, Via::Socket)?;
            Ok((session, new))
        });
        let (session, new) = match decoded {
            Ok(decoded) => decoded,
            Err(fault) => return self.push(&flat_error(&fault, None, None)),
        };
        let (hub, caller, connection) = (self.kit.hub.clone(), self.next_caller(), self.outbound.id().0);
        let (order, limit) = (self.underway(), self.kit.settings.subscriptions);
        // What was wrong names the session as the hub does, where the caller did.
        let known = if let Some(SessionName::Id(id)) = session { Some(id) } else { None };
        self.run(context, async move {
            let _turn = order.turn().await;
            match flat_send(hub, caller, (connection, limit), session, new).await {
                Ok(()) => Vec::new(),
                Err(fault) => vec![flat_error(&fault, known, None)],
            }
        });
    }

    fn flat_approval(&mut self, text: &str, context: &mut Context<Self>) {
        let decoded = parse(text).and_then(|frame: wf::ApprovalResponse| {
            let id = ApprovalId::parse(&frame.request_id).map_err(|_| Fault::not_found("approval"))?;
            let (which, approved, reason) = (ApprovalRef::Request(id), frame.approved, frame.reason);
            let remember = frame.remember.unwrap_or_default().then_some(RuleScope::Arguments);
            Ok(Command::ApprovalDecide { which, approved, reason, keep: Keep { remember, seen: None } })
        });
        let command = match decoded {
            Ok(command) => command,
            Err(fault) => return self.push(&flat_error(&fault, None, None)),
        };
        let caller = self.next_caller();
        let answer = self.kit.hub.call(caller, command);
        self.run(context, async move {
            match answer.await {
                Ok(Reply::Decided { applied: false, approval, .. }) => {
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
    (connection, limit): (ConnectionNumber, usize),
    session: Option<SessionName>,
    new: NewMessage,
) -> Result<(), Fault> {
    let id = match session {
        Some(name) => session_named(&*hub, &caller, name).await?,
        None => match hub.call(caller.clone(), Command::SessionOfChannel(FLAT_CHANNEL)).await? {
            Reply::Session(settings, _) => settings.id,
            _ => return Err(Fault::plain(Code::Internal)),
        },
    };
    if !fanout::is_listening(connection, &caller.principal.organization, &Channel::Session(id), FLAT) {
        let channel = Channel::Session(id);
        if is_full(connection, &caller, &channel, FLAT, limit) {
            return Err(too_many(limit));
        }
        let listen = Listen { channel, since: None, greeted: false, dialect: FLAT };
        hub.listen(caller.clone(), connection, listen).await?;
    }
    hub.call(caller, Command::Session(id.into(), SessionCommand::Send(new))).await.map(|_| ())
}

/// The channel that a frame names.
async fn channel_of(hub: &dyn Hub, caller: &Caller, name: &str) -> Result<Channel, Fault> {
    let name = ChannelName::parse(name).map_err(|error| Fault::field("channels", error))?;
    channel_named(hub, caller, name).await
}

/// Whether a connection that does not listen to this channel yet listens to as many as it may.
pub(super) fn is_full(
    connection: ConnectionNumber,
    caller: &Caller,
    channel: &Channel,
    dialect: DialectId,
    limit: usize,
) -> bool {
    fanout::listens_to(connection) >= limit
        && !fanout::is_listening(connection, &caller.principal.organization, channel, dialect)
}

pub(super) fn too_many(limit: usize) -> Fault {
    Fault::new(Code::TooLarge, format!("channels: at most {limit} for one connection"))
}

/// Waits until a socket has taken most of what it was given: greetings of many channels come one after the other, and
/// together they may be more than a queue holds.
async fn drained(outbound: &Rc<Outbound>) {
    while outbound.is_open() && outbound.queued_bytes() > outbound.limits().soft_bytes {
        actix_rt::time::sleep(LOOK).await;
    }
}

/// Where the client stopped hearing each channel, as far as it makes sense.
fn positions(since: BTreeMap<String, &RawValue>) -> BTreeMap<String, Position> {
    let position = |(name, raw): (String, &RawValue)| {
        let wf::Position { epoch, seq } = serde_json::from_str(raw.get()).ok()?;
        Some((name, Position { epoch: epoch.into(), seq }))
    };
    since.into_iter().filter_map(position).collect()
}

/// The kind of a frame.
fn kind_of(raw: Option<&RawValue>) -> Result<Cow<'_, str>, Fault> {
    let text = raw.ok_or_else(|| Fault::field("type", "is missing"))?.get();
    let kind = serde_json::from_str(text).map(Cow::Borrowed).or_else(|_| serde_json::from_str(text).map(Cow::Owned));
    kind.map_err(|_| Fault::field("type", "not a text"))
}

/// A frame of its type, or the field at fault.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    // A struct can be read from an array too, by position: that is no form of this protocol.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Fault::new(Code::BadRequest, "a frame is a JSON object"));
    }
    // Watching the path costs; it is only walked where something is wrong.
    if let Ok(frame) = serde_json::from_str(text) {
        return Ok(frame);
    }
    let mut from = serde_json::Deserializer::from_str(text);
    let frame = serde_path_to_error::deserialize(&mut from).map_err(rpc::field_error)?;
    from.end().map_err(|_| Fault::new(Code::BadRequest, "something stands behind the JSON object"))?;
    Ok(frame)
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
        if let Some(at) = self.caller.principal.expires_at {
            expiry::watch(at, self.outbound.id().0);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        fanout::leave(self.outbound.id().0);
        standing::leave(&self.standing, self.outbound.id().0);
        if let Some(at) = self.caller.principal.expires_at {
            expiry::forget(at, self.outbound.id().0);
        }
    }
}

impl StreamHandler<Inbound> for ConnectionActor {
    fn handle(&mut self, item: Inbound, context: &mut Self::Context) {
        if !matches!(item, Inbound::Closed { .. }) && !self.in_time(context) {
            return;
        }
        match item {
            Inbound::Text(text) => self.text(&text, context),
            Inbound::Binary(_) => {
                let fault = Fault::new(Code::BadRequest, "binary frames are not understood here: send JSON text");
                self.refuse(&fault, None);
            }
            Inbound::Control => {}
            Inbound::Closed { .. } => context.stop(),
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        context.stop();
    }
}
