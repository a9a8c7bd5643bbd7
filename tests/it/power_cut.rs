//! A power cut: what the disk had not taken is gone, what was acknowledged is there.
//!
//! The hub's folder is on an ext4 of its own, on a loop device whose image lies on a second ext4. To cut, the second one
//! is frozen: from that moment no write of the device gets through, in whatever order and half-way through whatever
//! flush it was. The frozen image is copied; the copy is the disk after the cut. What only the kernel's memory held, and
//! was never asked to reach the disk, is not in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, Hub, HubOptions, run_for, text_of};

const CUTS: usize = 50;
const IMAGE: &str = "48M";

fn run_command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// A file system in an image, mounted; taken down with the value.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).expect("a folder");
        // No write in the background before its time: only what is asked to be on disk gets there soon.
        run_command("mount", &["-o", "loop,commit=300,data=ordered", text(image), text(at)]);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

fn new_image(path: &Path, size: &str) {
    run_command("truncate", &["-s", size, text(path)]);
    run_command("mkfs.ext4", &["-q", "-F", text(path)]);
}

/// The disk that is cut. Fields go down in this order.
struct Disk {
    inner: Option<Mounted>,
    outer: Mounted,
    folder: Arc<TempDir>,
}

impl Disk {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts and cuts a disk, so it needs root: run it with sudo, or in a container"
        );
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let outer_image = folder.path().join("outer.img");
        new_image(&outer_image, "160M");
        let outer = Mounted::new(&outer_image, &folder.path().join("outer"));
        let image = outer.0.join("disk.img");
        new_image(&image, IMAGE);
        // The hub's folder: where `Hub` looks for it.
        let inner = Some(Mounted::new(&image, &folder.path().join("hub")));
        Self { inner, outer, folder }
    }

    fn hub(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn image(&self) -> PathBuf {
        self.outer.0.join("disk.img")
    }

    /// The moment of the cut: gives the image as it is then.
    fn cut(&self) -> PathBuf {
        let copy = self.folder.path().join("cut.img");
        run_command("fsfreeze", &["-f", text(&self.outer.0)]);
        let copied = std::fs::copy(self.image(), &copy);
        run_command("fsfreeze", &["-u", text(&self.outer.0)]);
        copied.expect("the image is copied");
        copy
    }

    /// The power comes back: the disk is what it was at the cut.
    fn back(&mut self, cut: &Path) {
        self.inner = None;
        std::fs::copy(cut, self.image()).expect("the image is put back");
        self.inner = Some(Mounted::new(&self.image(), &self.hub()));
    }
}

/// The cut loses what was not flushed, and only that: else the other test would prove nothing.
#[test]
fn soak_a_cut_loses_what_was_not_flushed() {
    use std::io::Write;
    let mut disk = Disk::new();
    for (name, flushed) in [("kept", true), ("lost", false)] {
        let mut file = std::fs::File::create(disk.hub().join(name)).expect("a file");
        file.write_all(b"everything").expect("it is written");
        if flushed {
            file.sync_all().expect("it is flushed");
            std::fs::File::open(disk.hub()).and_then(|folder| folder.sync_all()).expect("its name is flushed");
        }
    }
    let cut = disk.cut();
    assert_eq!(std::fs::read(disk.hub().join("lost")).expect("before the cut"), b"everything");
    disk.back(&cut);
    assert_eq!(std::fs::read(disk.hub().join("kept")).expect("after the cut"), b"everything");
    let lost = std::fs::read(disk.hub().join("lost")).unwrap_or_default();
    assert_eq!(lost, b"", "what was never flushed survived the cut");
}

/// What the hub said it has.
#[derive(Default)]
struct Acknowledged {
    /// Texts of messages, by their ids, and of answers that were told to be complete.
    messages: BTreeMap<String, String>,
    answers: BTreeMap<String, String>,
}

struct Life {
    client: Client,
    session: String,
    outstanding: usize,
}

impl Life {
    /// Reads frames until `acknowledgements` more messages are acknowledged.
    async fn read(&mut self, acknowledgements: usize, known: &mut Acknowledged) {
        let mut seen = 0;
        while seen < acknowledgements {
            let frame = self.client.next().await;
            note(&frame, known);
            if frame["type"] == "response" {
                self.outstanding -= 1;
                seen += 1;
            }
        }
    }

