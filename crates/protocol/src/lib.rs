//! The words of Switchboard's own wire.
//!
//! [`frames`] is what travels on a socket, [`methods`] what a `request` may ask for, [`events`] what channels carry, and
//! [`model`] the things that all three are about, and [`rest`] what only HTTP has. The hub's inside has its own types; a door translates.

pub mod acting;
#[cfg(feature = "describe")]
pub mod describe;
pub mod events;
pub mod frames;
pub mod methods;
pub mod model;
pub mod rest;
