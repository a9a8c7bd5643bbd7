//! What is published: a text delta of an exact size that carries when, by whom and as which it was sent.
use memchr::memmem::Finder;

/// What every payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was sent, nanoseconds of [`crate::clock::now`].
    pub at: u64,
    /// Which publisher connection sent it, below 1,000.
    pub publisher: u32,
    /// On which channel, below 1,000,000.
    pub channel: u32,
    /// The how-manieth of this publisher on this channel, from 1.
    pub seq: u32,
}

const HEAD: &[u8] = b"{\"type\":\"text_delta\",\"stamp\":\"";
const MARK: &[u8] = b"\"stamp\":\"";
const WORDS: &[u8] = b"the agent said something and then went on ";
/// Sixteen digits of time, three of publisher, six of channel, nine of sequence, and the dashes.
const STAMP: usize = 16 + 1 + 3 + 1 + 6 + 1 + 9;
/// The smallest payload there is, bytes.
pub const SMALLEST: usize = HEAD.len() + STAMP + b"\",\"text\":\"\"}".len();

/// One payload, written anew for each publish without allocating.
pub struct Payload(Vec<u8>);

impl Payload {
    /// A JSON object of exactly `size` bytes, or of [`SMALLEST`] when that is more.
    pub fn new(size: usize) -> Self {
        let mut b = HEAD.to_vec();
        b.extend_from_slice(&[b'-'; STAMP]);
        b.extend_from_slice(b"\",\"text\":\"");
        let text = size.saturating_sub(SMALLEST);
        b.extend(WORDS.iter().cycle().take(text));
        b.extend_from_slice(b"\"}");
        Self(b)
    }

    pub fn stamped(&mut self, s: Stamp) -> &[u8] {
        let b = &mut self.0[HEAD.len()..];
        digits(&mut b[..16], s.at);
        digits(&mut b[17..20], s.publisher.into());
        digits(&mut b[21..27], s.channel.into());
        digits(&mut b[28..37], s.seq.into());
        &self.0
    }
}

/// Finds stamps in what arrives.
pub struct StampReader(Finder<'static>);

impl Default for StampReader {
    fn default() -> Self {
        Self(Finder::new(MARK))
    }
}

impl StampReader {
    /// The first stamp at or after `from`, and the position behind it.
    #[inline]
    pub fn next(&self, message: &[u8], from: usize) -> Option<(Stamp, usize)> {
        let start = from + self.0.find(message.get(from..)?)? + MARK.len();
        let b = message.get(start..start + STAMP)?;
        let stamp = Stamp {
            at: number(&b[..16]),
            publisher: number(&b[17..20]) as u32,
            channel: number(&b[21..27]) as u32,
            seq: number(&b[28..37]) as u32,
        };
        Some((stamp, start + STAMP))
    }
}

fn digits(b: &mut [u8], mut v: u64) {
    for x in b.iter_mut().rev() {
        *x = b'0' + (v % 10) as u8;
        v /= 10;
    }
}

/// The decimal number that `b` starts with.
#[inline]
pub fn number(b: &[u8]) -> u64 {
    b.iter().take_while(|c| c.is_ascii_digit()).fold(0, |n, c| n * 10 + u64::from(c - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_from_a_payload_of_the_asked_size() {
        let stamp = Stamp { at: 1234567890123456, publisher: 333, channel: 999_999, seq: 17 };
        let mut p = Payload::new(128);
        let bytes = p.stamped(stamp).to_vec();
        assert_eq!(bytes.len(), 128);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["type"], "text_delta");
        let reader = StampReader::default();
        let (got, behind) = reader.next(&bytes, 0).unwrap();
        assert_eq!(got, stamp);
        assert_eq!(reader.next(&bytes, behind), None);
    }

    #[test]
    fn a_cut_stamp_is_none() {
        let mut p = Payload::new(0);
        let bytes = p.stamped(Stamp { at: 1, publisher: 1, channel: 1, seq: 1 });
        assert_eq!(StampReader::default().next(&bytes[..HEAD.len() + 20], 0), None);
    }
}
