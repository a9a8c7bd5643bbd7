//! The promises, tried from outside: the built program is driven over its sockets with literal frames.

mod support;

mod adversarial;
mod approvals;
mod bad_frames;
mod doors;
mod fan_out;
mod first_conversation;
mod organizations;
mod publishing;
mod resume;
mod slow_readers;
mod subscribing;
mod wider_channels;
