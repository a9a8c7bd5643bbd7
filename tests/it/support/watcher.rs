//! A subscriber that keeps what it is told: snapshot and events come to one picture, which must equal everybody's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Client;

/// What a subscriber knows of a conversation.
#[derive(Debug, Default)]
pub struct Picture {
    /// By id: role, state and parts.
    pub messages: BTreeMap<String, Value>,
    /// The state of each turn, by id.
    pub turns: BTreeMap<String, String>,
    /// Ids of turns in the order in which they started.
    pub started: Vec<String>,
    /// Pending approvals, by request id.
    pub approvals: BTreeMap<String, Value>,
    /// The hub's own time of each delta, in milliseconds, and how long the answer was then.
    pub shown: Vec<(u64, usize)>,
}

impl Picture {
    /// The text of a message.
    pub fn text(&self, message: &str) -> String {
        self.messages.get(message).map(text_of).unwrap_or_default()
    }

    /// The newest message of the agent.
    pub fn answer(&self) -> &Value {
        let answer = self.messages.values().rfind(|m| m["role"] == "assistant");
        answer.unwrap_or_else(|| panic!("an answer among {:#?}", self.messages))
    }

    fn apply(&mut self, frame: &Value) {
        match (frame["type"].as_str(), frame["event"].as_str()) {
            (Some("subscribed"), _) if frame["recovered"] == false => self.replace(&frame["snapshot"]),
            (Some("event"), Some(event)) => self.event(event, &frame["data"], frame["ts"].as_u64().expect("a time")),
            _ => {}
        }
    }

    fn replace(&mut self, snapshot: &Value) {
        let started = std::mem::take(&mut self.started);
        *self = Self { started, ..Self::default() };
        for message in list(&snapshot["messages"]) {
            self.put(message);
        }
        for turn in list(&snapshot["turns"]).iter().chain(list(&snapshot["queue"])).chain(Some(&snapshot["turn"])) {
            if let Some(id) = turn["id"].as_str() {
                self.turns.insert(id.to_owned(), text(&turn["state"]));
            }
        }
        for approval in list(&snapshot["approvals"]) {
            self.approvals.insert(text(&approval["requestId"]), approval.clone());
        }
    }

    fn put(&mut self, message: &Value) {
        let known = json!({
            "id": message["id"], "role": message["role"], "turnId": message["turnId"], "state": message["state"],
            "parts": message["parts"],
        });
        self.messages.insert(text(&message["id"]), known);
    }

    fn event(&mut self, name: &str, data: &Value, at: u64) {
        match name {
            "message.created" => self.put(&data["message"]),
            "message.updated" => {
                // The whole text that comes with the end is what was streamed, or something was lost on the way.
                let id = text(&data["message"]["id"]);
                assert_eq!(self.text(&id), text_of(&data["message"]), "the text of {id} is not what was streamed");
                self.put(&data["message"]);
            }
            "part.created" => self.parts(&data["part"]["messageId"]).push(data["part"].clone()),
            "part.updated" => self.part(data, at),
            "turn.queued" => drop(self.turns.insert(text(&data["turnId"]), "queued".into())),
            "turn.started" => {
                self.turns.insert(text(&data["turnId"]), "running".into());
                self.started.push(text(&data["turnId"]));
                self.shown.clear();
            }
            "turn.ended" => drop(self.turns.insert(text(&data["turnId"]), text(&data["state"]))),
            "tool.approval_required" => drop(self.approvals.insert(text(&data["requestId"]), data.clone())),
            "tool.approval_resolved" => drop(self.approvals.remove(&text(&data["requestId"]))),
            _ => {}
        }
    }

    fn parts(&mut self, message: &Value) -> &mut Vec<Value> {
        let message = self.messages.get_mut(message.as_str().expect("an id")).expect("a message that is known");
        message["parts"].as_array_mut().expect("parts")
    }

