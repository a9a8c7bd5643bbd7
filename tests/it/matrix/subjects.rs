//! Who asks, and what they ask for: a user of every role, known by every kind of credential, and conversations.

use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::expected::Relation;
use crate::support::{Client, Hub, HubOptions, Identity};

/// How a caller proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Jwt,
    ApiKey,
    Session,
    Device,
}

pub const KINDS: [Kind; 4] = [Kind::Jwt, Kind::ApiKey, Kind::Session, Kind::Device];

/// What tokens of hosts are signed with.
pub const AGENT_SECRET: &str = "a secret for hosts that has 32 bytes and more";

/// The organization of the subjects, and another one.
pub const HOME: &str = "acme";
pub const ELSEWHERE: &str = "globex";

/// Signed with the secret of the hosts; it claims all that a user's could.
pub fn host_token() -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let claims = json!({"sub": "host-1", "hostId": "host-1", "org": HOME, "organizationId": HOME, "role": "owner",
        "hubAdmin": true, "exp": crate::handshake::now() + 3600});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(AGENT_SECRET.as_bytes())).expect("a token")
}

/// Keeps a socket open: it takes what it is sent, pings as well.
pub fn listen(mut client: Client) {
    tokio::task::spawn_local(async move { while client.read_on().await.is_some() {} });
}

/// How many askers are at it at once.
pub const LANES: usize = 4;

/// Hands the askers to the lanes, one by one.
pub fn dealt<T>(askers: impl IntoIterator<Item = T>) -> [Vec<T>; LANES] {
    let mut lanes = std::array::from_fn(|_| Vec::new());
    askers.into_iter().enumerate().for_each(|(at, asker)| lanes[at % LANES].push(asker));
    lanes
}

/// What the lanes found: how many cells there were, and which were wrong.
#[derive(Default)]
pub struct Found {
    pub cells: usize,
    pub wrong: Vec<String>,
}

impl Found {
    /// # Panics
    /// If a cell was wrong, or none was tried.
    pub fn settle(lanes: Vec<Self>) {
        let cells: usize = lanes.iter().map(|lane| lane.cells).sum();
        let wrong: Vec<String> = lanes.into_iter().flat_map(|lane| lane.wrong).collect();
        println!("{cells} cells");
        assert!(cells > 0 && wrong.is_empty(), "{} of {cells} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// A conversation to try something with.
#[derive(Debug, Clone)]
pub struct Target {
    pub session: String,
    /// A message whose turn waits.
    pub message: String,
    pub turn: String,
    /// A question that waits, where one was needed.
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
            turn: format!("turn_{ID}"),
            request: format!("appr_{ID}"),
            call: format!("part_{ID}"),
        }
    }
}

/// A running hub, its store beside it, and the users who own what others try to reach.
pub struct Ground {
    pub hub: Hub,
    pub identity: Identity,
    /// Whether conversations are paused, so that their message waits.
    pub paused: bool,
    /// Tokens: a socket that nobody reads from answers no ping.
    neighbour: String,
    stranger: String,
    /// One of each organization.
    pub projects: [String; 2],
}

impl Ground {
    pub async fn new(paused: bool) -> Self {
        // It asks the store every time: what a role is changed to counts at once.
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_AUTH__REMEMBER_MS", 0)
                .set("AGENT_JWT_SECRET", AGENT_SECRET)
                // A request that waits for a turn is an answer, too.
                .set("SWITCHBOARD_LIMITS__WAIT_SECONDS", 5)
                .set("SWITCHBOARD_APPROVALS__TIMEOUT_SECONDS", 3600)
                .set("SWITCHBOARD_APPROVALS__GRACE_SECONDS", 3600),
        );
        let identity = Identity::of(&hub.folder());
        let neighbour = hub.token("neighbour", HOME, "member");
        let stranger = hub.token("stranger", ELSEWHERE, "member");
        let mut projects = [String::new(), String::new()];
        for (token, project) in [&neighbour, &stranger].into_iter().zip(&mut projects) {
            let mut founder = Client::connect(&hub.address, token).await;
            let made = founder.call("projects.create", json!({"name": "matrix"})).await;
            *project = made["id"].as_str().expect("an id").to_owned();
        }
        Self { hub, identity, paused, neighbour, stranger, projects }
    }

    /// A conversation of somebody else, or none.
    pub async fn others(&self, relation: Relation, with_question: bool) -> Target {
        let (owner, visibility) = match relation {
            Relation::Private => (&self.neighbour, "private"),
            Relation::Shared => (&self.neighbour, "organization"),
            Relation::Foreign => (&self.stranger, "organization"),
            Relation::Unknown | Relation::Own => return Target::nobodys(),
        };
        let mut client = Client::connect(&self.hub.address, owner).await;
        target(&mut client, visibility, with_question, self.paused).await
    }

    /// A user with that role and a credential, and conversations that it made when it was a member, one for each entry.
    /// An entry tells whether a question waits in it.
    pub async fn subject(&self, user: String, role: &str, kind: Kind, own: &[bool]) -> (Subject, Vec<Target>) {
        let secret = match kind {
            Kind::Jwt => self.hub.token(&user, HOME, role),
            _ => {
                self.identity.user(&user, HOME, role).await;
                self.credential(&user, kind).await
            }
        };
        let subject = Subject { user, kind, secret };
        let mut owned = Vec::new();
        if !own.is_empty() {
            self.identity.role(&subject.user, HOME, "member").await;
            for with_question in own {
                owned.push(self.own(&subject, *with_question).await);
            }
            self.identity.role(&subject.user, HOME, role).await;
        }
        (subject, owned)
    }

    /// An API key of a user with that role.
    pub async fn key(&self, user: &str, organization: &str, role: &str) -> String {
        self.identity.user(user, organization, role).await;
        self.identity.key(user, organization).await.0
    }

    /// A conversation of a member's own.
    pub async fn own(&self, subject: &Subject, with_question: bool) -> Target {
        target(&mut subject.connect(&self.hub.address).await, "private", with_question, self.paused).await
    }

    async fn credential(&self, user: &str, kind: Kind) -> String {
        match kind {
            Kind::ApiKey => self.identity.key(user, HOME).await.0,
            Kind::Session => self.identity.session(user, HOME).await,
            _ => self.identity.device(user, HOME).await.0,
        }
    }
}

/// A conversation with a message, which waits where it is paused, or one with a question that waits.
async fn target(client: &mut Client, visibility: &str, with_question: bool, paused: bool) -> Target {
    let created = client.call("sessions.create", json!({"visibility": visibility})).await;
    let session = created["id"].as_str().expect("an id").to_owned();
    if with_question {
        client.subscribe(&format!("session:{session}"), None).await;
        client.say(&session, "fetch http://example.org/").await;
        let asked = client.find(|f| f["event"] == "tool.approval_required" && f["data"]["sessionId"] == session).await;
        let text = |name: &str| asked["data"][name].as_str().expect("an id").to_owned();
        let (request, call) = (text("requestId"), text("toolCallId"));
        return Target { session, request, call, ..Target::nobodys() };
    }
    if paused {
        client.call("sessions.pause", json!({"sessionId": session})).await;
    }
    let sent = client.call("messages.send", json!({"sessionId": session, "content": "hello"})).await;
    let text = |name: &str| sent[name].as_str().expect("an id").to_owned();
    Target { session, message: text("messageId"), turn: text("turnId"), ..Target::nobodys() }
}

pub struct Subject {
    pub user: String,
    pub kind: Kind,
    /// The token, key or cookie.
    pub secret: String,
}

impl Subject {
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
