//! Bytes that break other servers: lengths, bombs, frames that are none. Before anybody vouches for a connection its
//! frames are not even looked at.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scene::Scene;
use crate::limits::raw::{answer, knock};
use crate::support::{Hub, HubOptions, exchange, run};

const HERE: &str = "127.0.0.1";
const DEFLATE: (&str, &str) = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
const MASK: [u8; 4] = [1, 2, 3, 4];

/// A frame as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long if long <= 0xffff => frame.extend([&[0xfe][..], &(long as u16).to_be_bytes()].concat()),
        long => frame.extend([&[0xff][..], &(long as u64).to_be_bytes()].concat()),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The head of a frame of that length, with nothing behind it.
fn head_of(length: u64) -> Vec<u8> {
    [&[0x82, 0xff][..], &length.to_be_bytes(), &MASK].concat()
}

/// One block of DEFLATE that unpacks to 258 zeros for every 13 bits: some ten megabytes.
fn bomb() -> Vec<u8> {
    let (mut bytes, mut free) = (vec![0u8], 0);
    let mut put = |bits: u32, count: u32| {
        for n in (0..count).rev() {
            if free == 8 {
                bytes.push(0);
                free = 0;
            }
            *bytes.last_mut().expect("a byte") |= ((bits >> n & 1) as u8) << free;
            free += 1;
        }
    };
    // Last block, fixed codes, which stand there with their last bit first; then one zero.
    put(0b1, 1);
    put(0b10, 2);
    put(0b0011_0000, 8);
    for _ in 0..40_000 {
        put(0b1100_0101, 8);
        put(0, 5);
    }
    put(0, 7);
    bytes
}

/// A handshake without any credential, with more bytes right behind it; the answer, and what it cost the hub.
async fn behind_a_handshake(scene: &Scene, more: &[u8]) -> (u16, u64) {
    let before = scene.hub.resident();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}: {}\r\n\r\n",
        scene.address(),
        DEFLATE.0,
        DEFLATE.1
    );
    let mut socket = TcpStream::connect(scene.address()).await.expect("a connection");
    let _ = socket.write_all(&[head.as_bytes(), more].concat()).await;
    let answer = answer(&mut socket).await;
    assert_eq!(answer.code(), "unauthorized", "{} {}", answer.head, answer.text);
    (answer.status, scene.hub.resident().saturating_sub(before))
}

/// The code of the close frame that ends it.
async fn close_code(socket: &mut TcpStream) -> u16 {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.expect("the end");
    // Pongs may come first; a close is the last frame, with at least a code.
    let at = all.iter().rposition(|byte| *byte == 0x88).expect("a close frame");
    u16::from_be_bytes([all[at + 2], all[at + 3]])
}

#[test]
fn case_15_an_enormous_length_before_anybody_vouches_for_it() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        for length in [(1 << 63) - 1, 1 << 63, u64::MAX, 1 << 32, 1 << 40] {
            let (status, cost) = behind_a_handshake(&scene, &head_of(length)).await;
            assert_eq!(status, 401, "{length}");
            assert!(cost < 4 << 20, "{cost} bytes for a length of {length}");
        }
        // Nor where there was no handshake at all: that is no HTTP, and is told so or cut.
        let mut socket = TcpStream::connect(scene.address()).await.expect("a connection");
        let _ = socket.write_all(&head_of((1 << 63) - 1)).await;
        let said = answer(&mut socket).await;
        assert!([0, 400].contains(&said.status), "{}", said.head);
        // Who was let in gets no further with it.
        let path = format!("/ws?token={}", scene.token());
        for (length, code) in [((1 << 63) - 1, 1009), (1 << 63, 1002), (u64::MAX, 1002), (1 << 40, 1009)] {
            let before = scene.hub.resident();
            let mut socket = knock(HERE, scene.address(), &path, &[]).await.ok().expect("it opens");
            socket.write_all(&head_of(length)).await.expect("it is sent");
            assert_eq!(close_code(&mut socket).await, code, "{length}");
            let cost = scene.hub.resident().saturating_sub(before);
            assert!(cost < 4 << 20, "{cost} bytes for a length of {length}");
        }
        let token = scene.token();
        scene.unharmed(&[("/ws", "unauthorized")], &[&token]).await;
    });
}

