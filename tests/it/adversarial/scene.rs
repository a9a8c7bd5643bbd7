//! A hub at work that is attacked, and what must hold afterwards.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::domain::account::StoredAudit;
use switchboard::store::AuditQuery;

use crate::handshake::{SECRET, now, signed};
use crate::limits::raw::Answer;
use crate::support::{Client, Hub, HubOptions, Identity};

pub struct Scene {
    pub hub: Hub,
    /// Somebody else, at work: hears nothing of it all.
    bystander: Client,
    /// The bystander's conversation.
    pub session: String,
    state: Value,
}

impl Scene {
    pub async fn new(options: HubOptions) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a folder"));
        keep_secret(&data.path().join("hub/secrets"));
        let hub = Hub::start_in(data, options.set("SWITCHBOARD_LOG__LEVEL", "debug"));
        // There already: a token of the command line makes them.
        let members = ["bystander", "ann"].map(|user| hub.token(user, "acme", "member"));
        let mut bystander = Client::connect(&hub.address, &members[0]).await;
        let session = bystander.session().await;
        for channel in [format!("session:{session}"), "user:bystander".into(), "org:acme".into(), "app:news".into()] {
            bystander.subscribe(&channel, None).await;
        }
        bystander.say(&session, "hello").await;
        bystander.event("turn.ended").await;
        bystander.until_pong().await;
        bystander.take_waiting();
        let mut scene = Self { hub, bystander, session, state: Value::Null };
        scene.state = scene.look().await;
        scene
    }

    pub fn address(&self) -> &str {
        &self.hub.address
    }

    /// A good token of ann, a member of the bystander's organization.
    pub fn token(&self) -> String {
        signed(&json!({"sub": "ann", "org": "acme", "exp": now() + 3600}))
    }

    async fn look(&mut self) -> Value {
        let counts = Identity::of(&self.hub.folder()).0.counts().await.expect("the store answers");
        let sessions = self.bystander.call("sessions.list", json!({})).await;
        let messages = self.bystander.call("messages.list", json!({"sessionId": self.session})).await;
        json!([counts.organizations, counts.users, sessions, messages])
    }

    /// What must hold whatever was tried: nothing has changed, nobody else noticed, the log holds none of the secrets,
    /// and the refusals are in the audit log, counted by these (action, code) and no others.
    pub async fn unharmed(mut self, refusals: &[(&str, &str)], secrets: &[&str]) {
        let state = self.look().await;
        assert_eq!(state, self.state, "something has changed");
        let rows = self.silent(secrets).await;
        let refused = rows.iter().filter(|row| row.entry.outcome.as_deref() == Some("refused"));
        let mut found: Vec<(String, String)> = refused
            .map(|row| (row.entry.action.clone(), row.entry.details["code"].as_str().unwrap_or_default().to_owned()))
            .collect();
        found.sort();
        // The first of a kind is written at once, those after it together.
        found.dedup();
        let mut wanted: Vec<_> = refusals.iter().map(|(what, code)| ((*what).to_owned(), (*code).to_owned())).collect();
        wanted.sort();
        assert_eq!(found, wanted, "{rows:#?}");
    }

    /// Nobody else noticed, and neither the log nor the audit log, which it gives, holds any of the secrets.
    pub async fn silent(mut self, secrets: &[&str]) -> Vec<StoredAudit> {
        assert_eq!(self.bystander.until_pong().await, Vec::<Value>::new(), "somebody else heard of it");
        assert!(self.hub.terminate().success());
        let log = self.hub.log();
        assert!(log.iter().any(|line| line.contains("\"level\":\"DEBUG\"")), "the log is at debug");
        let rows = audit(&self.hub).await;
        for secret in secrets.iter().chain([&SECRET]).filter(|secret| !secret.is_empty()) {
            assert_eq!(log.iter().find(|line| line.contains(secret)), None, "{secret} is in the log");
            let told = rows.iter().find(|row| format!("{:?}", row.entry).contains(secret));
            assert_eq!(told, None, "{secret} is in the audit log");
        }
        rows
    }
}

/// The audit log of all organizations.
pub async fn audit(hub: &Hub) -> Vec<StoredAudit> {
    let query = AuditQuery { limit: 1000, ..AuditQuery::default() };
    Identity::of(&hub.folder()).0.audit_of_hub(query).await.expect("the store answers").items
}

/// What callers who are known were refused by the hub: `user@organization`, what they asked, the code.
pub fn refused_callers(rows: &[StoredAudit]) -> BTreeSet<(String, String, String)> {
    let told = |StoredAudit { entry, .. }: &StoredAudit| {
        let (organization, actor) = (entry.organization.as_ref()?, entry.actor.as_ref()?);
        let code = entry.details["code"].as_str().filter(|_| entry.outcome.as_deref() == Some("refused"))?;
        Some((format!("{actor}@{organization}"), entry.action.clone(), code.to_owned()))
    };
    rows.iter().filter_map(told).collect()
}

/// The same as it must be.
pub fn told(who: &str, refusals: &[(&str, &str)]) -> BTreeSet<(String, String, String)> {
    refusals.iter().map(|(action, code)| (who.to_owned(), (*action).to_owned(), (*code).to_owned())).collect()
}

/// The secret of the tests where the hub keeps its own: so the command line signs with it too.
fn keep_secret(folder: &Path) {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).expect("the folder is made");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("jwt"));
    std::io::Write::write_all(&mut file.expect("the file is made"), SECRET.as_bytes()).expect("it is written");
}

/// A refusal, whole: status, code, words, the request's id.
pub fn assert_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{what}: {} {}", answer.head, answer.body);
    let error = &answer.body["error"];
    let (text, id) = match error.is_object() {
        true => (&error["message"], &error["requestId"]),
        false => (error, &answer.body["requestId"]),
    };
    assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{what}: {}", answer.body);
    assert!(id.is_string() && id.as_str() == answer.header("x-request-id"), "{what}: {}", answer.head);
}
