//! Forgets what has ended, every hour: sessions, links, codes, tickets, answers to requests that are repeated no more, and
//! the old history of conversations.

use std::time::Duration;

use crate::config::Config;
use crate::domain::ids::{Source, SystemSource};
use crate::store::{PruneSettings, Pruned, Store};

/// Soon after the start: a hub that is started more often than every hour would never come to it.
pub const FIRST: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const DAY_MS: i64 = 24 * 3_600_000;

/// How long things are kept: answers to repeated requests for a day, the history of conversations as it is set.
pub fn kept(config: &Config) -> PruneSettings {
    let days = i64::from(config.database.history_days);
    PruneSettings { keys_ms: DAY_MS, facts_ms: (days > 0).then_some(days * DAY_MS) }
}

/// Until it is aborted; the first time after `pause`.
pub async fn hourly(store: Store, kept: PruneSettings, mut pause: Duration) {
    loop {
        actix_rt::time::sleep(pause).await;
        pause = HOUR;
        match store.prune(SystemSource.now(), &kept).await {
            Ok(gone) if gone == Pruned::default() => {}
            Ok(gone) => tracing::info!(?gone, "what had ended is forgotten"),
            Err(fault) => {
                tracing::error!(%fault, "what has ended could not be forgotten; it is tried again in an hour")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};
    use crate::domain::account::{HubSession, Organization, User};
    use crate::domain::ids::{OrganizationId, Timestamp, UserId};
    use crate::domain::principal::Role;
    use crate::store::StoreSettings;

    #[test]
    fn the_history_is_kept_for_ninety_days_or_as_it_is_set() {
        let facts = |days: Option<&str>| {
            let flags = Flags { data: Some("/nowhere/at/all".into()), ..Flags::default() };
            let set = days.map(|days| ("SWITCHBOARD_DATABASE__HISTORY_DAYS".to_owned(), days.to_owned()));
            kept(&load(&flags, set).unwrap().config).facts_ms
        };
        assert_eq!(facts(None), Some(90 * DAY_MS));
        assert_eq!(facts(Some("1")), Some(DAY_MS));
        assert_eq!(facts(Some("0")), None);
    }

    const KEPT: PruneSettings = PruneSettings { keys_ms: DAY_MS, facts_ms: Some(DAY_MS) };

    #[actix_web::test]
    async fn what_ended_is_gone_after_the_first_round_and_what_lasts_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("hub.db").display());
        let store = Store::open(StoreSettings { url, pool: 1, boot: 1 }).unwrap();
        let (organization, user) = (OrganizationId::parse("acme").unwrap(), UserId::parse("ann").unwrap());
        let row =
            Organization { id: organization.clone(), name: "a".into(), created_at: Timestamp(1), disabled_at: None };
        store.put_organization(row).await.unwrap();
        store.put_user(User::new(organization.clone(), user.clone(), Role::Member, Timestamp(1))).await.unwrap();
        let later = SystemSource.now().plus_millis(3_600_000);
        for (hash, created, expires_at) in [(1, 1, Timestamp(2)), (2, 2, later), (3, 3, later)] {
            let (organization, user) = (organization.clone(), user.clone());
            let (hash, created_at) = ([hash; 32], Timestamp(created));
            let session = HubSession { hash, organization, user, created_at, expires_at, revoked_at: None };
            store.put_session(session).await.unwrap();
        }
        let pruning = actix_rt::spawn(hourly(store.clone(), KEPT, Duration::ZERO));
        while store.session_by_hash([1; 32]).await.unwrap().is_some() {
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!pruning.is_finished(), "it comes again");
        pruning.abort();
        for hash in [2, 3] {
            assert!(store.session_by_hash([hash; 32]).await.unwrap().is_some());
        }
    }
}
