//! `kill -9` at any moment of an answer that streams to three: nothing that was acknowledged is lost, and all converge.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Hub, HubOptions, Watcher, assert_converged, run_for, text_of};

/// Words of an answer that no kill lets end.
const WORDS: usize = 6000;
/// Conversations are changed after so many kills, so that none grows without end.
const KILLS_EACH: usize = 20;

/// Points in the stream that differ from kill to kill, and are the same in each run.
struct Points(u64);

impl Points {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

fn whole_text() -> String {
    (1..=WORDS).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ")
}

struct Killing {
    hub: Hub,
    token: String,
    watchers: Vec<Watcher>,
    points: Points,
    epochs: BTreeSet<String>,
    /// Messages of the conversation at hand that the hub said it has.
    acknowledged: Vec<(String, String)>,
    rows: usize,
}

impl Killing {
    fn start(options: HubOptions) -> Self {
        let hub = Hub::start(options);
        let token = hub.token("alice", "acme", "member");
        let (watchers, epochs) = (Vec::new(), BTreeSet::new());
        Self { hub, token, watchers, points: Points(7), epochs, acknowledged: Vec::new(), rows: 0 }
    }

    async fn new_conversation(&mut self) {
        let mut client = crate::support::Client::connect(&self.hub.address, &self.token).await;
        let session = client.session().await;
        self.watchers.clear();
        self.acknowledged.clear();
        for _ in 0..3 {
            self.watchers.push(Watcher::join(&self.hub.address, &self.token, &session).await);
        }
    }

    async fn say(&mut self, content: &str) -> String {
        let sent = self.watchers[0].say(content).await;
        let turn = sent["turnId"].as_str().expect("an id").to_owned();
        self.acknowledged.push((sent["messageId"].as_str().expect("an id").to_owned(), content.to_owned()));
        turn
    }

    async fn kill(&mut self) {
        self.hub.kill();
        for watcher in &mut self.watchers {
            assert_eq!(watcher.until_closed().await, 1006);
        }
    }

    /// A new process on the same folder, and everybody comes back. Gives what each answer showed before.
    async fn restart(&mut self) {
        self.hub.revive();
        let mut epoch = None;
        for watcher in &mut self.watchers {
            let answer = watcher.rejoin(&self.hub.address).await;
            assert_eq!(answer["recovered"], false, "a numbering that is over was resumed");
            epoch = Some(answer["epoch"].as_str().expect("an epoch").to_owned());
        }
        assert!(self.epochs.insert(epoch.expect("three watchers")), "an epoch was used twice");
    }

    /// All hold the same, and everything that was acknowledged.
    async fn check(&mut self) -> Value {
        let stored = assert_converged(&mut self.watchers).await;
        for (id, content) in &self.acknowledged {
            let message = stored.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            assert_eq!(text_of(message), *content);
        }
        let users = stored.values().filter(|m| m["role"] == "user").count();
        assert_eq!(users, self.acknowledged.len(), "a message came twice");
        self.rows += stored.len();
        stored.values().rfind(|m| m["role"] == "assistant").cloned().expect("an answer")
    }

    /// In mid-answer, after some deltas; the longer ones go over several checkpoints.
    async fn in_mid_answer(&mut self, n: usize) {
        let deltas = if n.is_multiple_of(8) { 1200 + self.points.below(700) } else { self.points.below(250) };
        let turn = self.say(&format!("kill {n} long {WORDS}")).await;
        let teller = n % self.watchers.len();
        for _ in 0..deltas {
            self.watchers[teller].until(|f| !f["data"]["delta"].is_null()).await;
        }
        self.kill().await;
        let shown: Vec<_> = self.watchers.iter().map(|w| w.picture.shown.clone()).collect();
        let streamed = self.watchers[teller].picture.shown.last().map_or(0, |(_, length)| *length);
        self.restart().await;
        let answer = self.check().await;
        assert_eq!((&answer["state"], &answer["turnId"]), (&json!("interrupted"), &json!(turn)));
        assert_eq!(self.watchers[0].picture.turns[&turn], "interrupted");
        let kept = text_of(&answer);
        assert!(whole_text().starts_with(&kept), "what is kept is no beginning of what was said: {kept}");
        for shown in shown {
            let Some((last, _)) = shown.last() else { continue };
            let before = shown.iter().rev().find(|(at, _)| at + 1000 <= *last).map_or(0, |(_, length)| *length);
            assert!(kept.len() >= before, "{} of {streamed} bytes kept, {before} were older than a second", kept.len());
        }
    }

