//! What belongs to whom, and what 0 means.

use super::*;
use crate::config::{Flags, load};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::principal::{Credential, Role};

fn limits(pairs: &[(&str, u32)]) -> Limits {
    let flags = Flags { data: Some("/nowhere/at/all".into()), ..Flags::default() };
    let pairs = pairs.iter().map(|(key, value)| (format!("SWITCHBOARD_LIMITS__{key}"), value.to_string()));
    Limits::new(&load(&flags, pairs).unwrap().config.limits)
}

fn principal(organization: &str, user: &str) -> Principal {
    Principal {
        organization: OrganizationId::parse(organization).unwrap(),
        user: UserId::parse(user).unwrap(),
        role: Role::Member,
        hub_admin: false,
        permissions: Vec::new(),
        credential: Credential::Jwt { id: None, issued_at: None },
        expires_at: None,
    }
}

fn taken(mut take: impl FnMut() -> Decision) -> usize {
    (0..10_000).take_while(|_| matches!(take(), Decision::Allowed { .. })).count()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let (limits, now, ann) = (limits(&[]), Instant::now(), principal("acme", "ann"));
    assert_eq!(taken(|| limits.message_at(&ann, Via::Rest, now)), 10);
    assert_eq!(taken(|| limits.message_at(&ann, Via::Socket, now)), 30);
    assert_eq!(taken(|| limits.request(&ann, now)), 600);
    // Messages over REST come back one in six seconds, over sockets one a second.
    let later = now + Duration::from_secs(6);
    assert_eq!(taken(|| limits.message_at(&ann, Via::Rest, later)), 1);
    assert_eq!(taken(|| limits.message_at(&ann, Via::Socket, later)), 6);
    assert!(limits.frames.is_on());
}

#[test]
fn budgets_are_the_user_s_and_nobody_else_s() {
    let (limits, now) = (limits(&[("MESSAGES_PER_MINUTE", 3)]), Instant::now());
    let mut phone = principal("acme", "ann");
    assert_eq!(taken(|| limits.message_at(&phone, Via::Rest, now)), 3);
    // Another credential, another role: the same user.
    (phone.credential, phone.role) = (Credential::ApiKey { id: "key_1".into() }, Role::Owner);
    assert_eq!(taken(|| limits.message_at(&phone, Via::Rest, now)), 0);
    assert_eq!(taken(|| limits.message_at(&principal("other", "ann"), Via::Rest, now)), 3);
    assert_eq!(taken(|| limits.message_at(&principal("acme", "bob"), Via::Rest, now)), 3);
}

#[test]
fn case_54_an_ipv6_prefix_and_a_mapped_address_are_one_stranger() {
    let (limits, now) = (limits(&[("STRANGERS_PER_MINUTE", 5)]), Instant::now());
    let take = |address: &str| {
        let address = address.parse().unwrap();
        taken(|| limits.stranger(Stranger::Request, address, now))
    };
    assert_eq!(take("2001:db8:1:2::1"), 5);
    for n in 0..1000u128 {
        let rotated = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_0001_0002 << 64) | (n << 20 | 7)));
        assert_eq!(taken(|| limits.stranger(Stranger::Request, rotated, now)), 0, "{rotated}");
    }
    assert_eq!(take("2001:db8:1:3::1"), 5);
    assert_eq!(take("192.0.2.1"), 5);
    assert_eq!(take("::ffff:192.0.2.1"), 0);
    // This machine is a stranger like any other.
    assert_eq!((take("127.0.0.1"), take("::1")), (5, 5));
    assert_eq!((take("127.0.0.1"), take("::1")), (0, 0));
}

#[test]
fn a_stranger_s_budgets_are_apart() {
    let (limits, now) = (limits(&[("SIGN_INS_PER_MINUTE", 2), ("REFUSED_PER_MINUTE", 4)]), Instant::now());
    let address = "192.0.2.1".parse().unwrap();
    let take = |what| taken(|| limits.stranger(what, address, now));
    assert_eq!([Stranger::SignIn, Stranger::Refused, Stranger::Request].map(take), [2, 4, 120]);
    assert_eq!(take(Stranger::Plain), 2400);
    assert!(matches!(limits.look(Stranger::Refused, address, now), Decision::Refused { .. }));
    assert!(matches!(limits.look(Stranger::Refused, "192.0.2.2".parse().unwrap(), now), Decision::Allowed { .. }));
}

