//! What the store promises, held against both backends.

#[path = "support/postgres.rs"]
mod postgres;

#[path = "store/ground.rs"]
mod ground;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/rows.rs"]
mod rows;
#[path = "store/writer.rs"]
mod writer;
