//! Where a contract test stands: one backend, empty, and words to make rows with.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use switchboard::domain::account::{ApiKey, Device, Organization, User};
use switchboard::domain::generation::ThinkingLevel;
use switchboard::domain::ids::*;
use switchboard::domain::message::*;
use switchboard::domain::principal::Role;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::domain::turn::*;
use switchboard::domain::usage::Usage;
use switchboard::store::{Store, StoreSettings};

use crate::postgres::Postgres;

pub enum Backend {
    /// The folder, gone with the value.
    Sqlite(#[allow(dead_code, reason = "held, not read")] tempfile::TempDir),
    Postgres(Postgres),
}

pub struct Ground {
    pub backend: Backend,
    pub url: String,
}

impl Ground {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("hub.db").display());
        Self { backend: Backend::Sqlite(folder), url }
    }

    pub fn postgres() -> Self {
        let server = Postgres::start(&[]);
        let url = server.database();
        Self { backend: Backend::Postgres(server), url }
    }

    pub fn settings(&self) -> StoreSettings {
        StoreSettings { url: self.url.clone(), pool: 4, boot: 7 }
    }

    pub fn open(&self) -> Store {
        Store::open(self.settings()).expect("the store opens")
    }
}

/// Runs one test to its end on a runtime with a thread of its own.
pub fn run<F: Future<Output = ()>>(ground: Ground, test: impl FnOnce(Ground) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test(ground));
}

/// Each named test of this module, once for each backend.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { crate::ground::run(crate::ground::Ground::sqlite(), super::$name); })+
        }
        mod on_postgres {
            $(#[test] fn $name() { crate::ground::run(crate::ground::Ground::postgres(), super::$name); })+
        }
    };
}
pub(crate) use on_both;

static LAST: AtomicU32 = AtomicU32::new(0);

/// Rising, as the ids of a running hub are.
pub fn next() -> u128 {
    0x0193_0000_0000_7000_8000_0000_0000_0000 + u128::from(LAST.fetch_add(1, Ordering::Relaxed))
}

pub fn org(name: &str) -> OrganizationId {
    OrganizationId::parse(name).expect("a name")
}

pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

pub fn acme() -> OrganizationId {
    org("acme")
}

pub fn conversation(owner: &str) -> Settings {
    Settings {
        id: ConversationId(next()),
        organization: acme(),
        user: user(owner),
        project: None,
        title: "first".into(),
        state: ConversationState::Active,
        visibility: Visibility::Private,
        agent: "default".into(),
        model: None,
        thinking: ThinkingLevel::Off,
        tags: Vec::new(),
        context: ContextStart::default(),
        channel: None,
        entity: None,
        next_turn_no: 1,
        usage: Usage::default(),
        created_at: Timestamp(1_000),
        updated_at: Timestamp(1_000),
    }
}

pub fn turn(no: u32, state: TurnState) -> Turn {
    Turn {
        id: TurnId(next()),
        no,
        state,
        message: MessageId(next()),
        answer: None,
        user: user("ann"),
        model: None,
        routing: None,
        steps: 0,
        usage: Usage::default(),
        retry_of: None,
        receipt: None,
        error: None,
        refusal: None,
        correlation_id: "req_1".into(),
        created_at: Timestamp(2_000),
        started_at: None,
        ended_at: None,
    }
}

pub fn message(turn: &Turn, index: u16) -> Message {
    Message {
        id: MessageId(next()),
        turn: turn.id,
        turn_no: turn.no,
        index,
        author: if index == 0 { Author::User } else { Author::Assistant },
        user: (index == 0).then(|| user("ann")),
        state: MessageState::Complete,
        superseded: false,
        provider: None,
        model: None,
        usage: None,
        created_at: Timestamp(3_000),
        parts: Vec::new(),
    }
}

pub fn part(index: u16, body: PartBody) -> Part {
    Part { id: PartId(next()), index, body }
}

