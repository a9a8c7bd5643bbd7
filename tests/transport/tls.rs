//! The same over TLS.

use std::{io::Write, net::TcpStream, sync::Arc, time::Duration};

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, pki_types::PrivateKeyDer};
use switchboard::{
    framing::Frame,
    transport::{Close, SocketLimits},
};

use crate::support::{Client, PATIENCE, Server, Setup, block_on, close, masked, request, until};

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

struct Secure {
    server: Server,
    client: Arc<ClientConfig>,
}

impl Secure {
    fn start(setup: Setup) -> Secure {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Secure { server: Server::echo(Setup { tls: Some(Arc::new(config)), ..setup }), client: Arc::new(client) }
    }

    fn stream(&self) -> TlsClient {
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(self.client.clone(), name).unwrap();
        StreamOwned::new(connection, self.server.tcp())
    }

    fn connect(&self) -> Client<TlsClient> {
        Client::upgrade(self.stream(), "/ws")
    }
}

#[test]
fn http_and_upgrades_share_a_port_and_http_2_is_not_offered() {
    let secure = Secure::start(Setup::default());
    let mut client = Client { stream: secure.stream() };
    client.stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    client.expect(b"fine");
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut client = Client::upgrade(client.stream, "/ws");
    client.send(&masked(0x81, b"hello"));
    client.expect(b"\x81\x05hello");
}

#[test]
fn leftover_bytes_fragments_and_a_close() {
    let secure = Secure::start(Setup::default());
    let mut client = Client { stream: secure.stream() };
    let mut bytes = request("/ws").into_bytes();
    bytes.extend(masked(0x01, b"frag"));
    bytes.extend(masked(0x89, b"?"));
    client.send(&bytes);
    client.head();
    client.expect(b"\x8a\x01?");
    client.send(&masked(0x80, b"ment"));
    client.expect(b"\x81\x08fragment");
    client.send(&masked(0x88, &1000_u16.to_be_bytes()));
    client.expect(&close(1000, ""));
    // A clean end: read_to_end would fail without close_notify.
    client.expect_end();
}

#[test]
fn a_refusal_ends_cleanly() {
    let secure = Secure::start(Setup::default());
    let mut client = Client { stream: secure.stream() };
    client.send(request("/ws?token=wrong").as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 401 "));
    client.expect(br#"{"error":{"code":"unauthorized"}}"#);
    client.expect_end();
}

#[test]
fn messages_of_a_megabyte_go_both_ways() {
    let secure = Secure::start(Setup::default());
    let mut client = secure.connect();
    let text = "0123456789abcdef".repeat(65_536);
    for _ in 0..4 {
        client.send(&masked(0x81, text.as_bytes()));
        let (first, payload) = client.frame();
        assert_eq!(first, 0x81);
        assert!(payload == text.as_bytes());
    }
    // All of them at once: the answers do not fit into the kernel's buffers.
    for _ in 0..3 {
        client.send(&masked(0x82, text.as_bytes()));
    }
    for _ in 0..3 {
        let (first, payload) = client.frame();
        assert_eq!(first, 0x82);
        assert!(payload == text.as_bytes());
    }
}

#[test]
fn close_all_says_goodbye_over_tls_too() {
    let secure = Secure::start(Setup { workers: 2, ..Setup::default() });
    let mut clients: Vec<_> = (0..4).map(|_| secure.connect()).collect();
    let handle = secure.server.handle.clone();
    let closing = std::thread::spawn(move || {
        block_on(async move { handle.close_all(Close::new(1012, "restarting"), PATIENCE).await })
    });
    for client in &mut clients {
        client.expect(&close(1012, "restarting"));
        client.expect_end();
    }
    drop(clients);
    assert_eq!(closing.join().unwrap(), 0);
}

#[test]
fn a_peer_that_stops_reading_is_cut_with_1013() {
    let secure = Secure::start(Setup {
        limits: SocketLimits { hard_bytes: 1 << 20, close_timeout: Duration::from_secs(10), ..SocketLimits::default() },
        ..Setup::default()
    });
    let mut client = secure.connect();
    let message = masked(0x82, &[7; 256 << 10]);
    let mut sent = 0;
    let counters = secure.server.handle.counters().clone();
    while counters.total().closed_backpressure == 0 && sent < 100 {
        client.send(&message);
        sent += 1;
        until("it is read", || {
            let now = counters.total();
            now.frames_in >= sent || now.closed_backpressure == 1
        });
    }
    assert_eq!(counters.total().closed_backpressure, 1);
    let mut whole = 0;
    loop {
        let (first, payload) = client.frame();
        if first == 0x88 {
            assert_eq!(payload, [&1013_u16.to_be_bytes()[..], b"backpressure"].concat());
            break;
        }
        assert_eq!(Frame::binary(&payload).len(), Frame::binary(&[7; 256 << 10]).len());
        whole += 1;
    }
    assert!(whole < sent);
}