/// Anybody can send it: what it is worth in the log is nothing.
#[test]
fn what_is_no_http_is_no_error_in_the_log() {
    run(async {
        let mut hub = Hub::start(HubOptions::default());
        for bytes in ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nhost\u{1}: x\r\n\r\n"] {
            let said = exchange(&hub.address, bytes).await;
            assert!(said.starts_with("HTTP/1.1 400 "), "{bytes:?}: {said}");
        }
        assert!(hub.terminate().success());
        let loud = |line: &&String| line.contains("\"level\":\"ERROR\"") || line.contains("\"level\":\"WARN\"");
        let log = hub.log();
        assert_eq!(log.iter().filter(loud).collect::<Vec<_>>(), Vec::<&String>::new());
    });
}

#[test]
fn case_16_a_bomb_is_never_unpacked() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let bomb = bomb();
        assert!(bomb.len() < 70_000);
        // With the bit that says "compressed", one bomb after the other.
        let many = masked(0xc1, &bomb).repeat(20);
        let (status, cost) = behind_a_handshake(&scene, &many).await;
        assert_eq!(status, 401);
        assert!(cost < 8 << 20, "{cost} bytes");
        // Compression is agreed with nobody (`knock` looks), so a compressed frame breaks the protocol.
        let path = format!("/ws?token={}", scene.token());
        let before = scene.hub.resident();
        let mut socket = knock(HERE, scene.address(), &path, &[DEFLATE]).await.ok().expect("it opens");
        let _ = socket.write_all(&masked(0xc1, &bomb)).await;
        assert_eq!(close_code(&mut socket).await, 1002);
        // Without the bit it is text, and none.
        let mut socket = knock(HERE, scene.address(), &path, &[DEFLATE]).await.ok().expect("it opens");
        let _ = socket.write_all(&masked(0x81, &bomb)).await;
        assert_eq!(close_code(&mut socket).await, 1007);
        let cost = scene.hub.resident().saturating_sub(before);
        assert!(cost < 8 << 20, "{cost} bytes");
        let token = scene.token();
        scene.unharmed(&[("/ws", "unauthorized")], &[&token]).await;
    });
}

#[test]
fn case_17_frames_that_are_none_close_with_their_code() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let path = format!("/ws?token={}", scene.token());
        let mut fragments = masked(0x01, b"{");
        fragments.extend(masked(0x00, b"").repeat(16_384));
        for (what, bytes, code) in [
            ("not masked", b"\x81\x02{}".to_vec(), 1002),
            ("first reserved bit", masked(0xc1, b"{}"), 1002),
            ("second reserved bit", masked(0xa1, b"{}"), 1002),
            ("third reserved bit", masked(0x91, b"{}"), 1002),
            ("unknown opcode", masked(0x83, b"{}"), 1002),
            ("unknown control opcode", masked(0x8b, b""), 1002),
            ("continues nothing", masked(0x80, b"{}"), 1002),
            ("a message within one", [masked(0x01, b"{"), masked(0x81, b"}")].concat(), 1002),
            ("a ping in pieces", masked(0x09, b""), 1002),
            ("a ping too long", masked(0x89, &[0; 126]), 1002),
            ("a close of one byte", masked(0x88, b"\x03"), 1002),
            ("a close with a bad code", masked(0x88, &999u16.to_be_bytes()), 1002),
            ("no UTF-8", masked(0x81, b"{\"a\":\"\xff\"}"), 1007),
            ("overlong UTF-8", masked(0x81, b"\xc0\xaf"), 1007),
            ("a surrogate", masked(0x81, b"\xed\xa0\x80"), 1007),
            ("half a letter at the end", masked(0x81, b"\xe2\x82"), 1007),
            ("too many fragments", fragments, 1008),
        ] {
            let mut socket = knock(HERE, scene.address(), &path, &[]).await.ok().expect("it opens");
            let _ = socket.write_all(&bytes).await;
            assert_eq!(close_code(&mut socket).await, code, "{what}");
        }
        let token = scene.token();
        scene.unharmed(&[], &[&token]).await;
    });
}
