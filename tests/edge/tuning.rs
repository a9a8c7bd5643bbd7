//! The file read again while the hub runs: what may change counts, what may not is named, what was set over HTTP stays.

use std::sync::{Arc, Mutex};

use serde_json::json;
use switchboard::config::{Flags, Loaded, load};
use switchboard::domain::ids::Timestamp;
use switchboard::store::{Store, StoreSettings};
use switchboard::tuning::Tuning;

use crate::hub::Data;

fn write(data: &Data, toml: &str) {
    std::fs::create_dir_all(data.path()).unwrap();
    std::fs::write(data.path().join("switchboard.toml"), toml).unwrap();
}

fn loaded(data: &Data, toml: &str) -> Loaded {
    write(data, toml);
    let environment = [("SWITCHBOARD_LIMITS__WAIT_SECONDS".to_owned(), "44".to_owned())];
    load(&Flags { data: Some(data.path()), ..Flags::default() }, environment).unwrap()
}

#[test]
fn a_file_that_is_read_again_counts_where_it_may() {
    let data = Data::new();
    let base = loaded(&data, "[limits]\nqueue_turns = 5\nsteps_per_turn = 6\nwait_seconds = 7\nring_events = 50\n");
    let url = format!("sqlite:{}", data.path().join("hub.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(StoreSettings { url, pool: 1, boot: 1 }).unwrap();
        store.put_hub_settings(0, &json!({"limits.steps_per_turn": 9}), Timestamp(1)).await.unwrap();
        let tuning = Tuning::open(base, store).await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        tuning.tells(move |config| tell.lock().unwrap().push(config.limits.queue_turns));
        let config = tuning.config();
        let numbers = || {
            let limits = config.get().limits.clone();
            (limits.queue_turns, limits.steps_per_turn, limits.wait_seconds, limits.ring_events)
        };
        assert_eq!(numbers(), (5, 9, 44, 50), "file, stored, environment, file");

        let fresh = "[limits]\nqueue_turns = 15\nsteps_per_turn = 16\nwait_seconds = 17\nring_events = 60\n\
                     [agents.second]\nmodel = \"x\"\n[tools.time]\npolicy = \"ask\"\n";
        write(&data, fresh);
        let reloaded = tuning.reload().await.unwrap();
        assert_eq!(numbers(), (15, 9, 44, 50));
        for key in ["limits.ring_events", "agents.second.model", "tools.time.policy"] {
            assert!(reloaded.restart.contains(&key.to_owned()), "{key} is not named: {reloaded:?}");
        }
        assert_eq!(reloaded.applied, ["limits.queue_turns", "limits.steps_per_turn", "limits.wait_seconds"]);

        // A key that left the file is as the defaults have it.
        write(&data, "");
        tuning.reload().await.unwrap();
        assert_eq!(numbers(), (100, 9, 44, 50));
        assert_eq!(*told.lock().unwrap(), [15, 100]);
    });
}
