//! Peers that do not read: bounded memory, a mark to stop at, a cut with a reason.

use std::{
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures_util::StreamExt;
use switchboard::{
    framing::Frame,
    transport::{Close, Inbound, Outbound, Pushed, Socket, SocketLimits, on_drained, with_connection},
};

use crate::support::{Server, Setup, close, masked, tcp, until};

const PIECE: usize = 64 << 10;

/// Calls `act` for every text that comes.
fn on_text(act: fn(&Rc<Outbound>)) -> impl Fn(Socket) + Clone + Send + 'static {
    move |mut socket: Socket| {
        actix_rt::spawn(async move {
            while let Some(Inbound::Text(_)) = socket.inbound.next().await {
                act(&socket.outbound);
            }
        });
    }
}

#[test]
fn over_the_hard_mark_a_stalled_reader_is_cut_with_1013() {
    static PUSHED: AtomicUsize = AtomicUsize::new(0);
    static MOST_QUEUED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(
        Setup {
            limits: SocketLimits {
                hard_bytes: 1 << 20,
                close_timeout: Duration::from_secs(10),
                ..SocketLimits::default()
            },
            ..Setup::default()
        },
        on_text(|outbound| {
            let outbound = outbound.clone();
            let frame = Frame::text(&[b'x'; PIECE]);
            actix_rt::spawn(async move {
                while outbound.push(&frame) != Pushed::Closed {
                    PUSHED.fetch_add(1, Relaxed);
                    MOST_QUEUED.fetch_max(outbound.queued_bytes(), Relaxed);
                    tokio::task::yield_now().await;
                }
            });
        }),
    );
    let mut client = server.connect();
    client.send(&masked(0x81, b"go"));
    until("it is cut", || server.handle.counters().total().closed_backpressure == 1);
    assert!(MOST_QUEUED.load(Relaxed) <= 1 << 20);
    assert!(MOST_QUEUED.load(Relaxed) > 900 << 10);
    let mut whole = 0;
    let last = loop {
        let (first, payload) = client.frame();
        if first != 0x81 {
            break (first, payload);
        }
        assert_eq!(payload.len(), PIECE);
        whole += 1;
    };
    assert_eq!(last, (0x88, [&1013_u16.to_be_bytes()[..], b"backpressure"].concat()));
    client.expect_end();
    assert!(whole < PUSHED.load(Relaxed), "what was queued is dropped");
    drop(client);
    until("it is gone", || server.handle.open_connections().upgraded == 0);
    assert_eq!(server.handle.counters().total().queued_bytes, 0);
}

#[test]
fn who_takes_nothing_for_too_long_is_cut_with_1013() {
    let server = Server::start(
        Setup {
            limits: SocketLimits {
                write_stall: Duration::from_millis(300),
                close_timeout: Duration::from_secs(10),
                hard_bytes: 64 << 20,
                ..SocketLimits::default()
            },
            ..Setup::default()
        },
        on_text(|outbound| {
            outbound.push(&Frame::text(&[b'x'; 16 << 20]));
            outbound.push(&Frame::text(b"never seen"));
        }),
    );
    let mut client = server.connect();
    client.send(&masked(0x81, b"go"));
    until("it is cut", || server.handle.counters().total().closed_backpressure == 1);
    let (first, payload) = client.frame();
    assert_eq!((first, payload.len()), (0x81, 16 << 20));
    client.expect(&close(1013, "backpressure"));
    client.expect_end();
}

#[test]
fn a_stalled_peer_that_stays_away_is_dropped() {
    let server = Server::start(
        Setup {
            limits: SocketLimits {
                write_stall: Duration::from_millis(300),
                close_timeout: Duration::from_millis(300),
                hard_bytes: 64 << 20,
                ..SocketLimits::default()
            },
            ..Setup::default()
        },
        on_text(|outbound| {
            outbound.push(&Frame::text(&[b'x'; 16 << 20]));
        }),
    );
    let mut client = server.connect();
    client.send(&masked(0x81, b"go"));
    until("it has a queue", || server.handle.counters().total().queued_bytes > 0);
    until("it is gone", || server.handle.open_connections().upgraded == 0);
    assert_eq!(server.handle.counters().total().queued_bytes, 0);
}

#[test]
fn a_lagging_socket_is_told_of_once_when_it_has_drained() {
    static SOFT: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(
        Setup {
            on_worker: |_| {
                on_drained(Rc::new(|outbound| {
                    assert_eq!(outbound.queued_bytes(), 0);
                    let same = with_connection(outbound.id(), |found| Rc::ptr_eq(found, outbound));
                    assert_eq!(same, Some(true));
                    outbound.push(&Frame::text(b"drained"));
                }));
            },
            limits: SocketLimits { hard_bytes: 64 << 20, ..SocketLimits::default() },
            ..Setup::default()
        },
        on_text(|outbound| {
            let frame = Frame::text(&[b'x'; PIECE]);
            for _ in 0..256 {
                if outbound.push(&frame) == Pushed::OverSoft {
                    SOFT.fetch_add(1, Relaxed);
                    outbound.set_lagging(true);
                }
            }
        }),
    );
    let mut client = server.connect();
    client.send(&masked(0x81, b"go"));
    for _ in 0..256 {
        assert_eq!(client.frame().1.len(), PIECE);
    }
    client.expect(b"\x81\x07drained");
    assert_eq!(SOFT.load(Relaxed), 256);
    // Once: the next thing to come is the answer to this.
    client.send(&masked(0x89, b"?"));
    client.expect(b"\x8a\x01?");
}