pub fn text(index: u16, text: &str) -> Part {
    part(index, PartBody::Text { text: text.into() })
}

pub fn batch(settings: &Settings, writes: Vec<Write>) -> Batch {
    Batch {
        organization: settings.organization.clone(),
        conversation: settings.id,
        at: Timestamp(5_000),
        writes,
        idempotency: None,
    }
}

pub fn house(name: &str) -> Organization {
    Organization { id: org(name), name: name.into(), created_at: Timestamp(3), disabled_at: None }
}

pub fn person(name: &str) -> User {
    User { managed: true, ..User::new(acme(), user(name), Role::Operator, Timestamp(4)) }
}

/// The organization `acme` with an operator `ann`.
pub async fn with_ann(store: &Store) {
    store.put_organization(house("acme")).await.expect("written");
    store.put_user(person("ann")).await.expect("written");
}

/// A key of `ann`'s.
pub fn key() -> ApiKey {
    ApiKey {
        id: KeyId(next()),
        organization: acme(),
        user: user("ann"),
        name: "k".into(),
        hash: [1; 32],
        created_at: Timestamp(1),
        expires_at: None,
        revoked_at: None,
    }
}

/// A device of `ann`'s.
pub fn device() -> Device {
    Device {
        id: DeviceId(next()),
        organization: acme(),
        user: user("ann"),
        name: "d".into(),
        role: Role::Member,
        hash: [1; 32],
        created_at: Timestamp(1),
        last_seen_at: None,
        revoked_at: None,
    }
}

/// The message's own row and each of its parts.
pub fn whole(message: &Message) -> Vec<Write> {
    let parts = message.parts.iter().map(|part| Write::Part { message: message.id, part: part.clone() });
    std::iter::once(Write::Message(message.clone())).chain(parts).collect()
}

pub async fn stored(store: &Store, settings: &Settings) -> Stored {
    let loaded = store.load(&settings.organization, settings.id, 1000, 1 << 20).await;
    loaded.expect("the store answers").expect("the conversation is there")
}

/// A conversation with one ended turn whose prompt says `said`, findable.
pub async fn with_message(store: &Store, settings: &Settings, said: &str) -> Message {
    let turn = turn(1, TurnState::Completed);
    let mut prompt = message(&turn, 0);
    prompt.parts = vec![text(0, said)];
    let mut writes = vec![Write::Conversation(settings.clone()), Write::Turn(turn)];
    writes.extend(whole(&prompt));
    writes.push(Write::Index(prompt.id));
    store.commit(batch(settings, writes)).await.expect("committed");
    prompt
}

impl Ground {
    /// Runs statements beside the store.
    pub fn execute(&self, statements: &str) -> diesel::QueryResult<()> {
        use diesel::connection::SimpleConnection;
        use diesel::{Connection, PgConnection, SqliteConnection};
        match &self.backend {
            Backend::Sqlite(_) => {
                let path = self.url.trim_start_matches("sqlite:");
                SqliteConnection::establish(path).expect("a connection").batch_execute(statements)
            }
            Backend::Postgres(_) => PgConnection::establish(&self.url).expect("a connection").batch_execute(statements),
        }
    }

    /// Rows of a table, counted beside the store.
    pub async fn count(&self, table: &str) -> i64 {
        use diesel::prelude::*;
        let query = format!("select count(*) as n from {table}");
        match &self.backend {
            Backend::Sqlite(_) => {
                let path = self.url.trim_start_matches("sqlite:");
                let mut connection = SqliteConnection::establish(path).expect("a connection");
                diesel::dsl::sql::<diesel::sql_types::BigInt>(&query).get_result(&mut connection).expect("a count")
            }
            Backend::Postgres(server) => {
                let database = self.url.rsplit('/').next().expect("a database");
                server.sql(database, &query).parse().expect("a count")
            }
        }
    }
}