    /// While others wait behind it: they start afterwards, in order.
    async fn with_a_queue(&mut self, n: usize) {
        let first = self.say(&format!("kill {n} long {WORDS}")).await;
        let mut turns = vec![first.clone()];
        for place in 0..3 {
            turns.push(self.say(&format!("kill {n} place {place} long 20")).await);
        }
        let deltas = self.points.below(100);
        for _ in 0..deltas {
            self.watchers[0].until(|f| !f["data"]["delta"].is_null()).await;
        }
        self.kill().await;
        self.restart().await;
        for watcher in &mut self.watchers {
            assert_eq!(watcher.until_ended(&first).await, "interrupted");
            for turn in &turns[1..] {
                assert_eq!(watcher.until_ended(turn).await, "completed");
            }
            // The status comes after the end of the turn.
            watcher.settle().await;
        }
        self.check().await;
        let session = self.watchers[0].client.positions.keys().next().expect("a channel").clone();
        let mut fresh = crate::support::Client::connect(&self.hub.address, &self.token).await;
        let ended = fresh.subscribe(&session, None).await["snapshot"]["turns"].take();
        let ended = ended.as_array().expect("turns");
        let times: Vec<_> = ended[ended.len() - 4..]
            .iter()
            .zip(&turns)
            .map(|(turn, id)| {
                assert_eq!(turn["id"], id.as_str(), "the queue lost its order");
                (turn["startedAt"].as_str().expect("a time").to_owned(), turn["endedAt"].as_str().expect("a time"))
            })
            .collect();
        for pair in times.windows(2) {
            assert!(pair[0].1 <= pair[1].0.as_str(), "a turn started before the one ahead of it had ended: {times:?}");
        }
    }

    /// Before anybody knows whether the message came in: asking again with the same key makes one of it.
    async fn before_the_answer(&mut self, n: usize) {
        let content = format!("kill {n} long 30");
        let session =
            self.watchers[0].client.positions.keys().next().expect("a channel")["session:".len()..].to_owned();
        let params = json!({"sessionId": session, "content": content, "idempotencyKey": format!("key {n}")});
        let frame = json!({"type": "request", "id": "once", "method": "messages.send", "params": params});
        self.watchers[0].client.send(frame).await;
        for _ in 0..self.points.below(200) {
            tokio::task::yield_now().await;
        }
        let pause = std::time::Duration::from_micros(self.points.below(6000));
        // No wait for anything: the point of the kill is chosen at random in time.
        std::thread::sleep(pause);
        self.kill().await;
        self.restart().await;
        let first = self.watchers[0].client.call("messages.send", params.clone()).await;
        let again = self.watchers[0].client.call("messages.send", params).await;
        assert_eq!(first, again);
        self.acknowledged.push((first["messageId"].as_str().expect("an id").to_owned(), content));
        let turn = first["turnId"].as_str().expect("an id");
        for watcher in &mut self.watchers {
            let state = watcher.until_ended(turn).await;
            assert!(["completed", "interrupted"].contains(&state.as_str()), "{state}");
        }
        self.check().await;
    }
}

pub async fn kills(count: usize, options: HubOptions) {
    let mut killing = Killing::start(options);
    for n in 0..count {
        if n % KILLS_EACH == 0 {
            killing.new_conversation().await;
        }
        match n % 5 {
            1 => killing.before_the_answer(n).await,
            3 => killing.with_a_queue(n).await,
            _ => killing.in_mid_answer(n).await,
        }
    }
    println!("{count} kills, {} rows compared, {} epochs", killing.rows, killing.epochs.len());
}

#[test]
fn a_killed_hub_loses_nothing_and_all_converge() {
    run_for(240, kills(70, HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3)));
}

#[test]
fn soak_a_thousand_kills() {
    run_for(5000, kills(1000, HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3)));
}
