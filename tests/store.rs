//! What the store promises, held against both backends.

#[path = "support/postgres.rs"]
mod postgres;

#[path = "store/disk.rs"]
mod disk;
#[path = "store/ground.rs"]
mod ground;
#[path = "store/identity.rs"]
mod identity;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/owner.rs"]
mod owner;
#[path = "store/rows.rs"]
mod rows;
#[path = "store/tenants.rs"]
mod tenants;
#[path = "store/writer.rs"]
mod writer;