#[test]
fn nought_switches_off() {
    let off = [
        "MESSAGES_PER_MINUTE",
        "SOCKET_MESSAGES_PER_MINUTE",
        "REQUESTS_PER_MINUTE",
        "STRANGERS_PER_MINUTE",
        "SIGN_INS_PER_MINUTE",
        "REFUSED_PER_MINUTE",
        "CONNECTIONS_PER_USER",
        "FRAMES_PER_SECOND",
    ];
    let (limits, now, ann) = (limits(&off.map(|key| (key, 0))), Instant::now(), principal("acme", "ann"));
    let address = "192.0.2.1".parse().unwrap();
    for decision in [
        limits.message_at(&ann, Via::Rest, now),
        limits.message_at(&ann, Via::Socket, now),
        limits.request(&ann, now),
        limits.stranger(Stranger::Request, address, now),
        limits.stranger(Stranger::Plain, address, now),
        limits.stranger(Stranger::SignIn, address, now),
        limits.stranger(Stranger::Refused, address, now),
    ] {
        assert_eq!(decision, Decision::Off);
    }
    assert!(limits.connect(&ann, now).unwrap().is_none());
    assert!(!limits.frames.is_on());
}

#[test]
fn case_55_a_user_has_so_many_sockets_and_gets_a_place_back() {
    let (limits, now) = (limits(&[("CONNECTIONS_PER_USER", 3)]), Instant::now());
    let (ann, bob) = (principal("acme", "ann"), principal("acme", "bob"));
    let connect = |who: &Principal| limits.connect(who, now).map(|place| place.expect("it is counted"));
    let mut places: Vec<Place> = (0..3).map(|_| connect(&ann).unwrap()).collect();
    let fault = connect(&ann).err().expect("one too many");
    assert_eq!(fault.code, Code::RateLimited);
    assert_eq!(fault.details, Some(serde_json::json!({"limit": 3, "retryAfter": 5})));
    let others = [connect(&bob).unwrap(), connect(&principal("other", "ann")).unwrap()];
    places.pop();
    places.push(connect(&ann).unwrap());
    assert!(connect(&ann).is_err());
    drop((places, others));
    assert!(limits.places.is_empty(), "who has no socket has no row");
}

#[test]
fn case_55_sockets_that_come_and_go_have_a_pace_too() {
    let (limits, now) = (limits(&[("CONNECTIONS_PER_USER", 5), ("REQUESTS_PER_MINUTE", 60)]), Instant::now());
    let ann = principal("acme", "ann");
    let opened = |now| (0..1000).take_while(|_| limits.connect(&ann, now).is_ok()).count();
    assert_eq!(opened(now), 60);
    assert_eq!(opened(now + Duration::from_secs(7)), 7);
    // Requests have a budget of their own.
    assert_eq!(taken(|| limits.request(&ann, now)), 60);
}

#[test]
fn many_threads_never_have_more_places_than_there_are() {
    let places = Places::new(50);
    let most = std::sync::atomic::AtomicUsize::new(0);
    let open = std::sync::atomic::AtomicUsize::new(0);
    let ann = principal("acme", "ann");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let held: Vec<Place> = (0..20).filter_map(|_| places.take(&ann).ok().flatten()).collect();
                    let now = open.fetch_add(held.len(), std::sync::atomic::Ordering::SeqCst) + held.len();
                    most.fetch_max(now, std::sync::atomic::Ordering::SeqCst);
                    open.fetch_sub(held.len(), std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
    });
    assert!(most.into_inner() <= 50);
    assert!(places.is_empty());
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let (limits, ann) = (limits(&[("MESSAGES_PER_MINUTE", 1)]), principal("acme", "ann"));
    assert!(limits.message(&ann, Via::Rest).is_ok());
    let fault = limits.message(&ann, Via::Rest).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (Code::RateLimited, "too many messages: try again in 60 s"));
    assert_eq!(fault.details, Some(serde_json::json!({"retryAfter": 60, "limit": 1})));
    assert_eq!(whole_seconds(Duration::ZERO), 1);
    assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
}
