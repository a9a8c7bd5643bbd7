//! `switchboard health`: asks a running hub, for containers and scripts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::config::Config;

/// A hub that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// The hub's answer to `GET /health`, or a sentence about what is wrong.
pub(super) fn ask(config: &Config) -> Result<String, String> {
    let url: url::Url = local_url(config).parse().map_err(|_| "the listen address makes no URL".to_owned())?;
    let address = url.socket_addrs(|| None).ok().and_then(|found| found.first().copied());
    let address = address.ok_or("the listen address makes no URL")?;
    let unreachable = |error: std::io::Error| format!("no hub answers at {address}: {error}");
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(unreachable)?;
    let answer = if config.tls.is_on() {
        let client = pinned(&config.tls.certificate)?;
        let client = ClientConnection::new(Arc::new(client), ServerName::from(address.ip()));
        let client = client.map_err(|error| format!("no TLS towards {address}: {error}"))?;
        exchange(&mut StreamOwned::new(client, socket), address)
    } else {
        exchange(&mut socket, address)
    };
    let answer = answer.map_err(unreachable)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200 ") || !body.contains("\"status\":\"ok\"") {
        let first = head.lines().next().unwrap_or("nothing");
        return Err(format!("what listens at {address} is not well, or no hub: it answered {first:?}"));
    }
    Ok(body.trim().to_owned())
}

/// Where this machine reaches the hub, whatever its public address is.
fn local_url(config: &Config) -> String {
    let mut local = config.clone();
    local.server.public_url.clear();
    local.base_url()
}

fn exchange(stream: &mut (impl Read + Write), address: SocketAddr) -> std::io::Result<String> {
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    // In one piece: each write is a TLS record of its own.
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    // A TLS peer that just hangs up after its answer has still answered.
    match stream.take(65_536).read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => return Err(error),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Believes the configured certificate and no other: names do not matter on one's own machine.
fn pinned(path: &str) -> Result<ClientConfig, String> {
    let certificate =
        CertificateDer::from_pem_file(path).map_err(|error| format!("tls.certificate: {path}: {error}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Pinned { certificate, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General("the server has another certificate than tls.certificate".into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
