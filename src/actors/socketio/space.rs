//! One namespace of a session: who is connected, what waits for the client, and how it comes to be connected.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::recovery::{Parked, Written};
use super::{EngineKit, new_id};
use crate::actors::standing::Stay;
use crate::domain::channel::{Channel, Position};
use crate::domain::command::Caller;
use crate::domain::hub::Listen;
use crate::domain::ids::{ConversationId, Source, SystemSource};
use crate::domain::principal::Principal;
use crate::doors::engine::Visitor;
use crate::doors::socketio::Namespace;
use crate::error::{Code, Fault};
use crate::fanout;
use crate::framing::{Frame, socketio as wire};
use crate::limits::Place;
use crate::transport::Reader;

/// How long a conversation may take to tell what was missed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The queue in which all that a namespace hears waits. Dropping it ends the listening.
pub struct Queue {
    pub reader: Reader,
    stay: Stay,
}

impl Queue {
    fn open(kit: &EngineKit, visitor: &Visitor, caller: &Caller) -> Result<Self, Fault> {
        let reader = Reader::open(visitor.peer, kit.limits.clone());
        let reader = reader.ok_or_else(|| Fault::unavailable("the hub is stopping"))?;
        let stay = Stay::begin(caller, reader.id().0);
        Ok(Self { reader, stay })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        fanout::leave(self.reader.id().0);
    }
}

/// A namespace that is connected.
pub struct Space {
    pub namespace: &'static dyn Namespace,
    pub caller: Caller,
    pub sid: Arc<str>,
    /// Its private id: who shows it takes up where this one ends.
    pub pid: Arc<str>,
    pub queue: Queue,
    /// Messages under way: nothing of their turns goes out before they are acknowledged.
    pub held: usize,
    pub place: Option<Rc<Place>>,
    /// Read while it came back, and not written yet.
    early: VecDeque<Frame>,
    written: Written,
    names: HashMap<ConversationId, String>,
    requests: u64,
}

/// What a namespace has for its client.
pub enum Next {
    Frame(Frame),
    /// Its queue was closed with this code.
    Closed(u16),
}

impl Space {
    /// The caller of the next request, with the rights of now.
    pub fn next_caller(&mut self) -> Caller {
        self.queue.stay.refresh(&mut self.caller);
        self.requests += 1;
        let mut caller = self.caller.clone();
        caller.request_id = format!("{}-{}", caller.request_id, self.requests);
        caller
    }

    /// The client calls a conversation so from now on.
    pub fn call(&mut self, conversation: ConversationId, name: Option<String>) {
        match name {
            Some(name) => drop(self.names.insert(conversation, name)),
            None => drop(self.names.remove(&conversation)),
        }
    }

    /// The next packet for the client; remembered as written.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        loop {
            let frame = match self.early.pop_front() {
                Some(frame) => frame,
                None => match self.queue.reader.poll_frame(context) {
                    Poll::Ready(Ok(frame)) => frame,
                    Poll::Ready(Err(code)) => return Poll::Ready(Next::Closed(code)),
                    Poll::Pending => return Poll::Pending,
                },
            };
            if let Some(frame) = self.noted(frame) {
                return Poll::Ready(Next::Frame(frame));
            }
        }
    }

    /// What goes out of a frame; nothing of one that is for this session alone.
    fn noted(&mut self, frame: Frame) -> Option<Frame> {
        let packet = frame.payload_bytes();
        if let Some(greeted) = wire::greeting(packet) {
            if let Ok(conversation) = ConversationId::parse(&greeted.session_id) {
                self.written.greeted(conversation, &greeted.epoch, greeted.seq);
            }
            return None;
        }
        if let Some((epoch, seq)) = wire::offset(packet) {
            self.written.event(epoch, seq);
        }
        if self.names.is_empty() {
            return Some(frame);
        }
        let conversation = wire::conversation(packet).and_then(|id| ConversationId::parse(id).ok());
        let renamed = conversation.and_then(|id| self.names.get(&id)).and_then(|name| wire::renamed(packet, name));
        Some(renamed.unwrap_or(frame))
    }

    /// What is kept of it while its client is away.
    pub fn parked(&mut self) -> Parked {
        Parked {
            namespace: self.namespace.path(),
            sid: self.sid.clone(),
            principal: self.caller.principal.clone(),
            written: std::mem::take(&mut self.written),
            names: std::mem::take(&mut self.names),
        }
    }
}

/// What a client says when it connects to a namespace.
#[derive(Debug, Default)]
pub struct Auth {
    token: Option<String>,
    pid: Option<String>,
    offset: Option<String>,
}

