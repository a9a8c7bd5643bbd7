//! Settings that were changed while the hub ran: one document, and nobody's change is lost unseen.

use serde_json::json;
use switchboard::domain::ids::*;
use switchboard::store::{CommitFault, Store};

use crate::ground::*;

on_both!(the_newest_document_is_found_by_its_number, who_changes_an_old_document_is_refused);

async fn the_newest_document_is_found_by_its_number(ground: Ground) {
    let store = ground.open();
    assert_eq!(store.hub_settings_after(0).await, Ok(None));
    let (one, two) = (json!({"log.level": "debug", "odd": "\"'é"}), json!({"server.origins": ["https://a.example"]}));
    assert_eq!(store.put_hub_settings(0, &one, Timestamp(1)).await, Ok(1));
    assert_eq!(store.hub_settings_after(0).await, Ok(Some((1, one))));
    assert_eq!(store.put_hub_settings(1, &two, Timestamp(2)).await, Ok(2));
    drop(store);
    let store = ground.open();
    assert_eq!(store.hub_settings_after(1).await, Ok(Some((2, two))));
    assert_eq!(store.hub_settings_after(2).await, Ok(None));
    assert_eq!(ground.count("hub_settings").await, 1, "what is replaced is gone");
}

async fn who_changes_an_old_document_is_refused(ground: Ground) {
    let store = ground.open();
    let guest = Store::open_shared(ground.settings()).expect("a guest");
    assert_eq!(store.put_hub_settings(0, &json!({"a": 1}), Timestamp(1)).await, Ok(1));
    for old in [0, 2] {
        let refused = guest.put_hub_settings(old, &json!({"a": 2}), Timestamp(2)).await;
        assert!(matches!(refused, Err(CommitFault::Conflict(_))), "{refused:?}");
    }
    let (three, four) = (json!({"a": 3}), json!({"a": 4}));
    let both =
        tokio::join!(store.put_hub_settings(1, &three, Timestamp(3)), guest.put_hub_settings(1, &four, Timestamp(3)),);
    assert!(
        matches!(both, (Ok(2), Err(CommitFault::Conflict(_))) | (Err(CommitFault::Conflict(_)), Ok(2))),
        "{both:?}"
    );
}
