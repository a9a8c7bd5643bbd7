//! What a client that keeps a copy of a session holds: snapshots replace it, events change it.

use serde_json::Value;

use super::Client;

/// A copy of one session, kept by the rules of the wire and nothing else.
#[derive(Default)]
pub struct Mirror {
    /// In the order in which they were told.
    pub messages: Vec<Value>,
    /// The last event applied: epoch and seq.
    pub position: Option<(String, u64)>,
    /// Turns that have ended.
    pub ended: Vec<String>,
    pub approvals: Vec<Value>,
    /// Snapshots taken, and events that stood for more than one.
    pub snapshots: usize,
    pub merged: usize,
}

impl Mirror {
    /// Applies a frame of the session's channel; others are none of its business.
    pub fn apply(&mut self, frame: &Value) {
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        if !text("channel").starts_with("session:") {
            return;
        }
        let seq = frame["seq"].as_u64().unwrap_or_default();
        match text("type").as_str() {
            "subscribed" => {
                if frame["recovered"] == true {
                    assert_eq!(self.position, Some((text("epoch"), seq)), "recovered from elsewhere: {frame}");
                } else {
                    self.take(&frame["snapshot"]);
                }
                self.position = Some((text("epoch"), seq));
            }
            "event" => {
                let from = frame["fromSeq"].as_u64().unwrap_or(seq);
                self.merged += usize::from(from != seq);
                let Some((epoch, last)) = &self.position else { panic!("an event before its snapshot: {frame}") };
                assert_eq!((epoch.as_str(), last + 1), (text("epoch").as_str(), from), "{frame}");
                self.position = Some((text("epoch"), seq));
                self.change(&text("event"), &frame["data"]);
            }
            _ => {}
        }
    }

    fn take(&mut self, snapshot: &Value) {
        assert!(snapshot.is_object(), "a session's channel has a snapshot");
        self.snapshots += 1;
        let list = |value: &Value| value.as_array().cloned().expect("a list");
        self.messages = list(&snapshot["messages"]);
        self.approvals = list(&snapshot["approvals"]);
        self.ended = list(&snapshot["turns"]).iter().filter_map(|t| t["id"].as_str().map(str::to_owned)).collect();
    }

    fn change(&mut self, event: &str, data: &Value) {
        match event {
            "message.created" => self.messages.push(data["message"].clone()),
            "message.updated" => *self.message(&data["message"]["id"]) = data["message"].clone(),
            "part.created" => {
                let part = &data["part"];
                let parts = self.message(&part["messageId"])["parts"].as_array_mut().expect("parts");
                assert_eq!(part["index"], parts.len(), "{part}");
                parts.push(part.clone());
            }
            "part.updated" => {
                let parts = self.message(&data["messageId"])["parts"].as_array_mut().expect("parts");
                let part = parts.iter_mut().find(|p| p["id"] == data["partId"]).expect("a known part");
                if let Some(delta) = data["delta"].as_str() {
                    part["text"] = Value::from(part["text"].as_str().expect("a text").to_owned() + delta);
                } else {
                    *part = data["part"].clone();
                }
            }
            "turn.ended" => self.ended.push(data["turnId"].as_str().expect("an id").to_owned()),
            "tool.approval_required" => self.approvals.push(data.clone()),
            "tool.approval_resolved" => self.approvals.retain(|a| a["requestId"] != data["requestId"]),
            _ => {}
        }
    }

    fn message(&mut self, id: &Value) -> &mut Value {
        self.messages.iter_mut().find(|m| m["id"] == *id).unwrap_or_else(|| panic!("an unknown message: {id}"))
    }

    /// The text of the answers, in order.
    pub fn answers(&self) -> String {
        let answers = self.messages.iter().filter(|m| m["role"] == "assistant");
        let parts = answers.flat_map(|m| m["parts"].as_array().expect("parts"));
        parts.filter(|p| p["type"] == "text").filter_map(|p| p["text"].as_str()).collect()
    }

    /// Reads until the turn has ended.
    pub async fn follow(&mut self, client: &mut Client, turn: &str) {
        while !self.ended.iter().any(|t| t == turn) {
            let frame = client.next().await;
            self.apply(&frame);
        }
    }

    /// Fails where the copy is not what is stored.
    pub async fn must_equal_the_store(&self, client: &mut Client, session: &str) {
        let stored = client.call("messages.list", serde_json::json!({"sessionId": session, "limit": 200})).await;
        let by_id = |list: &[Value]| {
            let mut list = list.to_vec();
            list.sort_by_key(|m| m["id"].to_string());
            list
        };
        assert_eq!(by_id(&self.messages), by_id(stored["items"].as_array().expect("items")));
    }
}