impl Auth {
    /// Reads it. What it says besides means nothing: only a credential may tell who somebody is.
    ///
    /// # Errors
    /// `bad_request`, naming the field.
    pub fn read(text: Option<&str>) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            token: Option<&'a RawValue>,
            #[serde(borrow)]
            pid: Option<&'a RawValue>,
            #[serde(borrow)]
            offset: Option<&'a RawValue>,
        }
        let Some(text) = text else { return Ok(Self::default()) };
        let object = text.trim_ascii_start().starts_with('{');
        let fields: Option<Fields<'_>> = if object { serde_json::from_str(text).ok() } else { None };
        let fields = fields.ok_or_else(|| Fault::field("auth", "not a JSON object"))?;
        let text = |name: &str, raw: Option<&RawValue>| match raw.map(|raw| serde_json::from_str(raw.get())) {
            None => Ok(None),
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => Err(Fault::field(name, "not a text")),
        };
        Ok(Self {
            token: text("auth.token", fields.token)?,
            // What is no text is no place that one could go on from.
            pid: text("pid", fields.pid).unwrap_or_default(),
            offset: text("offset", fields.offset).unwrap_or_default(),
        })
    }
}

/// A namespace that is connected now, and what its client is told first.
pub struct Joined {
    pub space: Space,
    pub first: Vec<Frame>,
}

/// Connects to a namespace: by the credential shown here, else by that of the session. `places`: those that the session
/// has already, with whose they are.
///
/// # Errors
/// What refuses the credential; `rate_limited` where the user has no place left.
pub async fn join(
    kit: Rc<EngineKit>,
    visitor: Visitor,
    namespace: &'static dyn Namespace,
    auth: Auth,
    places: Vec<(Arc<Principal>, Option<Rc<Place>>)>,
) -> Result<Joined, Fault> {
    let principal = match auth.token.clone().filter(|token| !token.is_empty()) {
        Some(token) => Arc::new((kit.vouch)(visitor.clone(), token).await?),
        None => visitor.principal.clone()?,
    };
    let user = |p: &Principal| (p.organization.clone(), p.user.clone());
    // One connection with two namespaces is one.
    let place = match places.into_iter().find(|(known, _)| user(known) == user(&principal)) {
        Some((_, place)) => place,
        None => kit.connection.limits.connect(&principal, Instant::now())?.map(Rc::new),
    };
    let origin = format!("/socket.io{} from {}", namespace.path(), visitor.address);
    let request_id = format!("{}{}", visitor.request_id, namespace.path().replace('/', "-"));
    let mut caller = Caller { principal, request_id, origin: origin.into(), address: Some(visitor.address) };
    let queue = Queue::open(&kit, &visitor, &caller)?;
    // What was taken back between the credential's look and here was told to those who were there.
    caller.principal = Arc::new((kit.confirm)(caller.principal.clone()).await?);
    let back = match &auth.pid {
        Some(pid) => come_back(&kit, &caller, namespace, (pid, auth.offset.as_deref()), &queue).await,
        None => Ok(None),
    };
    let queue = match back {
        Ok(Some(kept)) => {
            listen(&kit, &caller, namespace, &queue).await?;
            return Ok(Joined { space: kept.space(namespace, caller, queue, place), first: Vec::new() });
        }
        Ok(None) => queue,
        // What was listened to meanwhile is not: the client begins anew.
        Err(Gone) => Queue::open(&kit, &visitor, &caller)?,
    };
    listen(&kit, &caller, namespace, &queue).await?;
    let mut space = Kept::nothing(namespace, &caller)?.space(namespace, caller, queue, place);
    let first = match namespace.on_connect() {
        Some(command) => {
            let reply = kit.connection.hub.call(space.next_caller(), command).await?;
            namespace.answered("connect", None, None, &reply)
        }
        None => Vec::new(),
    };
    Ok(Joined { space, first })
}

/// Listens to what everybody in a namespace hears.
async fn listen(kit: &EngineKit, caller: &Caller, namespace: &dyn Namespace, queue: &Queue) -> Result<(), Fault> {
    for channel in namespace.channels(&caller.principal) {
        let listen = Listen { channel, since: None, greeted: false, dialect: namespace.dialect() };
        kit.connection.hub.listen(caller.clone(), queue.reader.id().0, listen).await?;
    }
    Ok(())
}

/// What a client found again.
struct Kept {
    pid: Arc<str>,
    parked: Parked,
    early: VecDeque<Frame>,
}

impl Kept {
    /// What there is for who comes for the first time.
    fn nothing(namespace: &dyn Namespace, caller: &Caller) -> Result<Self, Fault> {
        let parked = Parked {
            namespace: namespace.path(),
            sid: new_id()?,
            principal: caller.principal.clone(),
            written: Written::default(),
            names: HashMap::new(),
        };
        Ok(Self { pid: new_id()?, parked, early: VecDeque::new() })
    }

