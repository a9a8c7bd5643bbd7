//! Nobody spends more than there is, however many ask at the same time, and the books are right after a kill.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::domain::command::Period;
use switchboard::domain::ids::{OrganizationId, Source, SystemSource, UserId};
use switchboard::domain::spending::{Amount, Book, Budget, Limit, Per, Spender};
use tokio::sync::Notify;

use crate::support::mock_http::{MockHttp, Step};
use crate::support::upstream::{answers, begins, next_request, openai, until_end};
use crate::support::{Client, Http, Hub, HubOptions, Identity, run};

/// A dollar a million in and ten out; an answer has 100 tokens at most.
const PRICES: &str = "[openai.model-1]\ninput = 1\noutput = \"10.00\"\nmax_output = 100\n";

/// What a prompt of five letters and nothing else holds: 37 tokens in, 100 out, in millionths of a dollar.
const HELD: u64 = 37 + 10 * 100;
/// What the model's answer says it used: 7 tokens in, 3 out.
const USED: u64 = 7 + 10 * 3;

/// A hub whose agent adds nothing to a prompt, with those budgets.
fn hub(model: &MockHttp, budgets: &str) -> Hub {
    let data = Arc::new(tempfile::tempdir().expect("a folder"));
    let prices = data.path().join("prices.toml");
    std::fs::write(&prices, PRICES).expect("written");
    let agent = "[agents.assistant]\nsystem = \"\"\ntools = []\n";
    let options = openai(model).config(agent).config(budgets).set("SWITCHBOARD_SPENDING__PRICES", prices.display());
    Hub::start_in(data, options)
}

async fn book(hub: &Hub, per: Per, name: &str) -> Book {
    let store = Identity::of(&hub.folder()).0;
    let organization = OrganizationId::parse("acme").expect("a name");
    let spender = Spender {
        organization: organization.clone(),
        user: UserId::parse("alice").expect("a name"),
        agent: "assistant".into(),
        provider: "openai".into(),
        model: "model-1".into(),
    };
    let budget = Budget {
        name: name.into(),
        per,
        only: None,
        organization: None,
        period: Period::Month,
        limit: Limit::default(),
    };
    let account = budget.account(&spender, SystemSource.now()).expect("it counts");
    let book = store.books(&organization, vec![account]).await.expect("read")[0];
    store.close().await;
    book
}

fn amount(tokens: u64, micros: u64) -> Amount {
    Amount { tokens, micros }
}

#[test]
fn case_58_fifty_prompts_race_one_budget_and_never_pass_it() {
    run(async {
        let gates: Vec<_> = (0..50).map(|_| Rc::new(Notify::new())).collect();
        let gated = |gate: &Rc<Notify>| [vec![Step::Wait(gate.clone())], answers("hello")].concat();
        let mut model = MockHttp::start(gates.iter().map(gated)).await;
        let budget = "[budgets.race]\nper = \"organization\"\nperiod = \"month\"\nusd = \"0.01\"\n";
        let hub = hub(&model, budget);
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let (limit, room) = (10_000, 10_000 / HELD);
        let mut sessions = Vec::new();
        for _ in 0..50 {
            sessions.push(alice.session().await);
        }
        let prompts = sessions.iter().map(|session| {
            let (alice, path) = (alice.clone(), format!("/sessions/{session}/messages"));
            tokio::task::spawn_local(async move { alice.post(&path, json!({"content": "hello"})).await })
        });
        let prompts: Vec<_> = prompts.collect();
        for _ in 0..room {
            assert_eq!(next_request(&mut model).await.json()["max_tokens"], 100);
        }
        // All others are refused while these are under way: none of them waits for anything.
        let (mut answered, mut refused) = (Vec::new(), Vec::new());
        while refused.len() < 50 - room as usize {
            refused = prompts.iter().filter(|prompt| prompt.is_finished()).collect();
            tokio::task::yield_now().await;
        }
        assert_eq!(book(&hub, Per::Organization, "race").await.held, amount(room * 137, room * HELD));
        gates.iter().for_each(|gate| gate.notify_one());
        let mut said_so = 0;
        for prompt in prompts {
            let answer = prompt.await.expect("it ends");
            if answer.status == 200 {
                answered.push(answer);
                continue;
            }
            let body = answer.json();
            assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{body}");
            let details = &body["details"];
            assert_eq!(
                (&details["budget"], &details["unit"], &details["limit"]),
                (&json!("race"), &json!("usd"), &json!(0.01))
            );
            assert!(details["renewsAt"].as_str().is_some_and(|at| at.ends_with("-01T00:00:00.000Z")), "{body}");
            // There is room again as soon as one of those under way has ended.
            assert_eq!((answer.header("retry-after"), &details["retryAfter"]), (Some("1"), &json!(1)));
            said_so += 1;
        }
        assert_eq!((answered.len() as u64, said_so), (room, 50 - room));
        assert!(model.try_next().is_none(), "nobody who was refused reached the model");
        let after = book(&hub, Per::Organization, "race").await;
        assert_eq!(after, Book { used: amount(room * 10, room * USED), held: amount(0, 0) });
        assert!(after.used.micros <= limit);
        let usage = alice.ok("GET", "/api/v1/usage?period=day", Value::Null).await;
        assert_eq!(usage["usage"]["cost"], json!((room * USED) as f64 / 1e6), "{usage}");
    });
}

