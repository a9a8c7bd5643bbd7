//! Who asks, and what they ask for: a user of every role, known by every kind of credential, and conversations.

use std::collections::VecDeque;

use secrecy::ExposeSecret;
use serde_json::json;
use switchboard::auth::keys;
use switchboard::domain::account::{ApiKey, Device, HubSession};
use switchboard::domain::ids::{DeviceId, KeyId, OrganizationId, Source, SystemSource, UserId};
use switchboard::domain::principal::Role;
use switchboard::store::{Store, StoreSettings};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::expected::Relation;
use crate::support::{Client, Hub, HubOptions};

/// How a caller proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Jwt,
    ApiKey,
    Session,
    Device,
}

pub const KINDS: [Kind; 4] = [Kind::Jwt, Kind::ApiKey, Kind::Session, Kind::Device];

/// The organization of the subjects, and another one.
pub const HOME: &str = "acme";
pub const ELSEWHERE: &str = "globex";

/// A conversation to try something with.
#[derive(Debug, Clone)]
pub struct Target {
    pub session: String,
    /// A message whose turn waits.
    pub message: String,
    /// A question that waits; empty where none was needed.
    pub request: String,
    pub call: String,
}

impl Target {
    /// What there is not.
    pub fn nobodys() -> Self {
        const ID: &str = "01930000000070008000000000000000";
        Self {
            session: format!("sess_{ID}"),
            message: format!("msg_{ID}"),
            request: format!("appr_{ID}"),
            call: format!("part_{ID}"),
        }
    }
}

/// A running hub, its store beside it, and the users who own what others try to reach.
pub struct Ground {
    pub hub: Hub,
    store: Store,
    neighbour: Client,
    stranger: Client,
}

impl Ground {
    pub async fn new() -> Self {
        // It asks the store every time: what a role is changed to counts at once.
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_AUTH__REMEMBER_MS", 0)
                .set("SWITCHBOARD_APPROVALS__TIMEOUT_SECONDS", 3600)
                .set("SWITCHBOARD_APPROVALS__GRACE_SECONDS", 3600),
        );
        let url = format!("sqlite:{}", hub.folder().join("hub.db").display());
        let store = Store::open_shared(StoreSettings { url, pool: 1, boot: 1 }).expect("the hub's store");
        let neighbour = Client::connect(&hub.address, &hub.token("neighbour", HOME, "member")).await;
        let stranger = Client::connect(&hub.address, &hub.token("stranger", ELSEWHERE, "member")).await;
        Self { hub, store, neighbour, stranger }
    }

    /// A conversation of somebody else, or none.
    pub async fn others(&mut self, relation: Relation, with_question: bool) -> Target {
        match relation {
            Relation::Private => target(&mut self.neighbour, "private", with_question).await,
            Relation::Shared => target(&mut self.neighbour, "organization", with_question).await,
            Relation::Foreign => target(&mut self.stranger, "organization", with_question).await,
            Relation::Unknown | Relation::Own => Target::nobodys(),
        }
    }

    /// A member who makes conversations of its own, one for each entry, and is given its role then. An entry tells
    /// whether a question waits in it.
    pub async fn subject(&self, role: &'static str, kind: Kind, own: &[bool]) -> (Subject, VecDeque<Target>) {
        let user = format!("{role}-{kind:?}").to_lowercase();
        let mut member = Client::connect(&self.hub.address, &self.hub.token(&user, HOME, "member")).await;
        let mut owned = VecDeque::new();
        for with_question in own {
            owned.push_back(target(&mut member, "private", *with_question).await);
        }
        let token = self.hub.token(&user, HOME, role);
        let secret = match kind {
            Kind::Jwt => token,
            _ => self.credential(&user, kind).await,
        };
        (Subject { user, kind, secret }, owned)
    }

    async fn credential(&self, user: &str, kind: Kind) -> String {
        let organization = OrganizationId::parse(HOME).expect("an organization");
        let user = UserId::parse(user).expect("a user");
        let now = SystemSource.now();
        let prefix = match kind {
            Kind::ApiKey => keys::API_KEY,
            Kind::Session => keys::SESSION,
            _ => "",
        };
        let secret = keys::generate(prefix).expect("a secret");
        let hash = keys::hash(secret.expose_secret());
        let name = "matrix".to_owned();
        let (created_at, revoked_at) = (now, None);
        match kind {
            Kind::ApiKey => {
                let id = KeyId::mint(&mut SystemSource);
                let key = ApiKey { id, organization, user, name, hash, created_at, expires_at: None, revoked_at };
                self.store.put_api_key(key).await.expect("the key is kept");
            }
            Kind::Session => {
                let expires_at = now.plus_millis(3_600_000);
                let session = HubSession { hash, organization, user, created_at, expires_at, revoked_at };
                self.store.put_session(session).await.expect("the session is kept");
            }
            _ => {
                let (id, role) = (DeviceId::mint(&mut SystemSource), Role::Owner);
                let last_seen_at = None;
                let device = Device { id, organization, user, name, role, hash, created_at, last_seen_at, revoked_at };
                self.store.put_device(device).await.expect("the device is kept");
            }
        }
        secret.expose_secret().to_owned()
    }
}

/// A paused conversation with a message that waits, or one with a question that waits.
pub async fn target(client: &mut Client, visibility: &str, with_question: bool) -> Target {
    let created = client.call("sessions.create", json!({"visibility": visibility})).await;
    let session = created["id"].as_str().expect("an id").to_owned();
    if with_question {
        client.subscribe(&format!("session:{session}"), None).await;
        client.say(&session, "fetch http://example.org/").await;
        let asked = client.find(|f| f["event"] == "tool.approval_required" && f["data"]["sessionId"] == session).await;
        let text = |name: &str| asked["data"][name].as_str().expect("an id").to_owned();
        return Target { message: String::new(), request: text("requestId"), call: text("toolCallId"), session };
    }
    client.call("sessions.pause", json!({"sessionId": session})).await;
    let sent = client.call("messages.send", json!({"sessionId": session, "content": "hello"})).await;
    let message = sent["messageId"].as_str().expect("an id").to_owned();
    Target { session, message, request: String::new(), call: String::new() }
}

pub struct Subject {
    pub user: String,
    pub kind: Kind,
    /// The token, key or cookie.
    pub secret: String,
}

impl Subject {
    pub fn is_device(&self) -> bool {
        self.kind == Kind::Device
    }

    /// The headers that carry the credential, and what a browser sends along with a cookie.
    pub fn headers(&self, address: &str) -> Vec<(&'static str, String)> {
        match self.kind {
            Kind::Session => vec![
                ("Cookie", format!("switchboard_session={}", self.secret)),
                ("Origin", format!("http://{address}")),
            ],
            _ => vec![("Authorization", format!("Bearer {}", self.secret))],
        }
    }

    pub async fn connect(&self, address: &str) -> Client {
        let mut request = format!("ws://{address}/ws").into_client_request().expect("a request");
        for (name, value) in self.headers(address) {
            request.headers_mut().insert(name, value.parse().expect("a header"));
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("the socket opens");
        Client::over(socket)
    }
}
