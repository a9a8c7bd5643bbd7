//! Server-sent events: bytes of any cut in, whole events out. Linear in the bytes, bounded in memory.
//!
//! After the HTML standard, section 9.2.6: lines end with CR, LF or CRLF; a byte order mark at the start is skipped;
//! bytes that are no UTF-8 become U+FFFD; an event without its blank line at the end of the stream is dropped.

use std::collections::VecDeque;
use std::fmt;

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field; empty where there was none.
    pub name: String,
    /// The `data:` lines, joined by LF.
    pub data: String,
    /// The last `id:` seen so far on this stream.
    pub id: Option<String>,
}

/// An event, or a single line, is larger than the parser may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of the stream is larger than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLarge {}

/// The state between two chunks.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The line whose end has not come yet.
    line: Vec<u8>,
    /// The last byte was a CR: an LF right after it belongs to the same line end.
    after_cr: bool,
    first_line: bool,
    name: String,
    data: String,
    id: Option<String>,
    retry_ms: Option<u64>,
    /// Bytes looked at or copied, for the proof that this is linear.
    #[cfg(test)]
    work: usize,
}

impl Parser {
    /// `limit`: bytes that one event, and one line, may have.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            name: String::new(),
            data: String::new(),
            id: None,
            retry_ms: None,
            #[cfg(test)]
            work: 0,
        }
    }

    /// The reconnection time the server asked for, in milliseconds.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Takes the next bytes and appends the events that they complete to `events`.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut VecDeque<Event>) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n'));
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.count(piece.len() + 1);
            if self.line.len() + self.data.len() + self.name.len() + piece.len() > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
            let Some(&terminator) = rest.first() else {
                self.line.extend_from_slice(piece);
                return Ok(());
            };
            if self.line.is_empty() {
                self.take_line(piece, events);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(piece);
                self.take_line(&line, events);
                line.clear();
                self.line = line; // keeps its allocation
            }
            self.after_cr = terminator == b'\r';
            bytes = &rest[1..];
        }
        Ok(())
    }

    fn take_line(&mut self, mut line: &[u8], events: &mut VecDeque<Event>) {
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(events);
        }
        self.count(line.len());
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            _ => {} // a comment (its field is empty) or a field that nobody knows
        }
    }

    fn dispatch(&mut self, events: &mut VecDeque<Event>) {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_some() {
            events.push_back(Event { name, data, id: self.id.clone() });
        }
    }

    #[cfg(test)]
    fn count(&mut self, bytes: usize) {
        self.work += bytes;
    }

    #[cfg(not(test))]
    fn count(&self, _bytes: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String, Option<String>)> {
        let (mut parser, mut events) = (Parser::new(LIMIT), VecDeque::new());
        for chunk in chunks {
            parser.push(chunk, &mut events).unwrap();
        }
        events.into_iter().map(|e| (e.name, e.data, e.id)).collect()
    }

    fn datas(text: &[u8]) -> Vec<String> {
        parse([text]).into_iter().map(|(_, data, _)| data).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(datas(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        let stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let event = |data: &str, id: &str| (String::new(), data.to_owned(), Some(id.to_owned()));
        assert_eq!(
            parse([&stream[..]]),
            [event("first event", "1"), event("second event", ""), event(" third event", "")]
        );
        assert_eq!(datas(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(datas(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["event: a", "data: 1", "", "data: 2", "", ""].join(end);
            let events = parse([stream.as_bytes()]);
            assert_eq!(events, [("a".into(), "1".into(), None), (String::new(), "2".into(), None)], "{end:?}");
        }
        assert_eq!(datas(b"data: x\r\r\ndata: y\n\n"), ["x", "y"]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        let marked = "\u{feff}data: x\n\n\u{feff}data: y\n\n";
        assert_eq!(datas(marked.as_bytes()), ["x"]);
        assert_eq!(parse(marked.as_bytes().chunks(1)).len(), 1);
    }

    #[test]
    fn what_is_not_finished_is_dropped() {
        assert!(datas(b"data: x").is_empty());
        assert!(datas(b"data: x\n").is_empty());
        assert!(datas(b"event: x\n\n: comment\n\nid: 7\n\n").is_empty(), "no data, no event");
    }

    #[test]
    fn retry_and_ids_are_kept_when_they_are_valid() {
        let (mut parser, mut events) = (Parser::new(LIMIT), VecDeque::new());
        parser.push(b"retry: 1500\nretry: 15x\nid: 4\nid: 5\0\ndata: x\n\n", &mut events).unwrap();
        assert_eq!(parser.retry_ms(), Some(1500));
        assert_eq!(events[0].id.as_deref(), Some("4"));
    }

    #[test]
    fn bytes_that_are_no_utf8_become_the_replacement_character() {
        assert_eq!(datas(b"data: a\xff\xc3b\n\n"), ["a\u{fffd}\u{fffd}b"]);
        let split = "data: ü€🦀\n\n";
        assert_eq!(parse(split.as_bytes().chunks(1)), parse([split.as_bytes()]));
        assert_eq!(datas(split.as_bytes()), ["ü€🦀"]);
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_refused() {
        for piece in [&b"xxxxxxxx"[..], b"data: xxxxxxxx\n", b": endless comment "] {
            let (mut parser, mut events, mut pushed) = (Parser::new(1024), VecDeque::new(), 0);
            let refused = loop {
                if let Err(refused) = parser.push(piece, &mut events) {
                    break refused;
                }
                pushed += piece.len();
                assert!(pushed < 4096, "not refused");
            };
            assert_eq!(refused, TooLarge { limit: 1024 });
            assert!(parser.line.capacity() + parser.data.capacity() <= 4096);
        }
    }

    #[test]
    fn the_work_is_linear_in_the_bytes() {
        let payload = "x".repeat(1_000_000);
        for stream in [format!("data: {payload}\n\n"), "data: y\n".repeat(100_000) + "\n"] {
            for size in [1, 7, 1024, stream.len()] {
                let (mut parser, mut events) = (Parser::new(4 << 20), VecDeque::new());
                for chunk in stream.as_bytes().chunks(size) {
                    parser.push(chunk, &mut events).unwrap();
                }
                assert_eq!(events.len(), 1);
                assert!(parser.work <= 3 * stream.len(), "{} steps for {} bytes", parser.work, stream.len());
            }
        }
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let text = prop_oneof!["[ -~]{0,12}", "[ü€🦀:]{0,6}"].prop_map(String::into_bytes);
        let field =
            prop_oneof![Just("data:"), Just("data: "), Just("event: "), Just("id:"), Just(":"), Just(""), Just("da")];
        let end = prop_oneof![Just(&b"\n"[..]), Just(&b"\r"[..]), Just(&b"\r\n"[..])];
        let body = prop_oneof![8 => text, 1 => prop::collection::vec(any::<u8>(), 0..6)];
        (field, body, end).prop_map(|(field, body, end)| [field.as_bytes(), &body, end].concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            lines in prop::collection::vec(prop_oneof![3 => line(), 1 => Just(b"\n".to_vec())], 0..40),
            cuts in prop::collection::vec(1usize..9, 1..60),
        ) {
            let stream = lines.concat();
            let (mut chunks, mut rest) = (Vec::new(), &stream[..]);
            for size in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at((*size).min(rest.len()));
                chunks.push(head);
                rest = tail;
            }
            prop_assert_eq!(parse(chunks), parse([&stream[..]]));
        }
    }
}