#[test]
fn case_58_after_a_kill_the_books_hold_nothing_and_count_what_was_sent() {
    run(async {
        let mut model = MockHttp::start([answers("one"), begins(""), answers("three")]).await;
        let budget = "[budgets.mine]\nperiod = \"month\"\ntokens = 200\n";
        let hub = hub(&model, budget);
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let path = format!("/sessions/{}/messages", alice.session().await);
        alice.ok("POST", &path, json!({"content": "hello"})).await;
        next_request(&mut model).await;
        assert_eq!(book(&hub, Per::User, "mine").await, Book { used: amount(10, USED), held: amount(0, 0) });
        let begun = format!("/api/v1/sessions/{}/messages", alice.session().await);
        assert_eq!(alice.post(&begun, json!({"content": "hello"})).await.status, 202);
        next_request(&mut model).await;
        assert_eq!(book(&hub, Per::User, "mine").await.held, amount(137, HELD));
        let hub = hub.kill_and_restart();
        // What was sent counts, about; of what was said nobody knows.
        let sent = 2 * 16 + 2;
        let after = Book { used: amount(10 + sent, USED + sent), held: amount(0, 0) };
        assert_eq!(book(&hub, Per::User, "mine").await, after);
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let path = format!("/sessions/{}/messages", alice.session().await);
        alice.ok("POST", &path, json!({"content": "hello"})).await;
        next_request(&mut model).await;
        assert_eq!(book(&hub, Per::User, "mine").await.used, amount(20 + sent, 2 * USED + sent));
        let full = alice.post(&path, json!({"content": "x".repeat(80)})).await;
        assert_eq!((full.status, full.code().as_str()), (429, "rate_limited"));
        assert_eq!(
            (&full.json()["details"]["used"], &full.json()["details"]["unit"]),
            (&json!(20 + sent), &json!("tokens"))
        );
        let wait = full.header("retry-after").and_then(|wait| wait.parse::<u64>().ok()).expect("seconds");
        assert!(wait > 1 && wait <= 31 * 86_400, "{wait}");
        assert_eq!(model.unused(), 0);
    });
}

