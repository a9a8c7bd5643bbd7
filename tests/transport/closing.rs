//! How sockets end: the close handshake, a server that stops, peers that vanish.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use switchboard::{
    framing::Frame,
    transport::{Close, SocketLimits, current_worker},
};

use crate::support::{PATIENCE, Server, Setup, block_on, close, echo, masked, until};

#[test]
fn a_close_is_answered_with_its_code_after_what_is_queued() {
    let server = Server::echo(Setup::default());
    let mut client = server.connect();
    client.send(&[masked(0x81, b"last"), masked(0x88, b"\x0b\xb8bye")].concat());
    client.expect(b"\x81\x04last");
    client.expect(&close(3000, ""));
    client.expect_end();

    let mut client = server.connect();
    client.send(&masked(0x88, b""));
    client.expect(b"\x88\x00");
    client.expect_end();
}

#[test]
fn a_vanished_peer_gives_its_place_back() {
    let server = Server::echo(Setup::default());
    let client = server.connect();
    until("the socket is counted", || server.handle.open_connections().upgraded == 1);
    drop(client);
    until("the socket is gone", || server.handle.open_connections().upgraded == 0);
    assert_eq!(server.handle.open_connections().http, 0);
}

#[test]
fn close_all_reaches_every_socket_on_three_workers() {
    let server = Server::start(Setup { workers: 3, ..Setup::default() }, |socket| {
        let worker = current_worker().unwrap();
        assert_eq!(socket.outbound.id().worker(), worker);
        socket.outbound.push(&Frame::text(worker.to_string().as_bytes()));
        echo(socket);
    });
    let mut clients: Vec<_> = (0..12).map(|_| server.connect()).collect();
    let workers: BTreeSet<_> = clients.iter_mut().map(|client| client.frame().1).collect();
    assert_eq!(workers.len(), 3);
    let handle = server.handle.clone();
    let closing = std::thread::spawn(move || {
        block_on(async move {
            handle.pause().await;
            handle.close_all(Close::new(1012, "restarting"), PATIENCE).await
        })
    });
    for client in &mut clients {
        client.expect(&close(1012, "restarting"));
        client.expect_end();
    }
    drop(clients);
    assert_eq!(closing.join().unwrap(), 0);
    assert_eq!(server.handle.open_connections().upgraded, 0);
}

#[test]
fn close_all_drops_who_does_not_go() {
    let server = Server::echo(Setup {
        limits: SocketLimits { close_timeout: PATIENCE, ..SocketLimits::default() },
        ..Setup::default()
    });
    let _client = server.connect();
    until("the socket is counted", || server.handle.open_connections().upgraded == 1);
    let handle = server.handle.clone();
    let cut = block_on(async move {
        let restarting = Close::new(1012, "restarting");
        handle.close_all(restarting, Duration::from_millis(50)).await
    });
    assert_eq!(cut, 1);
    assert_eq!(server.handle.open_connections().upgraded, 0);
}

#[test]
fn who_comes_while_the_server_closes_is_refused() {
    let server = Server::echo(Setup::default());
    let handle = server.handle.clone();
    block_on(async move {
        handle.close_all(Close::new(1012, "restarting"), Duration::ZERO).await;
    });
    until("upgrades are refused", || server.ask(&crate::support::request("/elsewhere")).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_reader_that_is_dropped_closes_with_1011() {
    let server = Server::start(Setup::default(), |mut socket| {
        actix_rt::spawn(async move {
            socket.inbound.next().await;
            drop(socket.inbound);
        });
    });
    let mut client = server.connect();
    client.send(&masked(0x81, b"x"));
    client.expect(&close(1011, "internal error"));
    client.expect_end();
}

#[test]
fn a_silent_peer_is_dropped_and_an_answering_one_is_not() {
    let server = Server::echo(Setup {
        limits: SocketLimits {
            ping_interval: Duration::from_millis(250),
            pong_timeout: Duration::from_millis(250),
            ..SocketLimits::default()
        },
        ..Setup::default()
    });
    let mut answering = server.connect();
    let mut silent = server.connect();
    silent.expect(b"\x89\x00");
    for _ in 0..3 {
        answering.expect(b"\x89\x00");
        answering.send(&masked(0x8a, b""));
    }
    silent.expect_end();
    let handle = &server.handle;
    until("it is counted", || handle.counters().total().closed_silent == 1);
    assert_eq!(handle.open_connections().upgraded, 1);
}
