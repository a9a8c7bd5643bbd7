//! The checker against servers that do wrong: a small hub on real sockets that loses, repeats, swaps, misaddresses
//! or misnumbers one message must be caught, and one that does right must not.
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use switchboard_load::connection::Target;
use switchboard_load::dialect::Wire;
use switchboard_load::figures::Figures;
use switchboard_load::workload::Workload;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Wrong {
    Nothing,
    Loses,
    LosesTheFirst,
    Repeats,
    Swaps,
    Misaddresses,
    SkipsANumber,
    Refuses,
}

#[derive(Default)]
struct Hub {
    /// By channel: its subscribers and its last number.
    channels: HashMap<String, (Vec<TcpStream>, u64)>,
    /// Events so far, and one that is held back.
    events: u64,
    held: Option<String>,
}

fn frame(text: &str) -> Vec<u8> {
    let n = text.len();
    let mut f = vec![0x81];
    match n {
        0..126 => f.push(n as u8),
        _ => {
            f.push(126);
            f.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    f.extend_from_slice(text.as_bytes());
    f
}

/// The text of one masked frame; `None` at the end.
fn read_frame(s: &mut TcpStream) -> Option<String> {
    let mut head = [0; 2];
    s.read_exact(&mut head).ok()?;
    let mut n = usize::from(head[1] & 127);
    if n == 126 {
        let mut long = [0; 2];
        s.read_exact(&mut long).ok()?;
        n = u16::from_be_bytes(long).into();
    }
    let (mut mask, mut body) = ([0; 4], vec![0; n]);
    s.read_exact(&mut mask).ok()?;
    s.read_exact(&mut body).ok()?;
    body.iter_mut().enumerate().for_each(|(i, b)| *b ^= mask[i % 4]);
    String::from_utf8(body).ok()
}

impl Hub {
    fn subscribe(&mut self, frame_in: &Value, s: &mut TcpStream) {
        let channels = frame_in["channels"].as_array().unwrap();
        for c in channels {
            let (members, seq) = self.channels.entry(c.as_str().unwrap().to_owned()).or_default();
            members.push(s.try_clone().unwrap());
            let text = json!({"type": "subscribed", "channel": c, "epoch": "e", "seq": seq}).to_string();
            s.write_all(&frame(&text)).unwrap();
        }
        let text = json!({"type": "response", "id": frame_in["id"], "result": {"subscribed": channels}}).to_string();
        s.write_all(&frame(&text)).unwrap();
    }

    /// Everything right but for one event: the tenth, or the first.
    fn publish(&mut self, frame_in: &Value, wrong: Wrong, s: &mut TcpStream) {
        self.events += 1;
        let tenth = self.events == 10;
        let mut channel = frame_in["channel"].as_str().unwrap().to_owned();
        let seq = &mut self.channels.get_mut(&channel).unwrap().1;
        *seq += if wrong == Wrong::SkipsANumber && tenth { 2 } else { 1 };
        let (data, seq) = (&frame_in["data"], *seq);
        let text =
            json!({"type": "event", "channel": channel, "seq": seq, "epoch": "e", "event": "delta", "data": data});
        if wrong == Wrong::Misaddresses && tenth {
            channel = if channel.ends_with(".0") { "app:room.1".into() } else { "app:room.0".into() };
        }
        let members = &mut self.channels.get_mut(&channel).unwrap().0;
        let mut send = |text: &str, to: usize| members[to].write_all(&frame(text)).unwrap();
        let text = text.to_string();
        // the last subscriber alone is wronged
        send(&text, 0);
        match wrong {
            Wrong::Loses if tenth => {}
            Wrong::LosesTheFirst if self.events == 1 => {}
            Wrong::Repeats if tenth => (0..2).for_each(|_| send(&text, 1)),
            // one channel only in this workload, so the next event is of the same
            Wrong::Swaps if tenth => self.held = Some(text),
            _ => {
                send(&text, 1);
                if let Some(earlier) = self.held.take() {
                    send(&earlier, 1);
                }
            }
        }
        if wrong == Wrong::Refuses && tenth {
            s.write_all(&frame(r#"{"type":"error","code":"rate_limited","message":"slow down"}"#)).unwrap();
        }
    }
}

fn serve(mut s: TcpStream, hub: &Mutex<Hub>, wrong: Wrong) {
    s.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if s.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    s.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
    while let Some(text) = read_frame(&mut s) {
        let frame_in: Value = serde_json::from_str(&text).unwrap();
        let mut hub = hub.lock().unwrap();
        match frame_in["type"].as_str() {
            Some("subscribe") => hub.subscribe(&frame_in, &mut s),
            Some("publish") => hub.publish(&frame_in, wrong, &mut s),
            other => panic!("not expected: {other:?}"),
        }
    }
}

fn start(wrong: Wrong) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(Mutex::new(Hub::default()));
    std::thread::spawn(move || {
        for s in listener.incoming().flatten() {
            let hub = hub.clone();
            std::thread::spawn(move || serve(s, &hub, wrong));
        }
    });
    address
}

fn run(wrong: Wrong, wire: Wire) -> Figures {
    let rooms = if wrong == Wrong::Swaps { 1 } else { 2 };
    let w =
        Workload { rooms, subscribers: 2, rate: 100.0, seconds: 0.3, warm: 0.1, ..Workload::named("s2-20").unwrap() };
    let pid = std::process::id();
    let target = Target { address: start(wrong), pid, wire, tokens: vec!["t".into()], stats: None };
    // a gap at the end would wait for what never comes: the run is bounded anyway
    w.run(&target).unwrap()
}

#[test]
fn a_server_that_does_right_has_no_fault() {
    for wire in [Wire::Hub, Wire::Sb] {
        let f = run(Wrong::Nothing, wire);
        assert_eq!(f.get("faults"), Some(0.0), "{}", f.line());
        assert_eq!(f.get("refusals"), Some(0.0));
        assert!(f.get("deliveries_per_s").unwrap() > 0.0);
    }
}

#[test]
fn one_lost_message_is_caught_by_the_payloads_own_numbers() {
    for wrong in [Wrong::Loses, Wrong::LosesTheFirst] {
        let f = run(wrong, Wire::Hub);
        assert_eq!((f.get("gaps"), f.get("missing")), (Some(1.0), Some(1.0)), "{wrong:?} {}", f.line());
    }
}

#[test]
fn one_lost_message_is_caught_by_the_hubs_numbers_too() {
    let f = run(Wrong::Loses, Wire::Sb);
    assert_eq!((f.get("gaps"), f.get("numbering")), (Some(1.0), Some(1.0)), "{}", f.line());
}

#[test]
fn a_repeat_and_a_swap_go_backward() {
    for wrong in [Wrong::Repeats, Wrong::Swaps] {
        let f = run(wrong, Wire::Hub);
        assert_eq!(f.get("backward"), Some(1.0), "{wrong:?} {}", f.line());
    }
}

#[test]
fn a_message_of_another_channel_is_foreign() {
    let f = run(Wrong::Misaddresses, Wire::Hub);
    assert_eq!(f.get("foreign"), Some(2.0), "both subscribers got it: {}", f.line());
    assert_eq!(f.get("missing"), Some(2.0), "and both others did not: {}", f.line());
}

#[test]
fn a_skipped_number_of_the_hub_is_a_fault_of_numbering_alone() {
    let f = run(Wrong::SkipsANumber, Wire::Sb);
    assert_eq!((f.get("numbering"), f.get("faults")), (Some(2.0), Some(2.0)), "{}", f.line());
}

#[test]
fn a_refusal_is_counted_and_told() {
    let f = run(Wrong::Refuses, Wire::Hub);
    assert_eq!(f.get("refusals"), Some(1.0));
    assert!(f.get_text("first_refusal").unwrap().contains("slow down"), "{}", f.line());
}
