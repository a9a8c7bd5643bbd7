//! Server-sent events: a stream of named texts within one HTTP answer.

use bytes::Bytes;

/// The media type of such an answer.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// A comment: says that the stream lives, and is no event.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// One event. `name` has no line break; `data` may, and arrives as it was.
pub fn event(name: &str, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(name.len() + data.len() + 24);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    for line in data.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_name_and_a_line_for_each_line_of_data() {
        assert_eq!(event("text_delta", br#"{"delta":"a"}"#)[..], b"event: text_delta\ndata: {\"delta\":\"a\"}\n\n"[..]);
        assert_eq!(event("error", b"one\ntwo")[..], b"event: error\ndata: one\ndata: two\n\n"[..]);
        assert!(KEEP_ALIVE.starts_with(b":") && KEEP_ALIVE.ends_with(b"\n\n"));
    }
}
