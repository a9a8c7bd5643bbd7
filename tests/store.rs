//! What the store promises, held against both backends.

#[path = "support/postgres.rs"]
mod postgres;

#[path = "store/ground.rs"]
mod ground;
#[path = "store/rows.rs"]
mod rows;
