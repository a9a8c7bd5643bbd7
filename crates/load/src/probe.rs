//! One plain HTTP GET on loopback: is the server ready, and what does it say of itself.
use crate::fault::{Result, While, fault};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status and body of `GET path`. Errors: nobody there, no answer in fifteen seconds, no HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let wait = Duration::from_secs(15);
    let mut s = TcpStream::connect_timeout(&address, wait).doing("connecting")?;
    s.set_read_timeout(Some(wait)).doing("probe")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    s.write_all(request.as_bytes()).doing("asking")?;
    let mut answer = String::new();
    // bounded: a body of a few kilobytes is all that is asked for
    s.take(1 << 20).read_to_string(&mut answer).doing("reading the answer")?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => fault("the answer is not HTTP"),
    }
}

/// The JSON object in the answer of `GET path`, which must be 200.
pub fn get_json(address: SocketAddr, path: &str) -> Result<serde_json::Value> {
    let (status, body) = get(address, path)?;
    if status != 200 {
        return fault(format!("{path} answered {status}"));
    }
    // a chunked body has its sizes around the object
    let object = match (body.find('{'), body.rfind('}')) {
        (Some(a), Some(b)) if a < b => &body[a..=b],
        _ => return fault(format!("{path} answered no object")),
    };
    serde_json::from_str(object).doing(path)
}
