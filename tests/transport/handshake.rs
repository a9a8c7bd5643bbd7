//! Before the 101: who gets it, who does not, and what is said to them.

use std::{io::Write, time::Duration};

use crate::support::{ACCEPT, Client, KEY, Server, Setup, masked, request};

#[test]
fn a_good_request_gets_101_and_the_accept_key() {
    let server = Server::echo(Setup::default());
    let mut client = Client { stream: server.tcp() };
    client.send(request("/ws?a=b").as_bytes());
    assert_eq!(
        client.head(),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {ACCEPT}\r\n\r\n"
        )
    );
    client.send(&masked(0x81, b"hello"));
    client.expect(b"\x81\x05hello");
}

#[test]
fn bytes_that_came_with_the_request_are_read_at_once() {
    let server = Server::echo(Setup::default());
    let mut client = Client { stream: server.tcp() };
    let mut bytes = request("/ws").into_bytes();
    bytes.extend(masked(0x81, b"first"));
    bytes.extend(masked(0x82, b"second"));
    bytes.extend(&masked(0x81, b"third")[..3]);
    client.send(&bytes);
    client.head();
    client.expect(b"\x81\x05first\x82\x06second");
    client.send(&masked(0x81, b"third")[3..]);
    client.expect(b"\x81\x05third");
}

#[test]
fn a_refused_upgrade_gets_the_doorkeepers_json() {
    let server = Server::echo(Setup::default());
    let answer = server.ask(&request("/ws?token=wrong"));
    assert_eq!(
        answer,
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\
         connection: close\r\n\r\n{\"error\":{\"code\":\"unauthorized\"}}"
    );
    let answer = server.ask(&request("/elsewhere"));
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
}

#[test]
fn a_malformed_upgrade_is_told_what_is_wrong() {
    let server = Server::echo(Setup::default());
    let good = request("/ws");
    for (bad, status, says) in [
        (good.replace(KEY, "short"), "400", "base64 of 16 bytes"),
        (good.replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""), "400", "exactly one"),
        (good.replace("Version: 13", "Version: 12"), "426", "sec-websocket-version: 13\r\n"),
        (good.replace("GET", "POST"), "405", "allow: GET\r\n"),
        (good.replace("keep-alive, Upgrade", "keep-alive"), "400", "connection header"),
        (good.replace("Host", "Content-Length: 5\r\nHost"), "400", "no body"),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "405", "opened with GET"),
    ] {
        let answer = server.ask(&bad);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bad}\n{answer}");
        assert!(answer.contains(says), "{bad}\n{answer}");
        assert!(answer.contains("content-type: application/json"), "{answer}");
    }
    assert_eq!(server.handle.open_connections().upgraded, 0);
}

#[test]
fn an_undecided_upgrade_gets_408() {
    let server = Server::echo(Setup { upgrade_timeout: Duration::from_millis(100), ..Setup::default() });
    let answer = server.ask(&request("/never"));
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.ends_with("the upgrade took too long\"}}"), "{answer}");
}

#[test]
fn http_is_served_on_the_same_port_and_the_same_connection() {
    let server = Server::echo(Setup::default());
    let mut client = Client { stream: server.tcp() };
    client.stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    client.expect(b"fine");
    assert_eq!(server.handle.open_connections().http, 1);
    let mut client = Client::upgrade(client.stream, "/ws");
    client.send(&masked(0x81, b"now a socket"));
    client.expect(b"\x81\x0cnow a socket");
    let open = server.handle.open_connections();
    assert_eq!((open.http, open.upgraded), (0, 1));
}

#[test]
fn a_pipelined_answer_comes_before_the_101() {
    let server = Server::echo(Setup::default());
    let mut client = Client { stream: server.tcp() };
    let both = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n{}", request("/ws"));
    client.send(both.as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    client.expect(b"fine");
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send(&masked(0x81, b"x"));
    client.expect(b"\x81\x01x");
}