    fn part(&mut self, data: &Value, at: u64) {
        let parts = self.parts(&data["messageId"]);
        let part = parts.iter_mut().find(|p| p["id"] == data["partId"]).expect("a part that is known");
        if let Some(delta) = data["delta"].as_str() {
            let grown = text(&part["text"]) + delta;
            let length = grown.len();
            part["text"] = grown.into();
            self.shown.push((at, length));
        } else if let Some(whole) = data["text"].as_str() {
            part["text"] = whole.into();
        } else {
            *part = data["part"].clone();
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The text parts of a message, joined.
pub fn text_of(message: &Value) -> String {
    list(&message["parts"]).iter().filter(|p| p["type"] == "text").filter_map(|p| p["text"].as_str()).collect()
}

/// A client on one conversation that comes back after each loss of its connection.
pub struct Watcher {
    pub client: Client,
    pub picture: Picture,
    session: String,
    token: String,
}

impl Watcher {
    pub async fn join(address: &str, token: &str, session: &str) -> Self {
        let mut client = Client::connect(address, token).await;
        let first = client.subscribe(&format!("session:{session}"), None).await;
        let mut picture = Picture::default();
        picture.apply(&first);
        Self { client, picture, session: session.into(), token: token.into() }
    }

    fn channel(&self) -> String {
        format!("session:{}", self.session)
    }

    /// Connects anew and goes on from where it stood. Gives the answer to that.
    pub async fn rejoin(&mut self, address: &str) -> Value {
        let (epoch, seq) = self.client.positions[&self.channel()].clone();
        self.client = Client::connect(address, &self.token).await;
        let answer = self.client.subscribe(&self.channel(), Some((&epoch, seq))).await;
        self.picture.apply(&answer);
        answer
    }

    /// The next frame, taken into the picture; `None` once closed.
    pub async fn step(&mut self) -> Option<Value> {
        let frame = self.client.read_on().await?;
        self.picture.apply(&frame);
        Some(frame)
    }

    /// Takes frames in until one fits; panics where the connection ends before.
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.step().await.unwrap_or_else(|| panic!("closed with {:?}", self.client.closed));
            if fits(&frame) {
                return frame;
            }
        }
    }

    pub async fn until_event(&mut self, name: &str) -> Value {
        self.until(|f| f["event"] == name).await["data"].take()
    }

    /// Takes frames in until the turn has ended, also where it had ended before; its state.
    pub async fn until_ended(&mut self, turn: &str) -> String {
        while !self.has_ended(turn) {
            assert!(self.step().await.is_some(), "closed with {:?}", self.client.closed);
        }
        self.picture.turns[turn].clone()
    }

    /// Whether the turn is over, as far as was heard.
    pub fn has_ended(&self, turn: &str) -> bool {
        const ENDED: [&str; 6] = ["completed", "stopped", "aborted", "cancelled", "failed", "interrupted"];
        self.picture.turns.get(turn).is_some_and(|state| ENDED.contains(&state.as_str()))
    }

    /// Takes in what comes until the connection ends.
    pub async fn until_closed(&mut self) -> u16 {
        while self.step().await.is_some() {}
        self.client.closed.expect("a close code")
    }

    /// Takes in all that was sent before now.
    pub async fn settle(&mut self) {
        self.client.send(json!({"type": "ping"})).await;
        self.until(|f| f["type"] == "pong").await;
    }

    /// What the store holds, in the form of the picture's messages.
    pub async fn stored(&mut self) -> BTreeMap<String, Value> {
        let mut stored = Picture::default();
        let mut before = Value::Null;
        loop {
            let params = json!({"sessionId": self.session, "limit": 100, "before": before});
            let page = self.client.call("messages.list", params).await;
            for message in list(&page["items"]) {
                stored.put(message);
            }
            before = page["nextCursor"].clone();
            if before.is_null() {
                return stored.messages;
            }
        }
    }

    pub async fn say(&mut self, content: &str) -> Value {
        let params = json!({"sessionId": self.session, "content": content});
        self.client.call("messages.send", params).await
    }
}

/// All watchers and the store hold the same. Gives the messages.
pub async fn assert_converged(watchers: &mut [Watcher]) -> BTreeMap<String, Value> {
    for watcher in watchers.iter_mut() {
        watcher.settle().await;
    }
    let stored = watchers[0].stored().await;
    for watcher in watchers.iter() {
        for (id, message) in &watcher.picture.messages {
            assert_eq!(stored.get(id), Some(message), "a watcher and the store differ");
        }
        assert_same_turns(&watcher.picture.turns, &watchers[0].picture.turns);
        let known = watcher.picture.approvals.keys().collect::<Vec<_>>();
        assert_eq!(known, watchers[0].picture.approvals.keys().collect::<Vec<_>>());
        assert_eq!(watcher.picture.messages.len(), watchers[0].picture.messages.len());
    }
    stored
}

/// A snapshot names the latest turns that ended: who came by one may know fewer of the old ones, and nothing else differs.
fn assert_same_turns(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) {
    let both = one.len().min(other.len());
    assert!(both == one.len().max(other.len()) || both >= 20, "{one:?} and {other:?}");
    let latest = |turns: &BTreeMap<String, String>| turns.clone().into_iter().rev().take(both).collect::<Vec<_>>();
    assert_eq!(latest(one), latest(other));
}
