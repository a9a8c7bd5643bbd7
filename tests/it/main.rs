//! The promises, tried from outside: the built program is driven over its sockets with literal frames.

mod support;

mod first_conversation;
mod provider_faults;
mod real_model;
mod stopping;
mod tool_turns;
