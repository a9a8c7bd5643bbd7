//! Cases that broke others, by their numbers.

mod bodies;
mod channels;
mod configuration;
