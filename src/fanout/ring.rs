//! The newest events of a channel, to catch up from. Deltas are kept as offsets into the part's own text, and what
//! clients published as the frame that was made of it: there are many such rings, and what they hold is seldom read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Published, Recalled};
use crate::domain::event::{Event, Growing, Numbered};
use crate::domain::ids::{ConversationId, MessageId, PartId, Timestamp, TurnId};
use crate::domain::message::{Part, PartBody};
use crate::doors::{Encoded, NATIVE};
use crate::framing::Frame;

/// What one ring may hold, and what all together.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    pub events: usize,
    pub bytes: usize,
    /// Milliseconds after which an event is forgotten; 0 keeps it.
    pub age: i64,
    /// Bytes of all rings of this pool.
    pub total_bytes: usize,
    pub pool: Pool,
}

/// Whose budget a ring draws on: what clients publish takes nothing from the conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Conversations,
    Channels,
}

/// Bytes of a delta within a run: where it ends.
const DELTA_BYTES: usize = size_of::<u32>();

/// Deltas that lie in one entry at most.
const LONGEST_RUN: usize = 512;

/// Bytes of all rings, by pool.
static TOTALS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

impl Pool {
    fn total(self) -> &'static AtomicUsize {
        &TOTALS[self as usize]
    }
}

/// A text that a run of deltas lies in.
pub type TextOf<'a> = &'a dyn Fn(MessageId, PartId) -> Option<&'a str>;

#[derive(Debug)]
enum Entry {
    Whole(Arc<Published>),
    Published(Bare),
    Run(Box<Run>),
}

/// What a client published, as the native wire has it.
#[derive(Debug)]
struct Bare {
    seq: u64,
    at: Timestamp,
    /// Bytes of the data alone.
    weight: u32,
    frame: Frame,
}

/// Deltas of one part, one after the other: four bytes each.
#[derive(Debug)]
struct Run {
    conversation: ConversationId,
    turn: TurnId,
    message: MessageId,
    part: PartId,
    kind: Growing,
    first_seq: u64,
    /// Where the first delta begins.
    start: u32,
    /// Where each delta ends.
    ends: Vec<u32>,
    at: Timestamp,
}

impl Entry {
    fn first_seq(&self) -> u64 {
        match self {
            Self::Whole(published) => published.numbered.from_seq,
            Self::Published(bare) => bare.seq,
            Self::Run(run) => run.first_seq,
        }
    }

    fn last_seq(&self) -> u64 {
        match self {
            Self::Whole(published) => published.numbered.seq,
            Self::Published(bare) => bare.seq,
            Self::Run(run) => run.first_seq + run.ends.len() as u64 - 1,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Whole(_) | Self::Published(_) => 1,
            Self::Run(run) => run.ends.len(),
        }
    }

    fn at(&self) -> Timestamp {
        match self {
            Self::Whole(published) => published.numbered.at,
            Self::Published(bare) => bare.at,
            Self::Run(run) => run.at,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Whole(published) => 300 + weight(&published.numbered.event),
            Self::Published(bare) => 300 + bare.weight as usize,
            Self::Run(run) => 120 + DELTA_BYTES * run.ends.len(),
        }
    }
}

/// Bytes that an event holds, roughly: its own copy of what it is about, and the frame that was made of it.
fn weight(event: &Event) -> usize {
    match event {
        // What configuration calls the bytes of a history is the data.
        Event::Application { data, .. } => data.len(),
        Event::Delta { text, .. } => text.len(),
        Event::MessageCreated { message, .. } | Event::MessageUpdated { message, .. } => {
            256 + message.parts.iter().map(part_weight).sum::<usize>()
        }
        Event::PartCreated { part, .. } | Event::PartChanged { part, .. } => part_weight(part),
        Event::TodosUpdated { todos } => todos.iter().map(|todo| 128 + 2 * todo.content.len()).sum(),
        Event::Broadcast { notice, .. } => 512 + 2 * notice.bytes(),
        _ => 512,
    }
}

fn part_weight(part: &Part) -> usize {
    256 + 2 * match &part.body {
        PartBody::Text { text } | PartBody::Thinking { text, .. } => text.len(),
        PartBody::ToolCall(_) => 512,
        PartBody::ToolResult { result, .. } => result.output.len(),
        PartBody::Attachment(attachment) => attachment.data.as_ref().map_or(0, String::len),
    }
}

#[derive(Debug)]
pub struct Ring {
    entries: VecDeque<Entry>,
    events: usize,
    bytes: usize,
    limits: RingLimits,
}

impl Ring {
    pub fn new(limits: RingLimits) -> Self {
        Self { entries: VecDeque::new(), events: 0, bytes: 0, limits }
    }