#[test]
fn a_turn_that_grew_too_dear_ends_with_the_budget_that_refused_it() {
    run(async {
        let model = MockHttp::start([answers("one")]).await;
        let hub = hub(&model, "[budgets.small]\nperiod = \"week\"\ntokens = 400\n");
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        let long = json!({"sessionId": session, "content": "y".repeat(260)});
        let turn = client.call("messages.send", long).await;
        let (ended, _) = until_end(&mut client, turn["turnId"].as_str().expect("an id")).await;
        assert_eq!((&ended["state"], &ended["refusal"]), (&json!("completed"), &Value::Null));
        // By itself it would fit; with what was said before it does not.
        let turn = client.call("messages.send", json!({"sessionId": session, "content": "z"})).await;
        let (ended, _) = until_end(&mut client, turn["turnId"].as_str().expect("an id")).await;
        assert_eq!(ended["state"], "failed");
        let refusal = &ended["refusal"];
        assert_eq!((&refusal["budget"], &refusal["unit"]), (&json!("small"), &json!("tokens")));
        assert_eq!((&refusal["limit"], &refusal["used"]), (&json!(400.0), &json!(10.0)));
        assert!(ended["error"].as_str().is_some_and(|why| why.contains("small") && why.contains("renews")), "{ended}");
        assert!(ended.get("usage").is_none(), "no request was made: {ended}");
        assert_eq!(model.unused(), 0);
        // A text that has no chance is refused at once, and nothing of it is stored.
        let request = json!({"sessionId": session, "content": "w".repeat(300)});
        let refused = client.ask("messages.send", request).await;
        assert_eq!(
            (&refused["error"]["code"], &refused["error"]["details"]["budget"]),
            (&json!("rate_limited"), &json!("small"))
        );
        let stored = client.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(stored["items"].as_array().map(Vec::len), Some(4), "{stored}");
    });
}

#[test]
fn what_is_cut_off_is_not_for_nothing_and_what_failed_is() {
    run(async {
        let refuses = crate::support::mock_http::answer("401 Unauthorized", "", "{}");
        let begun = begins(&crate::support::upstream::says(&"so ".repeat(40)));
        let model = MockHttp::start([refuses, begun]).await;
        let hub = hub(&model, "[budgets.mine]\nperiod = \"month\"\nusd = \"1\"\n");
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        let turn = client.call("messages.send", json!({"sessionId": session, "content": "hello"})).await;
        until_end(&mut client, turn["turnId"].as_str().expect("an id")).await;
        assert_eq!(book(&hub, Per::User, "mine").await, Book::default());
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        client.call("messages.send", json!({"sessionId": session, "content": "hello"})).await;
        client.find(|frame| frame["data"]["delta"].is_string()).await;
        client.call("messages.stop", json!({"sessionId": session})).await;
        // 5 bytes in two frames were sent, 120 bytes were heard; the provider did not come to count them.
        let (sent, heard) = (2 + 2 * 16, 30);
        assert_eq!(book(&hub, Per::User, "mine").await.used, amount(sent + heard, sent + 10 * heard));
        assert_eq!(book(&hub, Per::User, "mine").await.held, amount(0, 0));
    });
}

#[test]
fn a_model_without_a_price_is_refused_where_money_counts() {
    run(async {
        let model = MockHttp::start([answers("one")]).await;
        let hub = hub(&model, "[budgets.dear]\nonly = \"alice\"\nusd = \"1\"\n");
        let [alice, bob] = ["alice", "bob"].map(|user| Http::new(&hub.address, &hub.token(user, "acme", "member")));
        let say = json!({"content": "hello", "model": "cheap-and-unknown"});
        let path = format!("/api/v1/sessions/{}/messages?wait=true", alice.session().await);
        let refused = alice.post(&path, say.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"));
        assert_eq!(refused.json()["error"]["details"]["field"], "model");
        // Whom no budget counts may use it; its cost is unknown, which is not nothing.
        let path = format!("/api/v1/sessions/{}/messages?wait=true", bob.session().await);
        let said = bob.ok("POST", &path, say).await;
        assert_eq!((&said["usage"]["total"], said["usage"].get("cost")), (&json!(10), None));
    });
}

#[test]
fn what_costs_nothing_fits_into_a_budget_of_nothing() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[budgets.free]\nusd = \"0\"\n"));
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        alice.ok("POST", &format!("/sessions/{}/messages", alice.session().await), json!({"content": "hi"})).await;
        assert_eq!(book(&hub, Per::User, "free").await.used.micros, 0);
    });
}
