//! Endpoints from configuration: what is sent, what is shown of it, and where nothing is sent.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use secrecy::SecretString;
use serde_json::{Value, json};
use switchboard::providers::http::tls;
use switchboard::tools::Tool;
use switchboard::tools::http_call::{BodyKind, CallAnswer, CallFault, CallSettings, HttpCall};
use switchboard::tools::http_fetch::Resolver;
use switchboard::tools::http_tool::{HttpTool, HttpToolSettings};

use crate::context;
use crate::mock_http::{MockHttp, Request, Seen, Step, answer};

const JSON: &str = "content-type: application/json\r\n";

fn secret(name: &str) -> Option<SecretString> {
    (name == "TICKET_KEY").then(|| "very-secret-key".into())
}

fn settings(method: &str, url: String, private: &[String]) -> CallSettings {
    CallSettings {
        method: method.into(),
        url,
        allow_private: private.to_vec(),
        time_limit: Duration::from_secs(10),
        max_bytes: 1000,
        ..CallSettings::default()
    }
}

fn call(settings: &CallSettings) -> HttpCall {
    HttpCall::new("actions.x.execute", settings, &secret, tls(&[]).expect("TLS")).expect("the settings are in order")
}

/// The next request, passing over connections that ended.
async fn next(server: &mut MockHttp) -> Request {
    loop {
        if let Seen::Request(_, request) = server.next().await {
            return request;
        }
    }
}

async fn send(call: &HttpCall, scope: &Value) -> Result<CallAnswer, CallFault> {
    call.send(call.request(scope).expect("a request"), &[("x-request-id", "req-1".into())]).await
}

#[actix_rt::test]
async fn what_is_configured_is_what_is_sent_and_no_secret_is_shown() {
    let said = r#"{"ok":true,"echo":"Bearer very-secret-key"}"#;
    let mut server = MockHttp::start([answer("200 OK", JSON, said)]).await;
    let call = call(&CallSettings {
        headers: vec!["Authorization: Bearer {{env.TICKET_KEY}}".into(), "x-user: {{user}}".into()],
        body: r#"{"why":{{input.why}},"note":"by {{user}}"}"#.into(),
        ..settings("POST", server.url("/t/{{entity.id}}?k={{env.TICKET_KEY}}"), &[server.address.to_string()])
    });
    let scope = json!({"input": {"why": "a \"b\""}, "entity": {"type": "t", "id": "7/8"}, "user": "ann"});
    let shown = call.shown(&scope).expect("shown");
    assert_eq!(shown["body"], json!({"why": "a \"b\"", "note": "by ann"}));
    assert!(shown["url"].as_str().is_some_and(|url| url.contains("/t/7%2F8?k=")), "{shown}");
    assert!(!shown.to_string().contains("very-secret"), "{shown}");
    let answer = send(&call, &scope).await.expect("an answer");
    assert_eq!((answer.status, &answer.body), (200, &json!({"ok": true, "echo": "Bearer ***"})));
    let request = next(&mut server).await;
    assert_eq!(request.line, "POST /t/7%2F8?k=very-secret-key HTTP/1.1");
    assert_eq!(request.json(), json!({"why": "a \"b\"", "note": "by ann"}));
    for (name, value) in [
        ("authorization", "Bearer very-secret-key"),
        ("x-user", "ann"),
        ("x-request-id", "req-1"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
}

#[actix_rt::test]
async fn a_form_is_a_form() {
    let mut server = MockHttp::start([answer("204 No Content", "", "")]).await;
    let call = call(&CallSettings {
        body: "a={{input.a}}&b=2".into(),
        body_kind: BodyKind::Form,
        ..settings("PUT", server.url("/"), &[server.address.to_string()])
    });
    let answer = send(&call, &json!({"input": {"a": "1&b=3 +"}})).await.expect("an answer");
    assert_eq!((answer.status, answer.body), (204, Value::Null));
    let request = next(&mut server).await;
    assert_eq!(String::from_utf8(request.body.clone()).as_deref(), Ok("a=1%26b%3D3%20%2B&b=2"));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[actix_rt::test]
async fn redirects_are_answers_and_private_addresses_are_not_asked() {
    struct Inside;
    impl Resolver for Inside {
        fn resolve(&self, _: &str, port: u16) -> LocalBoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
            async move { Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]) }.boxed_local()
        }
    }
    let away = "location: http://169.254.169.254/latest\r\n";
    let server = MockHttp::start([answer("302 Found", away, "gone")]).await;
    let followed = call(&settings("GET", server.url("/"), &[server.address.to_string()]));
    assert_eq!(send(&followed, &json!({})).await.map(|answer| answer.status), Ok(302));
    assert_eq!(server.connections(), 1);
    // Not listed: an address as such, and a name that leads to one.
    let hidden = call(&settings("POST", server.url("/"), &[]));
    let refused = send(&hidden, &json!({})).await;
    assert!(matches!(&refused, Err(CallFault::NotSent(why)) if why.contains("private")), "{refused:?}");
    let named = settings("POST", "http://inside.example/x".into(), &[]);
    let named = HttpCall::with_resolver("a", &named, &secret, tls(&[]).expect("TLS"), Rc::new(Inside));
    let refused = send(&named.expect("in order"), &json!({})).await;
    assert!(matches!(&refused, Err(CallFault::NotSent(why)) if why.contains("private")), "{refused:?}");
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn what_was_not_sent_is_told_from_what_was_not_answered() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = listener.local_addr().expect("its address");
    drop(listener);
    let nobody = call(&settings("POST", format!("http://{closed}/"), &[closed.to_string()]));
    assert!(matches!(send(&nobody, &json!({})).await, Err(CallFault::NotSent(_))));
    let server = MockHttp::start([vec![Step::Close], vec![Step::Hang]]).await;
    let broken = call(&settings("POST", server.url("/"), &[server.address.to_string()]));
    assert!(matches!(send(&broken, &json!({})).await, Err(CallFault::Unanswered(_))));
    let slow = settings("POST", server.url("/"), &[server.address.to_string()]);
    let slow = call(&CallSettings { time_limit: Duration::from_millis(200), ..slow });
    assert!(matches!(send(&slow, &json!({})).await, Err(CallFault::Unanswered(_))));
}

