//! A database of an earlier version is brought up to date and keeps its rows.

use diesel::prelude::*;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::domain::usage::Usage;

use crate::ground::*;

on_both!(the_first_version_keeps_its_rows, the_way_back_is_there);

fn migrations(ground: &Ground) -> FileBasedMigrations {
    let backend = match ground.backend {
        Backend::Sqlite(_) => "sqlite",
        Backend::Postgres(_) => "postgres",
    };
    let folder = format!("{}/migrations/{backend}", env!("CARGO_MANIFEST_DIR"));
    FileBasedMigrations::from_path(folder).expect("the migrations")
}

/// Only the oldest migration.
fn first_version(ground: &Ground) {
    let all = migrations(ground);
    match &ground.backend {
        Backend::Sqlite(_) => {
            let mut c = SqliteConnection::establish(ground.url.trim_start_matches("sqlite:")).expect("a connection");
            c.run_next_migration(all).map(drop).expect("migrated");
        }
        Backend::Postgres(_) => {
            let mut c = PgConnection::establish(&ground.url).expect("a connection");
            c.run_next_migration(all).map(drop).expect("migrated");
        }
    }
}

async fn the_first_version_keeps_its_rows(ground: Ground) {
    first_version(&ground);
    assert_eq!(ground.count("__diesel_schema_migrations").await, 1);
    let (yes, no, hash) = match &ground.backend {
        Backend::Sqlite(_) => ("1", "0", format!("x'{}'", "07".repeat(32))),
        Backend::Postgres(_) => ("true", "false", format!("'\\x{}'", "07".repeat(32))),
    };
    let statements = format!(
        "insert into organization (id, name, created_at) values ('acme', 'acme', 3); \
         insert into account (organization_id, id, role, managed, hub_admin, created_at) \
             values ('acme', 'ann', 'operator', {yes}, {no}, 4); \
         insert into api_key (organization_id, id, user_id, name, hash, created_at) \
             values ('acme', 'key_{:032x}', 'ann', 'old', {hash}, 5); \
         insert into hub_session (hash, organization_id, user_id, created_at, expires_at) \
             values ({hash}, 'acme', 'ann', 6, 7); \
         insert into conversation (organization_id, id, user_id, title, state, visibility, agent, thinking, next_turn_no, \
             input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost, created_at, updated_at) \
             values ('acme', 'sess_{:032x}', 'ann', 't', 'active', 'private', 'a', 'off', 1, 1, 2, 3, 4, 0.1234567, 1, 1);",
        9, 9
    );
    ground.execute(&statements).expect("written");
    let store = ground.open();
    assert_eq!(ground.count("__diesel_schema_migrations").await, 9);
    assert_eq!(store.organization(&acme()).await, Ok(Some(house("acme"))));
    assert_eq!(store.user(&acme(), &user("ann")).await, Ok(Some(person("ann"))));
    assert_eq!(store.password(&acme(), &user("ann")).await, Ok(None));
    let key = store.api_key_by_hash([7; 32]).await.expect("answered").expect("there");
    assert_eq!((key.id, key.name.as_str(), key.revoked_at), (KeyId(9), "old", None));
    assert!(store.session_by_hash([7; 32]).await.expect("answered").is_some());
    let talk = store.conversation(&acme(), ConversationId(9)).await.expect("answered").expect("there");
    assert_eq!(talk.usage, Usage { input: 1, output: 2, cache_read: 3, cache_write: 4, cost: Some(123_457) });
    // And it is a whole database: what is new works on what is old.
    let raised = User { role: Role::Admin, ..person("ann") };
    assert_eq!(store.set_role(&acme(), &user("ann"), Role::Admin, Timestamp(8)).await, Ok(Some(raised)));
    assert_eq!(store.newest_change().await, Ok(1));
}

async fn the_way_back_is_there(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    store.close().await;
    let all = migrations(&ground);
    match &ground.backend {
        Backend::Sqlite(_) => {
            let mut c = SqliteConnection::establish(ground.url.trim_start_matches("sqlite:")).expect("a connection");
            c.revert_last_migration(all).map(drop).expect("reverted");
        }
        Backend::Postgres(_) => {
            let mut c = PgConnection::establish(&ground.url).expect("a connection");
            c.revert_last_migration(all).map(drop).expect("reverted");
        }
    }
    assert_eq!(ground.count("account").await, 1);
    let store = ground.open();
    assert_eq!(store.user(&acme(), &user("ann")).await, Ok(Some(person("ann"))));
}
