//! The checker: every delivery must be the next of its publisher on its channel, and on Switchboard the next of its channel.
use crate::payload::Stamp;
use std::ops::Range;

/// What was wrong with what one connection received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A delivery came although one before it had not.
    pub gaps: u64,
    /// Deliveries that those gaps, or the end of the run, left out.
    pub missing: u64,
    /// A delivery came again, or after a later one.
    pub backward: u64,
    /// A delivery came from a channel that was not subscribed to, or from a publisher that does not write there.
    pub foreign: u64,
    /// The hub's own `seq` did not rise by one, or its `epoch` changed.
    pub numbering: u64,
}

impl Faults {
    pub fn add(&mut self, other: Faults) {
        self.gaps += other.gaps;
        self.missing += other.missing;
        self.backward += other.backward;
        self.foreign += other.foreign;
        self.numbering += other.numbering;
    }

    /// Faults of order and content; 0 when everything came once, in order, to whom it was for.
    pub fn total(&self) -> u64 {
        self.gaps + self.missing + self.backward + self.foreign + self.numbering
    }
}

/// The hub's own number of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    pub epoch: &'a [u8],
    pub seq: u64,
    /// More than one event in one frame: never on an `app:` channel.
    pub merged: bool,
}

#[derive(Clone, Copy, Default)]
struct Line {
    publisher: u32,
    last: u32,
}

/// Checks what one connection receives.
pub struct Checker {
    channels: Range<u32>,
    /// Publishers that write to one channel: 1, or all of them to a single channel.
    writers: u32,
    lines: Vec<Line>,
    numbers: Vec<Option<(Vec<u8>, u64)>>,
    faults: Faults,
}

impl Checker {
    /// For a connection that subscribed to `channels`, each written to by `writers` publishers.
    pub fn new(channels: Range<u32>, writers: u32) -> Self {
        let lines = vec![Line::default(); channels.len() * writers as usize];
        Self { channels, writers, lines, numbers: Vec::new(), faults: Faults::default() }
    }

    /// For a connection that must hear nothing: whatever comes is foreign.
    pub fn silent() -> Self {
        Self::new(0..0, 1)
    }

    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// One payload arrived.
    #[inline]
    pub fn delivery(&mut self, s: &Stamp) {
        if !self.channels.contains(&s.channel) {
            self.faults.foreign += 1;
            return;
        }
        let slot = (s.channel - self.channels.start) * self.writers + s.publisher % self.writers;
        let line = &mut self.lines[slot as usize];
        if line.last > 0 && line.publisher != s.publisher {
            self.faults.foreign += 1;
            return;
        }
        line.publisher = s.publisher;
        if s.seq <= line.last {
            self.faults.backward += 1;
            return;
        }
        if s.seq > line.last + 1 {
            self.faults.gaps += 1;
            self.faults.missing += u64::from(s.seq - line.last - 1);
        }
        line.last = s.seq;
    }

    /// The hub said at which number of its own it begins on `channel`.
    pub fn subscribed(&mut self, channel: u32, epoch: &str, seq: u64) {
        if !self.channels.contains(&channel) {
            return;
        }
        if self.numbers.is_empty() {
            self.numbers = vec![None; self.channels.len()];
        }
        self.numbers[(channel - self.channels.start) as usize] = Some((epoch.as_bytes().to_vec(), seq));
    }

    /// An event with the hub's own number arrived on `channel`; without one (`None`) it is a fault.
    #[inline]
    pub fn numbered(&mut self, channel: u32, number: Option<Numbered<'_>>) {
        let slot = channel.wrapping_sub(self.channels.start) as usize;
        let good = match (self.numbers.get_mut(slot), number) {
            (Some(Some((epoch, seq))), Some(n)) => {
                let good = n.seq == *seq + 1 && n.epoch == epoch.as_slice() && !n.merged;
                *seq = n.seq;
                if !good {
                    *epoch = n.epoch.to_vec();
                }
                good
            }
            _ => false,
        };
        self.faults.numbering += u64::from(!good);
    }

    /// At the end of a run: counts what each line is short of `sent(channel, writer)`, the last number sent.
    pub fn end(&mut self, sent: &dyn Fn(u32, u32) -> u32) {
        for (i, line) in self.lines.iter().enumerate() {
            let (channel, writer) = (i as u32 / self.writers, i as u32 % self.writers);
            let last = sent(self.channels.start + channel, writer);
            self.faults.missing += u64::from(last.saturating_sub(line.last));
        }
    }

