//! What the store promises, held against both backends.

#[path = "support/postgres.rs"]
mod postgres;

#[path = "store/aliases.rs"]
mod aliases;
#[path = "store/audit.rs"]
mod audit;
#[path = "store/budgets.rs"]
mod budgets;
#[path = "store/changes.rs"]
mod changes;
#[path = "store/devices.rs"]
mod devices;
#[path = "store/disk.rs"]
mod disk;
#[path = "store/entities.rs"]
mod entities;
#[path = "store/ground.rs"]
mod ground;
#[path = "store/hub_settings.rs"]
mod hub_settings;
#[path = "store/identity.rs"]
mod identity;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/overview.rs"]
mod overview;
#[path = "store/owner.rs"]
mod owner;
#[path = "store/prune.rs"]
mod prune;
#[path = "store/rights.rs"]
mod rights;
#[path = "store/routing.rs"]
mod routing;
#[path = "store/rows.rs"]
mod rows;
#[path = "store/tenants.rs"]
mod tenants;
#[path = "store/tickets.rs"]
mod tickets;
#[path = "store/upgrade.rs"]
mod upgrade;
#[path = "store/writer.rs"]
mod writer;
