//! Each door's own words.

mod flat;
mod methods;