    fn space(self, namespace: &'static dyn Namespace, caller: Caller, queue: Queue, place: Option<Rc<Place>>) -> Space {
        let Self { pid, parked: Parked { sid, written, names, .. }, early } = self;
        Space { namespace, caller, sid, pid, queue, held: 0, place, early, written, names, requests: 0 }
    }
}

/// Something of it is lost.
struct Gone;

/// Takes up what a client left, at the place it names. Nothing where there is nothing of it.
async fn come_back(
    kit: &EngineKit,
    caller: &Caller,
    namespace: &'static dyn Namespace,
    (pid, offset): (&str, Option<&str>),
    queue: &Queue,
) -> Result<Option<Kept>, Gone> {
    let parked = kit.parking.reclaim(pid, &caller.principal, namespace.path()).await;
    let Some(mut parked) = parked else { return Ok(None) };
    let place = match offset {
        Some(offset) => Some(wire::place(offset).ok_or(Gone)?),
        None => None,
    };
    let positions = parked.written.positions(place).ok_or(Gone)?;
    // Signed out is gone, though its user came in again since; a credential that came to its end was replaced.
    let ended = parked.principal.expires_at.is_some_and(|end| end <= SystemSource.now());
    if !ended && (kit.confirm)(parked.principal.clone()).await.is_err() {
        return Err(Gone);
    }
    let mut early = VecDeque::new();
    let mut room = kit.limits.hard_bytes;
    for (conversation, since) in positions {
        let channel = Channel::Session(conversation);
        let listen = Listen { channel, since: Some(since.clone()), greeted: false, dialect: namespace.dialect() };
        kit.connection.hub.listen(caller.clone(), queue.reader.id().0, listen).await.map_err(|_| Gone)?;
        kit.connection.workers.read_now();
        let missed = missed(queue, (conversation, &since), &mut early, &mut room);
        tokio::time::timeout(PATIENCE, missed).await.map_err(|_| Gone)??;
    }
    Ok(Some(Kept { pid: pid.into(), parked, early }))
}

/// Reads until the conversation tells where it goes on, which must be where the client left it.
async fn missed(
    queue: &Queue,
    (conversation, since): (ConversationId, &Position),
    early: &mut VecDeque<Frame>,
    room: &mut usize,
) -> Result<(), Gone> {
    let id = conversation.to_string();
    loop {
        let frame = poll_fn(|context| queue.reader.poll_frame(context)).await.map_err(|_| Gone)?;
        if let Some(greeted) = wire::greeting(frame.payload_bytes()).filter(|greeted| greeted.session_id == id) {
            let whole = greeted.recovered && *greeted.epoch == *since.epoch && greeted.seq == since.seq;
            return if whole { Ok(()) } else { Err(Gone) };
        }
        *room = room.checked_sub(frame.len()).ok_or(Gone)?;
        early.push_back(frame);
    }
}

/// How a refused namespace is told of it: `{"message","data":{"code",…}}`.
pub fn refusal(fault: &Fault) -> String {
    let message = match fault.code {
        // What the stock clients' handlers look for.
        Code::Unauthorized | Code::Forbidden => "unauthorized",
        _ => &fault.message,
    };
    let mut data = serde_json::json!({ "code": fault.code.name() });
    if let Some(details) = &fault.details {
        data["details"] = details.clone();
    }
    serde_json::json!({ "message": message, "data": data }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_is_an_object_of_texts() {
        let auth = Auth::read(Some(r#"{"token":"t","pid":"p","offset":"e:1","userId":"root"}"#)).expect("auth");
        assert_eq!(
            (auth.token.as_deref(), auth.pid.as_deref(), auth.offset.as_deref()),
            (Some("t"), Some("p"), Some("e:1"))
        );
        let auth = Auth::read(Some(r#"{"token":null,"pid":1}"#)).expect("auth");
        assert!(auth.token.is_none() && auth.pid.is_none());
        assert!(Auth::read(None).is_ok() && Auth::read(Some("{}")).is_ok());
        for bad in ["", "[]", "\"t\"", "{", r#"{"token":1}"#, r#"{"token":["t"]}"#] {
            let fault = Auth::read(Some(bad)).expect_err(bad);
            assert_eq!(fault.code, Code::BadRequest, "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_what_the_stock_clients_look_for() {
        let fault = Fault::new(Code::Unauthorized, "the token is malformed");
        assert_eq!(refusal(&fault), r#"{"data":{"code":"unauthorized"},"message":"unauthorized"}"#);
        let fault = Fault::new(Code::RateLimited, "too many").with_details(serde_json::json!({"retryAfter": 3}));
        assert!(refusal(&fault).contains(r#""details":{"retryAfter":3}"#));
    }
}