    pub fn clear(&mut self) {
        while self.drop_oldest() {}
    }

    pub fn push(&mut self, published: &Arc<Published>) {
        let added = if self.grow_run(&published.numbered) {
            DELTA_BYTES
        } else {
            let entry = entry(published);
            let bytes = entry.bytes();
            self.entries.push_back(entry);
            bytes
        };
        self.events += 1;
        self.bytes += added;
        let total = self.limits.pool.total().fetch_add(added, Ordering::Relaxed) + added;
        // Over half of the budget of all, every ring that grows gives back down to a quarter of its own; over the whole
        // of it, everything.
        let budget = self.limits.total_bytes;
        let (events, bytes) = match total {
            total if total > budget => (0, 0),
            total if total > budget / 2 => (self.limits.events / 4, self.limits.bytes / 4),
            _ => (self.limits.events, self.limits.bytes),
        };
        // One event that is larger than a whole ring is not kept either.
        while (self.events > events || self.bytes > bytes) && self.drop_oldest() {}
        self.forget_old(published.numbered.at);
    }

    /// Whether a delta went on where the newest run ends. Nothing else is looked at: what lies in a ring is seldom at
    /// hand for the processor.
    fn grow_run(&mut self, numbered: &Numbered) -> bool {
        let Event::Delta { part, offset, text, .. } = &numbered.event else { return false };
        // What is forgotten is forgotten by whole entries: a run is a small share of what the ring may hold.
        let longest = (self.limits.events / 8).clamp(1, LONGEST_RUN);
        match self.entries.back_mut() {
            Some(Entry::Run(run))
                if run.part == *part && run.ends.last() == Some(&(*offset as u32)) && run.ends.len() < longest =>
            {
                run.ends.push((offset + text.len()) as u32);
                run.at = numbered.at;
                true
            }
            _ => false,
        }
    }

