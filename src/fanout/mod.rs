//! From one event to many sockets: numbered at the channel's home, encoded once per dialect, pushed by each worker.
//!
//! A channel has one [`Home`]; it alone numbers, and it alone lets subscribers in. What it says goes to each worker that
//! has a listener through that worker's inbox, in order; the worker pushes it into the sockets' queues.

mod home;
mod homes;
mod inbox;
mod ring;
mod survey;
mod table;

use std::sync::{Arc, OnceLock};

use crate::domain::event::Numbered;
use crate::domain::hub::DialectId;
use crate::domain::ids::Timestamp;
use crate::doors::{DIALECTS, Encoded, NATIVE, rpc};
use crate::framing::Frame;

pub use home::{Home, HomeLink, HomeRules, Member, Opening, PresenceRules, new_epoch};
pub use homes::{
    AttachRequest, History, HomeState, announce, attach, begin, close_all, detach, history, presence, publish,
};
pub use inbox::{Mail, Workers};
pub use ring::{Pool, RingLimits};
pub use survey::{Subscriber, channels, subscribers, subscribers_of, tell_organizations};
pub use table::{is_listening, leave, listens_to, renew, start, unlisten};

/// An event on its way, with what each dialect made of it: the first worker that needs it encodes it for all.
#[derive(Debug)]
pub struct Published {
    pub numbered: Numbered,
    encoded: [OnceLock<Encoded>; DIALECTS.len()],
}

impl Published {
    pub fn new(numbered: Numbered) -> Arc<Self> {
        Arc::new(Self { numbered, encoded: Default::default() })
    }

    pub fn encoded(&self, dialect: DialectId) -> &Encoded {
        let row = usize::from(dialect.0);
        self.encoded[row].get_or_init(|| DIALECTS[row].event(&self.numbered))
    }
}

/// What a ring gives back.
#[derive(Debug)]
enum Recalled {
    Event(Arc<Published>),
    /// What a client published, as its frame on the native wire.
    Frame {
        seq: u64,
        at: Timestamp,
        frame: Frame,
    },
}

impl Recalled {
    fn seq(&self) -> u64 {
        match self {
            Self::Event(published) => published.numbered.seq,
            Self::Frame { seq, .. } => *seq,
        }
    }

    /// Its frames in a dialect. `template` is of the same channel and epoch.
    fn frames(&self, dialect: DialectId, template: &Numbered) -> Vec<Frame> {
        match self {
            Self::Event(published) => published.encoded(dialect).frames().to_vec(),
            Self::Frame { frame, .. } if dialect == NATIVE => vec![frame.clone()],
            Self::Frame { .. } => match self.numbered(template) {
                Some(numbered) => DIALECTS[usize::from(dialect.0)].event(&numbered).frames().to_vec(),
                None => Vec::new(),
            },
        }
    }

    /// The event itself. `None` where its frame cannot be read.
    fn numbered(&self, template: &Numbered) -> Option<Numbered> {
        match self {
            Self::Event(published) => Some(published.numbered.clone()),
            Self::Frame { seq, at, frame } => {
                let event = rpc::published(frame.payload_bytes())?;
                Some(Numbered { seq: *seq, from_seq: *seq, at: *at, event, ..template.clone() })
            }
        }
    }
}
