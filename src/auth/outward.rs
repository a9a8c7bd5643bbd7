//! Reading from the addresses the configuration names: bounded in size and time, and never led elsewhere.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use bytes::BytesMut;
use futures_util::StreamExt;
use url::Url;

/// Bytes of an answer.
pub const LONGEST_ANSWER: usize = 256 * 1024;
/// For a whole answer, connection included.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// The way out. Without TLS settings there is none to `https` addresses.
#[derive(Clone, Default)]
pub struct Outward {
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Outward {
    /// Asks with GET. Redirects are answers like others: they are not followed. Fails with a sentence.
    pub async fn get(&self, url: &Url, headers: &[(HeaderName, HeaderValue)]) -> Result<Answer, String> {
        match tokio::time::timeout(TIME_LIMIT, self.read(url, headers)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("it did not answer within {} s", TIME_LIMIT.as_secs())),
        }
    }

    async fn read(&self, url: &Url, headers: &[(HeaderName, HeaderValue)]) -> Result<Answer, String> {
        let connector = awc::Connector::new().timeout(TIME_LIMIT).handshake_timeout(TIME_LIMIT);
        let connector = match &self.tls {
            Some(tls) => connector.rustls_0_23(tls.clone()),
            None if url.scheme() == "https" => return Err("there are no TLS settings".into()),
            None => connector,
        };
        let client = awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish();
        let mut request = client
            .get(url.as_str())
            .no_decompress()
            .force_close()
            .insert_header((header::USER_AGENT, "switchboard"))
            .insert_header((header::ACCEPT, "application/json"))
            .insert_header((header::ACCEPT_ENCODING, "identity"));
        for (name, value) in headers {
            request = request.insert_header((name.clone(), value.clone()));
        }
        let mut response = request.send().await.map_err(|error| error.to_string())?;
        let mut body = BytesMut::new();
        while let Some(piece) = response.next().await {
            let piece = piece.map_err(|error| format!("its answer broke off: {error}"))?;
            if body.len() + piece.len() > LONGEST_ANSWER {
                return Err(format!("its answer is longer than {LONGEST_ANSWER} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: response.status().as_u16(), body: body.into() })
    }
}