    /// True when every line has come to `sent(channel, writer)`.
    pub fn complete(&self, sent: &dyn Fn(u32, u32) -> u32) -> bool {
        self.lines.iter().enumerate().all(|(i, line)| {
            let (channel, writer) = (i as u32 / self.writers, i as u32 % self.writers);
            line.last >= sent(self.channels.start + channel, writer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(seqs: &[u32]) -> Checker {
        let mut c = Checker::new(7..8, 1);
        for &seq in seqs {
            c.delivery(&Stamp { at: 0, publisher: 3, channel: 7, seq });
        }
        c
    }

    #[test]
    fn in_order_is_clean() {
        let mut c = heard(&[1, 2, 3, 4]);
        c.end(&|_, _| 4);
        assert_eq!(c.faults().total(), 0);
    }

    #[test]
    fn a_gap_is_one_gap_and_one_missing() {
        assert_eq!(heard(&[1, 2, 4]).faults(), Faults { gaps: 1, missing: 1, ..Faults::default() });
    }

    #[test]
    fn the_first_one_lost_is_a_gap() {
        assert_eq!(heard(&[2, 3]).faults(), Faults { gaps: 1, missing: 1, ..Faults::default() });
    }

    #[test]
    fn the_last_one_lost_is_missing_at_the_end() {
        let mut c = heard(&[1, 2]);
        assert!(!c.complete(&|_, _| 3));
        c.end(&|_, _| 3);
        assert_eq!(c.faults(), Faults { missing: 1, ..Faults::default() });
    }

    #[test]
    fn a_repeat_goes_backward() {
        assert_eq!(heard(&[1, 2, 2, 3]).faults(), Faults { backward: 1, ..Faults::default() });
    }

    #[test]
    fn a_swap_is_a_gap_and_a_step_backward() {
        let f = heard(&[1, 3, 2, 4]).faults();
        assert_eq!(f, Faults { gaps: 1, missing: 1, backward: 1, ..Faults::default() });
    }

    #[test]
    fn another_channel_or_another_publisher_is_foreign() {
        let mut c = heard(&[1]);
        c.delivery(&Stamp { at: 0, publisher: 3, channel: 8, seq: 2 });
        c.delivery(&Stamp { at: 0, publisher: 4, channel: 7, seq: 2 });
        assert_eq!(c.faults(), Faults { foreign: 2, ..Faults::default() });
        let mut nobody = Checker::silent();
        nobody.delivery(&Stamp { at: 0, publisher: 0, channel: 0, seq: 1 });
        assert_eq!(nobody.faults().foreign, 1);
    }

    #[test]
    fn publishers_of_one_channel_are_counted_apart() {
        let mut c = Checker::new(0..1, 2);
        for (publisher, seq) in [(0, 1), (1, 1), (1, 2), (0, 2)] {
            c.delivery(&Stamp { at: 0, publisher, channel: 0, seq });
        }
        assert_eq!(c.faults().total(), 0);
        c.delivery(&Stamp { at: 0, publisher: 1, channel: 0, seq: 4 });
        assert_eq!(c.faults().gaps, 1);
    }

    fn event(epoch: &str, seq: u64) -> Option<Numbered<'_>> {
        Some(Numbered { epoch: epoch.as_bytes(), seq, merged: false })
    }

    #[test]
    fn the_hubs_numbers_rise_by_one_from_where_it_said() {
        let mut c = Checker::new(7..8, 1);
        c.subscribed(7, "e1", 41);
        c.numbered(7, event("e1", 42));
        c.numbered(7, event("e1", 43));
        assert_eq!(c.faults().numbering, 0);
        c.numbered(7, event("e1", 45));
        assert_eq!(c.faults().numbering, 1);
    }

    #[test]
    fn a_new_epoch_a_missing_number_and_a_merged_event_are_faults() {
        for bad in [event("e2", 42), None, event("e1", 41), Some(Numbered { epoch: b"e1", seq: 42, merged: true })] {
            let mut c = Checker::new(7..8, 1);
            c.subscribed(7, "e1", 41);
            c.numbered(7, bad);
            assert_eq!(c.faults().numbering, 1, "{bad:?}");
        }
    }
}