#[actix_rt::test]
async fn a_long_answer_is_cut_off_and_says_so() {
    let long = "x".repeat(5000);
    let server = MockHttp::start([answer("200 OK", "content-type: text/plain\r\n", &long)]).await;
    let call = call(&settings("GET", server.url("/"), &[server.address.to_string()]));
    let answer = send(&call, &json!({})).await.expect("an answer");
    let text = answer.body.as_str().expect("a text");
    assert!(text.starts_with(&"x".repeat(1000)) && text.ends_with("[cut off after 1000 bytes]") && text.len() < 1100);
}

#[test]
fn settings_that_cannot_be_are_refused_by_their_names() {
    let good = settings("POST", "http://h.example/".into(), &[]);
    let refused = |settings: CallSettings| {
        let made = HttpCall::new("actions.x.execute", &settings, &secret, tls(&[]).expect("TLS"));
        made.err().map(|fault| fault.message).unwrap_or_default()
    };
    assert_eq!(refused(good.clone()), "");
    for (settings, field) in [
        (CallSettings { method: "CONNECT".into(), ..good.clone() }, "method"),
        (CallSettings { url: "http://h.example".into(), ..good.clone() }, "url"),
        (CallSettings { headers: vec!["no colon".into()], ..good.clone() }, "headers"),
        (CallSettings { headers: vec!["authorization: Bearer abc".into()], ..good.clone() }, "headers"),
        (CallSettings { headers: vec!["host: other".into()], ..good.clone() }, "headers"),
        (CallSettings { headers: vec!["x: {{env.MISSING}}".into()], ..good.clone() }, "headers"),
        (CallSettings { body: "{\"a\":".into(), ..good.clone() }, "body"),
        (CallSettings { body: "{\"a\":{{secret}}}".into(), ..good.clone() }, "body"),
        (CallSettings { allow_private: vec!["*.example:80".into()], ..good.clone() }, "allow_private"),
    ] {
        let why = refused(settings);
        assert!(why.starts_with(&format!("actions.x.execute.{field}: ")), "{field}: {why:?}");
    }
}

#[actix_rt::test]
async fn a_tool_from_configuration_checks_its_input_and_calls() {
    let mut server = MockHttp::start([answer("200 OK", JSON, r#"{"sky":"blue"}"#), answer("500 No", JSON, "{}")]).await;
    let tool = HttpTool::new(
        &HttpToolSettings {
            name: "weather".into(),
            description: "Tells the weather.".into(),
            input_schema: r#"{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}"#.into(),
            request: settings("GET", server.url("/w/{{input.city}}"), &[server.address.to_string()]),
        },
        &secret,
        tls(&[]).expect("TLS"),
    );
    let tool = tool.expect("in order");
    assert!(tool.concurrent() && tool.spec().name == "weather");
    assert!(tool.check(&json!({"city": 7})).is_err_and(|why| why.starts_with("input.city: ")));
    assert!(tool.check(&json!({"city": ".."})).is_err());
    assert_eq!(tool.check(&json!({"city": "Oslo"})), Ok(()));
    assert_eq!(tool.summary(&json!({"city": "a/b"})), format!("weather: GET {}", server.url("/w/a%2Fb")));
    let sunny = tool.run(json!({"city": "Oslo"}), context()).await;
    assert_eq!((sunny.output.as_str(), sunny.is_error), ("HTTP 200\n\n{\"sky\":\"blue\"}", false));
    assert_eq!(next(&mut server).await.line, "GET /w/Oslo HTTP/1.1");
    assert!(tool.run(json!({"city": "Oslo"}), context()).await.is_error);
    next(&mut server).await;
    // Nothing is sent for what its schema refuses.
    assert!(tool.run(json!({}), context()).await.is_error);
    assert_eq!(server.connections(), 2);
}
