//! From one event to many sockets: numbered at the channel's home, encoded once per dialect, pushed by each worker.
//!
//! A channel has one [`Home`]; it alone numbers, and it alone lets subscribers in. What it says goes to each worker that
//! has a listener through that worker's inbox, in order; the worker pushes it into the sockets' queues.

mod home;
mod homes;
mod inbox;
mod ring;
mod table;

use std::sync::{Arc, OnceLock};

use crate::domain::event::Numbered;
use crate::domain::hub::DialectId;
use crate::doors::{DIALECTS, Encoded};

pub use home::{Home, HomeLink, Member, Opening, PresenceRule, new_epoch};
pub use homes::{AttachRequest, HomeState, announce, attach, begin, close_all, detach, history, presence, publish};
pub use inbox::{Mail, Workers};
pub use ring::{Pool, RingLimits};
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