    async fn send(&mut self, name: &str) {
        let params = json!({"sessionId": self.session, "content": format!("{name} long 12"), "idempotencyKey": name});
        let frame = json!({"type": "request", "id": name, "method": "messages.send", "params": params});
        self.client.send(frame).await;
        self.outstanding += 1;
    }
}

fn note(frame: &Value, known: &mut Acknowledged) {
    if frame["type"] == "response" {
        let name = frame["id"].as_str().expect("an id");
        let message = frame["result"]["messageId"].as_str().unwrap_or_else(|| panic!("{frame}"));
        known.messages.insert(message.to_owned(), format!("{name} long 12"));
    }
    let message = &frame["data"]["message"];
    if frame["event"] == "message.updated" && message["state"] == "complete" && message["role"] == "assistant" {
        known.answers.insert(message["id"].as_str().expect("an id").to_owned(), text_of(message));
    }
}

async fn stored(client: &mut Client, session: &str) -> BTreeMap<String, Value> {
    let mut stored = BTreeMap::new();
    let mut before = Value::Null;
    loop {
        let page = client.call("messages.list", json!({"sessionId": session, "limit": 200, "before": before})).await;
        for message in page["items"].as_array().expect("a list") {
            stored.insert(message["id"].as_str().expect("an id").to_owned(), message.clone());
        }
        before = page["nextCursor"].clone();
        if before.is_null() {
            return stored;
        }
    }
}

async fn begin(hub: &Hub, token: &str, session: Option<&str>) -> Life {
    let mut client = Client::connect(&hub.address, token).await;
    let session = match session {
        Some(session) => session.to_owned(),
        None => client.session().await,
    };
    // A session that is lost is a failure here, not a wait.
    client.call("sessions.get", json!({"sessionId": session})).await;
    client.subscribe(&format!("session:{session}"), None).await;
    Life { client, session, outstanding: 0 }
}

/// All that was acknowledged is in the store. Gives how many rows that were.
async fn check(life: &mut Life, known: &Acknowledged, cut: usize) -> usize {
    let stored = stored(&mut life.client, &life.session).await;
    for (id, content) in known.messages.iter().chain(&known.answers) {
        let message = stored.get(id).unwrap_or_else(|| panic!("cut {cut}: {id}, {content:?}, was acknowledged"));
        assert_eq!(text_of(message), *content, "cut {cut}");
    }
    for id in known.answers.keys() {
        assert_eq!(stored[id]["state"], "complete", "cut {cut}");
    }
    known.messages.len() + known.answers.len()
}

#[test]
fn soak_fifty_power_cuts_lose_nothing_that_was_acknowledged() {
    let mut disk = Disk::new();
    run_for(1200, async {
        let options = HubOptions::default().set("SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS", 0);
        // The folder's first start is not cut: there is nothing to acknowledge in it.
        let mut hub = Hub::start_in(disk.folder.clone(), options.clone());
        let token = hub.token("alice", "acme", "member");
        let mut life = begin(&hub, &token, None).await;
        let (mut known, mut rows, mut sent) = (Acknowledged::default(), 0, 0);
        let mut earlier: Vec<(String, Acknowledged)> = Vec::new();
        for cut in 0..CUTS {
            if cut % 2 == 0 {
                let before = std::mem::replace(&mut life, begin(&hub, &token, None).await);
                earlier.push((before.session, std::mem::take(&mut known)));
            }
            // Some are always under way, so that the cut falls into a commit.
            for _ in 0..3 + cut % 5 {
                for _ in 0..6 {
                    sent += 1;
                    life.send(&format!("{sent}")).await;
                }
                life.read(3, &mut known).await;
            }
            let image = disk.cut();
            hub.kill();
            disk.back(&image);
            hub = Hub::start_in(disk.folder.clone(), options.clone());
            life = begin(&hub, &token, Some(&life.session)).await;
            rows += check(&mut life, &known, cut).await;
        }
        // What was there after its own cut is there after all the others.
        for (session, known) in &earlier {
            life.session = session.clone();
            rows += check(&mut life, known, CUTS).await;
        }
        hub.kill();
        println!("{CUTS} cuts, {sent} messages sent, {rows} acknowledged rows found again");
    });
}
