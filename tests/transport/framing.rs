//! RFC 6455 as the server reads it.

use switchboard::transport::SocketLimits;

use crate::support::{Server, Setup, close, masked};

#[test]
fn fragments_are_joined_and_a_ping_between_them_is_answered() {
    let server = Server::echo(Setup::default());
    let mut client = server.connect();
    client.send(&masked(0x01, b"one "));
    client.send(&masked(0x89, b"are you there"));
    client.expect(b"\x8a\x0dare you there");
    client.send(&masked(0x00, b""));
    client.send(&masked(0x00, "tw\u{f6}".as_bytes().split_at(3).0));
    client.send(&masked(0x80, "tw\u{f6}".as_bytes().split_at(3).1));
    client.expect("\u{81}\u{8}".chars().map(|c| c as u8).collect::<Vec<_>>().as_slice());
    client.expect("one tw\u{f6}".as_bytes());
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let server = Server::echo(Setup::default());
    let mut client = server.connect();
    let long = vec![b'x'; 300];
    let mut bytes = masked(0x01, b"ab");
    bytes.extend(masked(0x80, b"cd"));
    bytes.extend(masked(0x8a, b"unasked pong"));
    bytes.extend(masked(0x82, &long));
    for byte in bytes {
        client.send(&[byte]);
    }
    client.expect(b"\x81\x04abcd\x82\x7e\x01\x2c");
    client.expect(&long);
}

#[test]
fn messages_of_a_megabyte_go_both_ways() {
    let server = Server::echo(Setup::default());
    let mut client = server.connect();
    let text = "0123456789abcdef".repeat(65_536);
    client.send(&masked(0x81, text.as_bytes()));
    let (first, payload) = client.frame();
    assert_eq!(first, 0x81);
    assert!(payload == text.as_bytes());
}

#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    let server = Server::echo(Setup::default());
    let huge = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes()].concat();
    for (bytes, code, reason) in [
        (huge((1 << 63) - 1), 1009, "message too large"),
        (huge((8 << 20) + 1), 1009, "message too large"),
        (huge(1 << 63), 1002, "length has its top bit set"),
        (huge(125), 1002, "length is not minimal"),
        (vec![0x81, 0xfe, 0, 125], 1002, "length is not minimal"),
        (b"\x81\x02hi".to_vec(), 1002, "frame is not masked"),
        (masked(0xc1, b"x"), 1002, "reserved bit set"),
        (masked(0x83, b"x"), 1002, "unknown opcode"),
        (masked(0x80, b"x"), 1002, "continuation of nothing"),
        ([masked(0x01, b"x"), masked(0x81, b"x")].concat(), 1002, "new message inside a message"),
        (masked(0x09, b"x"), 1002, "control frame is fragmented or too long"),
        (masked(0x89, &[0; 126]), 1002, "control frame is fragmented or too long"),
        (masked(0x81, b"\xff"), 1007, "text is not utf-8"),
        (masked(0x01, b"\xc3\x28"), 1007, "text is not utf-8"),
        (masked(0x81, b"\xc3"), 1007, "text is not utf-8"),
        ([masked(0x01, b"\xc3"), masked(0x80, b"")].concat(), 1007, "text is not utf-8"),
        (masked(0x88, b"\x03"), 1002, "close frame of one byte"),
        (masked(0x88, &1005_u16.to_be_bytes()), 1002, "invalid close code"),
        (masked(0x88, b"\x03\xe8\xff"), 1007, "close reason is not utf-8"),
    ] {
        let mut client = server.connect();
        client.send(&bytes);
        client.expect(&close(code, reason));
        client.expect_end();
    }
    assert_eq!(server.handle.counters().total().closed_protocol, 19);
}

#[test]
fn a_message_may_not_grow_over_the_limit_in_fragments() {
    let server =
        Server::echo(Setup { limits: SocketLimits { frame_bytes: 10, ..SocketLimits::default() }, ..Setup::default() });
    let mut client = server.connect();
    client.send(&masked(0x01, b"12345"));
    client.send(&masked(0x80, b"67890"));
    client.expect(b"\x81\x0a1234567890");
    client.send(&masked(0x01, b"12345"));
    client.send(&masked(0x00, b"678901"));
    client.expect(&close(1009, "message too large"));
    client.expect_end();
}

#[test]
fn more_than_16384_fragments_are_abuse() {
    let server = Server::echo(Setup::default());
    let mut client = server.connect();
    let mut most = masked(0x01, b"");
    most.extend(masked(0x00, b"").repeat(16_382));
    client.send(&most);
    client.send(&masked(0x80, b"fits"));
    client.expect(b"\x81\x04fits");
    client.send(&most);
    client.send(&masked(0x00, b"").repeat(2));
    client.expect(&close(1008, "too many fragments"));
    client.expect_end();
}