    /// Forgets what is too old.
    pub fn forget_old(&mut self, now: Timestamp) {
        if self.limits.age == 0 {
            return;
        }
        while self.entries.front().is_some_and(|e| now.since(e.at()) > self.limits.age) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.events -= entry.count();
        let bytes = entry.bytes();
        self.bytes -= bytes;
        self.limits.pool.total().fetch_sub(bytes, Ordering::Relaxed);
        true
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether everything after `seq` is still here, where the channel stands at `head`.
    pub fn holds_after(&self, seq: u64, head: u64) -> bool {
        seq == head || (seq < head && self.entries.front().is_some_and(|e| e.first_seq() <= seq + 1))
    }

    /// Everything after `seq`, oldest first, runs of deltas merged, until about `bytes` of text. `None` where a part's
    /// text is gone. The last one's seq tells how far it went.
    pub fn after(&self, seq: u64, template: &Numbered, text_of: TextOf<'_>, bytes: usize) -> Option<Vec<Recalled>> {
        let mut found = Vec::new();
        let mut weighed = 0;
        let from = self.entries.partition_point(|e| e.last_seq() <= seq);
        for entry in self.entries.range(from..) {
            if weighed > bytes {
                break;
            }
            match entry {
                Entry::Whole(published) => {
                    weighed += 300 + weight(&published.numbered.event);
                    found.push(Recalled::Event(published.clone()));
                }
                Entry::Published(Bare { seq, at, frame, .. }) => {
                    weighed += entry.bytes();
                    found.push(Recalled::Frame { seq: *seq, at: *at, frame: frame.clone() });
                }
                Entry::Run(run) => {
                    let (merged, length) = merge(run, seq, template, text_of)?;
                    weighed += 200 + length;
                    found.push(Recalled::Event(merged));
                }
            }
        }
        Some(found)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.limits.pool.total().fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn entry(published: &Arc<Published>) -> Entry {
    let Numbered { seq, at, event, .. } = &published.numbered;
    match event {
        Event::Application { data, .. } => match published.encoded(NATIVE) {
            Encoded::One(frame) => {
                Entry::Published(Bare { seq: *seq, at: *at, weight: data.len() as u32, frame: frame.clone() })
            }
            _ => Entry::Whole(published.clone()),
        },
        Event::Delta { conversation, turn, message, part, kind, offset, text } => Entry::Run(Box::new(Run {
            conversation: *conversation,
            turn: *turn,
            message: *message,
            part: *part,
            kind: *kind,
            first_seq: *seq,
            start: *offset as u32,
            ends: vec![(offset + text.len()) as u32],
            at: *at,
        })),
        _ => Entry::Whole(published.clone()),
    }
}

/// The deltas of a run after `seq`, as one.
fn merge(run: &Run, seq: u64, template: &Numbered, text_of: TextOf<'_>) -> Option<(Arc<Published>, usize)> {
    let skip = (seq + 1).saturating_sub(run.first_seq) as usize;
    let start = if skip == 0 { run.start } else { run.ends[skip - 1] } as usize;
    let end = *run.ends.last()? as usize;
    let text = text_of(run.message, run.part)?.get(start..end)?;
    let numbered = Numbered {
        seq: run.first_seq + run.ends.len() as u64 - 1,
        from_seq: run.first_seq + skip as u64,
        at: run.at,
        event: Event::Delta {
            conversation: run.conversation,
            turn: run.turn,
            message: run.message,
            part: run.part,
            kind: run.kind,
            offset: start,
            text: text.into(),
        },
        ..template.clone()
    };
    Some((Published::new(numbered), text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::{Channel, ChannelKey};
    use crate::domain::ids::OrganizationId;

    const LIMITS: RingLimits =
        RingLimits { events: 4, bytes: 4096, age: 0, total_bytes: 1 << 30, pool: Pool::Conversations };

    fn event(seq: u64, event: Event) -> Arc<Published> {
        let organization = OrganizationId::parse("acme").expect("a name");
        let channel = ChannelKey::new(organization, &Channel::Application("x".into()));
        Published::new(Numbered { channel, epoch: "e".into(), seq, from_seq: seq, at: Timestamp(0), event })
    }

    fn application(seq: u64, bytes: usize) -> Arc<Published> {
        event(seq, Event::Application { name: "e".into(), data: "x".repeat(bytes).into() })
    }

    fn delta(seq: u64, offset: usize, text: &str) -> Arc<Published> {
        let (conversation, turn, message, part) = (ConversationId(1), TurnId(1), MessageId(1), PartId(1));
        let (kind, text) = (Growing::Text, text.into());
        event(seq, Event::Delta { conversation, turn, message, part, kind, offset, text })
    }

    #[test]
    fn an_event_that_is_larger_than_the_ring_is_not_kept() {
        let mut ring = Ring::new(LIMITS);
        ring.push(&application(1, 10));
        ring.push(&application(2, 5000));
        assert!(ring.is_empty() && ring.bytes == 0 && ring.events == 0);
        assert!(ring.holds_after(2, 2) && !ring.holds_after(1, 2), "there is a gap, and it is told");
        ring.push(&application(3, 10));
        assert!(ring.holds_after(2, 3) && !ring.holds_after(1, 3));
    }

    #[test]
    fn what_a_client_published_is_read_back_from_its_frame() {
        let mut ring = Ring::new(LIMITS);
        let (name, data) = ("a \"b\" \u{1f600}".into(), "{ \"x\": [1e3, null],\"x\":\"\\n\"}".into());
        let published = event(7, Event::Application { name, data });
        ring.push(&published);
        let template = application(9, 0).numbered.clone();
        let found = ring.after(6, &template, &|_, _| None, usize::MAX).expect("held");
        let [one @ Recalled::Frame { .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(one.numbered(&template).as_ref(), Some(&published.numbered));
        for dialect in [NATIVE, crate::doors::FLAT] {
            assert_eq!(one.frames(dialect, &template), published.encoded(dialect).frames());
        }
    }

    #[test]
    fn over_the_budget_of_all_nothing_is_kept() {
        let limits = RingLimits { total_bytes: 1000, pool: Pool::Channels, ..LIMITS };
        let mut rings: Vec<Ring> = (0..100).map(|_| Ring::new(limits)).collect();
        for ring in &mut rings {
            ring.push(&application(1, 100));
        }
        assert!(rings.iter().map(|ring| ring.bytes).sum::<usize>() <= 1000);
        drop(rings);
        assert_eq!(Pool::Channels.total().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn deltas_merge_at_the_borders_they_came_in() {
        let mut ring = Ring::new(RingLimits { events: 64, ..LIMITS });
        let (mut text, words) = (String::new(), ["\u{1f600}", "é", "x"]);
        for (seq, word) in (1..).zip(words) {
            ring.push(&delta(seq, text.len(), word));
            text.push_str(word);
        }
        for since in 0..3 {
            let found = ring.after(since, &delta(9, 0, "").numbered, &|_, _| Some(&text), usize::MAX).expect("held");
            let [Recalled::Event(one)] = found.as_slice() else { panic!("{found:?}") };
            let Event::Delta { text: merged, .. } = &one.numbered.event else { panic!("{one:?}") };
            assert_eq!((one.numbered.from_seq, one.numbered.seq), (since + 1, 3));
            assert_eq!(**merged, words[since as usize..].concat());
        }
    }
}
