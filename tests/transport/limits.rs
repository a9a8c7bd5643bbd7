//! How many may come in.

use std::io::Read;

use crate::support::{Client, Server, Setup, masked, request, tcp, until};

#[test]
fn an_address_has_so_many_places_and_gets_them_back() {
    let server = Server::echo(Setup { max_per_address: 2, ..Setup::default() });
    let first = server.connect();
    let _second = server.connect();
    let mut answer = String::new();
    server.tcp().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    assert!(
        answer.ends_with(
            "{\"error\":{\"code\":\"rate_limited\",\"message\":\"too many connections from this address\"}}"
        )
    );
    assert_eq!(server.handle.counters().turned_away(), 1);
    drop(first);
    until("the place is free", || server.handle.open_connections().upgraded == 1);
    let _third = server.connect();
    assert_eq!(server.handle.open_connections().upgraded, 2);
}

/// A connection that is in the midst of an answer is not idle.
#[test]
fn an_answer_may_take_longer_than_an_idle_connection_is_kept() {
    let server = Server::echo(Setup { keep_alive: std::time::Duration::from_millis(500), ..Setup::default() });
    let answer = server.ask("GET /drops HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    for n in 0..4 {
        assert!(answer.contains(&format!("drop {n}\n")), "{answer}");
    }
    assert!(answer.ends_with("0\r\n\r\n"), "the whole of it: {answer}");
    // And afterwards it is: without another request it is closed.
    let mut socket = server.tcp();
    std::io::Write::write_all(&mut socket, b"GET /drops HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn a_full_server_says_503() {
    let server = Server::echo(Setup { max_connections: 1, ..Setup::default() });
    let _only = server.connect();
    let mut answer = String::new();
    server.tcp().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
}

#[test]
fn a_refused_upgrade_gives_its_place_back() {
    let server = Server::echo(Setup { max_per_address: 1, ..Setup::default() });
    for _ in 0..3 {
        let answer = server.ask(&request("/elsewhere"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        until("the place is free", || server.handle.open_connections().http == 0);
    }
}

#[test]
fn several_listeners_share_workers_and_counts() {
    let server = Server::echo(Setup { listeners: 2, workers: 2, ..Setup::default() });
    let mut clients: Vec<_> = server.addresses.iter().map(|address| Client::upgrade(tcp(*address), "/ws")).collect();
    for client in &mut clients {
        client.send(&masked(0x81, b"x"));
        client.expect(b"\x81\x01x");
    }
    assert_eq!(server.handle.open_connections().upgraded, 2);
    assert_eq!(server.handle.counters().by_worker().len(), 2);
}
