//! Cases that broke others, by their numbers.

mod channels;
mod configuration;
