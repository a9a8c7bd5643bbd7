//! Signing in with a password: one sentence for all that is wrong, and a session for who is right.

use secrecy::ExposeSecret;
use switchboard::auth::password::Passwords;
use switchboard::domain::ids::{OrganizationId, Timestamp, UserId};
use switchboard::domain::principal::Role;
use switchboard::store::{Store, StoreSettings};

use crate::credentials::Edge;
use crate::hub::{Data, Hub};

const PASSWORD: &str = "correct horse + battery";

async fn set(store: &Store, organization: &str, user: &str, password: Option<&str>) {
    let (organization, user) = (OrganizationId::parse(organization).unwrap(), UserId::parse(user).unwrap());
    let phc = match password {
        Some(password) => Some(Passwords::default().hash(password.into()).await.unwrap()),
        None => None,
    };
    store.set_password(&organization, &user, phc, Timestamp(1)).await.unwrap().expect("the user is there");
}

/// A data folder in which ann of the default organization has a password; bob has none.
fn furnished() -> Data {
    let data = Data::new();
    data.token(&["--user", "ann", "--role", "admin"]);
    data.token(&["--user", "bob"]);
    let url = format!("sqlite:{}", data.path().join("hub.db").display());
    actix_web::rt::System::new().block_on(async {
        let store = Store::open(StoreSettings { url, pool: 1, boot: 1 }).unwrap();
        set(&store, "default", "ann", Some(PASSWORD)).await;
        store.close().await;
    });
    data
}

#[test]
fn a_password_signs_a_browser_in_as_a_form_and_as_json() {
    let data = furnished();
    let hub = Hub::start(&data.path(), &[]);
    let page = hub.get("/sign-in", &[("Accept", "text/html")]);
    for name in ["user", "password", "organization"] {
        assert!(page.body().contains(&format!("name=\"{name}\"")), "{}", page.body());
    }
    let own = format!("http://{}", hub.address);
    let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", own.as_str())];
    let done = hub.send("POST", "/sign-in", &form, "user=ann&organization=&password=correct+horse+%2B+battery");
    assert_eq!((done.status(), done.header("location")), (303, Some("/")), "{}", done.0);
    let cookie = done.header("set-cookie").unwrap();
    for word in ["switchboard_session=sbs_", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let me = hub.get("/api/v1/session", &[("Cookie", cookie)]).json();
    assert_eq!([&me["user"], &me["role"], &me["credential"]], ["ann", "admin", "session"]);
    let json = format!("{{\"organization\":\"default\",\"user\":\"ann\",\"password\":\"{PASSWORD}\"}}");
    assert_eq!(hub.send("POST", "/sign-in", &[], &json).status(), 303);
    let foreign = [("Origin", "http://evil.example")];
    assert_eq!(hub.send("POST", "/sign-in", &foreign, &json).error().0, "forbidden");
    let (_, log) = hub.stop();
    assert!(!log.contains("battery"), "no password in a log");
}

#[test]
fn whatever_is_wrong_the_answer_is_the_same() {
    let data = furnished();
    let hub = Hub::start(&data.path(), &[]);
    let mut said = Vec::new();
    for body in [
        "user=ann&password=another+horse+battery",
        "user=ann&password=x",
        "user=nobody&password=correct+horse+%2B+battery",
        "user=bob&password=correct+horse+%2B+battery",
        "user=ann&organization=elsewhere&password=correct+horse+%2B+battery",
        "user=a%0Ab&password=correct+horse+%2B+battery",
        "user=ann&password=correct+horse+%2B+battery%00",
        &format!("user=ann&password={}", "x".repeat(2000)),
    ] {
        let answer = hub.send("POST", "/sign-in", &[], body);
        assert!(answer.header("set-cookie").is_none(), "{body}");
        said.push((answer.status(), answer.error()));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].0, said[0].1.0.as_str()), (401, "unauthorized"));
    let page = hub.send("POST", "/sign-in", &[("Accept", "text/html")], "user=ann&password=x");
    assert!(page.status() == 401 && page.body().contains("name=\"password\""), "{}", page.0);
    for body in ["password=x", "user=ann&password=x&token=y", "user=ann"] {
        assert_eq!(hub.send("POST", "/sign-in", &[], body).error().0, "bad_request", "{body}");
    }
}

#[actix_web::test]
async fn a_disabled_user_does_not_come_in_by_the_right_password() {
    let edge = Edge::new(&[]).await;
    edge.put_user("ann", Role::Member, true).await;
    edge.put_user("bob", Role::Owner, true).await;
    set(&edge.store, "o", "ann", Some(PASSWORD)).await;
    let sign_in = async || edge.auth.sign_in_with_password(Some("o"), "ann", PASSWORD.into()).await;
    let session = sign_in().await.unwrap();
    let ann = edge.auth.token(session.secret.expose_secret(), None).await.unwrap();
    assert_eq!((ann.user.as_str(), ann.organization.as_str(), ann.role), ("ann", "o", Role::Member));
    edge.store.disable_user(&ann.organization, &ann.user, Timestamp(2)).await.unwrap();
    assert_eq!(sign_in().await.err().unwrap().code.name(), "unauthorized");
    edge.store.enable_user(&ann.organization, &ann.user, Timestamp(3)).await.unwrap();
    assert!(sign_in().await.is_ok());
    set(&edge.store, "o", "ann", None).await;
    assert_eq!(sign_in().await.err().unwrap().code.name(), "unauthorized");
}