#[test]
fn an_empty_queue_counts_as_drained() {
    let server = Server::start(
        Setup {
            on_worker: |_| {
                on_drained(Rc::new(|outbound| {
                    outbound.push(&Frame::text(b"drained"));
                }));
            },
            ..Setup::default()
        },
        on_text(|outbound| outbound.set_lagging(true)),
    );
    let mut client = server.connect();
    client.send(&masked(0x81, b"go"));
    client.expect(b"\x81\x07drained");
}

#[test]
fn what_is_pushed_in_one_tick_comes_in_order_and_one_slow_peer_delays_nobody() {
    let server = Server::start(
        Setup::default(),
        on_text(|outbound| {
            for n in 0..3000 {
                outbound.push(&Frame::text(format!("{n:04}").as_bytes()));
            }
        }),
    );
    let mut slow = server.connect();
    slow.send(&masked(0x81, b"go"));
    let mut quick = server.connect();
    quick.send(&masked(0x81, b"go"));
    for client in [&mut quick, &mut slow] {
        for n in 0..3000 {
            client.expect(
                format!("\u{4}{n:04}")
                    .as_bytes()
                    .iter()
                    .fold(vec![0x81], |mut all, byte| {
                        all.push(*byte);
                        all
                    })
                    .as_slice(),
            );
        }
    }
}

/// The drained callback runs in the flusher: without it no socket of the worker is ever written.
#[test]
fn a_panic_in_the_flusher_ends_the_process() {
    if let Ok(address) = std::env::var("TRANSPORT_TEST_ADDRESS_FILE") {
        let server = Server::start(
            Setup { on_worker: |_| on_drained(Rc::new(|_| panic!("on purpose"))), ..Setup::default() },
            on_text(|outbound| outbound.set_lagging(true)),
        );
        std::fs::write(address, server.address.to_string()).unwrap();
        std::thread::sleep(Duration::from_secs(20));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("address");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "slow::a_panic_in_the_flusher_ends_the_process"])
        .env("TRANSPORT_TEST_ADDRESS_FILE", &file)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut address = None;
    until("the child listens", || {
        address = std::fs::read_to_string(&file).ok().and_then(|text| text.parse().ok());
        address.is_some()
    });
    let mut client = crate::support::Client::upgrade(tcp(address.unwrap()), "/ws");
    client.send(&masked(0x81, b"go"));
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6), "{status}");
}

/// Keeps the socket for ever and polls nothing.
fn never_read(act: fn(&Rc<Outbound>)) -> impl Fn(Socket) + Clone + Send + 'static {
    move |socket: Socket| {
        actix_rt::spawn(async move {
            act(&socket.outbound);
            std::future::pending::<()>().await;
            drop(socket);
        });
    }
}

#[test]
fn a_blocked_socket_is_written_and_closed_while_its_reader_is_busy() {
    let server = Server::start(
        Setup { limits: SocketLimits { hard_bytes: 64 << 20, ..SocketLimits::default() }, ..Setup::default() },
        never_read(|outbound| {
            for _ in 0..256 {
                outbound.push(&Frame::text(&[b'x'; PIECE]));
            }
            outbound.close(Close::new(4409, "replaced"));
            assert_eq!(outbound.push(&Frame::text(b"late")), Pushed::Closed);
        }),
    );
    let mut client = server.connect();
    for _ in 0..256 {
        assert_eq!(client.frame().1.len(), PIECE);
    }
    client.expect(&close(4409, "replaced"));
    client.expect_end();
}

#[test]
fn a_busy_reader_leaves_the_bytes_with_the_kernel_and_is_not_taken_for_dead() {
    let server = Server::start(
        Setup {
            limits: SocketLimits {
                ping_interval: Duration::from_millis(250),
                pong_timeout: Duration::from_millis(250),
                ..SocketLimits::default()
            },
            ..Setup::default()
        },
        never_read(|_| {}),
    );
    let mut client = server.connect();
    client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let message = masked(0x82, &[0; 1 << 20]);
    let taken = (0..64).take_while(|_| std::io::Write::write_all(&mut client.stream, &message).is_ok()).count();
    assert!(taken < 64, "64 MiB went somewhere");
    assert_eq!(server.handle.counters().total().bytes_in, 0);
    for _ in 0..3 {
        client.expect(b"\x89\x00");
    }
    assert_eq!(server.handle.open_connections().upgraded, 1);
}
