//! The table, `time` and `todo_write`.

use std::rc::Rc;

use serde_json::{Value, json};
use switchboard::domain::settings::{Todo, TodoState};
use switchboard::domain::tool_call::ToolPolicy;
use switchboard::providers::http::tls;
use switchboard::tools::time::Time;
use switchboard::tools::todo_write::TodoWrite;
use switchboard::tools::{Tool, ToolSettings, Tools};

use futures_util::StreamExt;
use switchboard::domain::generation::*;
use switchboard::providers::{DemoSettings, ProviderSettings, Providers};

use crate::context;

#[test]
fn every_row_of_the_table_builds_the_tool_it_names() {
    let settings = ToolSettings { http_fetch: Default::default(), tls: tls(&[]).expect("TLS") };
    let mut tools = Tools::build(&settings).expect("they can be built");
    let policies: Vec<_> =
        tools.iter().map(|(name, tool)| (name.to_owned(), tool.default_policy(), tool.concurrent())).collect();
    assert_eq!(
        policies,
        [
            ("time".to_owned(), ToolPolicy::Allow, true),
            ("todo_write".to_owned(), ToolPolicy::Allow, false),
            ("http_fetch".to_owned(), ToolPolicy::Ask, true),
        ]
    );
    for (row, (name, tool)) in switchboard::tools::TABLE.iter().zip(tools.iter()) {
        let spec = tool.spec();
        assert_eq!((row.0, spec.name.as_str()), (name, name));
        assert!(!spec.description.is_empty() && spec.input_schema["additionalProperties"] == json!(false));
        for nonsense in [json!(null), json!([]), json!("x"), json!({ "stray": 1 })] {
            let why = tool.check(&nonsense).expect_err("nonsense is refused");
            assert!(!tool.summary(&nonsense).is_empty() && !why.is_empty());
            tool.risks(&nonsense);
        }
    }
    assert!(tools.add(Rc::new(Time)).is_err(), "a name is taken once");
}

async fn time(input: Value) -> (String, bool) {
    let outcome = Time.run(input, context()).await;
    (outcome.output, outcome.is_error)
}

#[actix_rt::test]
async fn time_is_told_in_utc_or_at_an_offset() {
    assert_eq!(time(json!({})).await, ("2001-09-09T01:46:40Z, Sunday".into(), false));
    assert_eq!(time(json!({ "offset": "-05:30" })).await, ("2001-09-08T20:16:40-05:30, Saturday".into(), false));
    for bad in
        [json!("2"), json!("+2:00"), json!("+99:00"), json!("+0200"), json!("UTC"), json!("+02:0\u{fc}"), json!(7)]
    {
        let (why, is_error) = time(json!({ "offset": bad })).await;
        assert!(is_error && why.starts_with("offset: "), "{bad}: {why}");
    }
}

#[actix_rt::test]
async fn todos_are_replaced_as_a_whole() {
    let input = json!({ "todos": [
        { "content": " read ", "status": "completed" },
        { "id": "x", "content": "write", "status": "in_progress" },
    ] });
    TodoWrite.check(&input).expect("it is as the schema wants it");
    let outcome = TodoWrite.run(input, context()).await;
    let todo = |id: &str, content: &str, state| Todo { id: id.into(), content: content.into(), state };
    let expected = [todo("1", "read", TodoState::Completed), todo("x", "write", TodoState::InProgress)];
    assert_eq!(outcome.todos.as_deref(), Some(&expected[..]));
    assert_eq!(outcome.output, "the list has 2 todos: 0 pending, 1 in_progress, 1 completed, 0 cancelled");
    let emptied = TodoWrite.run(json!({ "todos": [] }), context()).await;
    assert_eq!(emptied.todos, Some(Vec::new()));
}

#[actix_rt::test]
async fn a_wrong_list_changes_nothing_and_names_the_field() {
    let todo = json!({ "content": "x", "status": "pending" });
    let with = |field: &str, value: Value| {
        let mut entry = todo.clone();
        entry[field] = value;
        json!({ "todos": [todo.clone(), entry] })
    };
    for (input, begins) in [
        (json!({}), "todos: is required"),
        (json!({ "todos": {} }), "todos: a list"),
        (json!({ "todos": [1] }), "todos[0]: an object"),
        (json!({ "todos": vec![todo.clone(); 101] }), "todos: at most 100 entries, not 101"),
        (with("content", json!(" ")), "todos[1].content: must not be empty"),
        (with("content", json!("x".repeat(501))), "todos[1].content: at most 500"),
        (with("content", Value::Null), "todos[1].content: is required"),
        (with("status", json!("done")), "todos[1].status: expected is one of pending, in_progress"),
        (with("id", json!("1")), "todos[1].id: 1 is there twice"),
        (with("id", json!(2)), "todos[1].id: a text"),
        (with("due", json!("now")), "todos[1].due: no such field"),
    ] {
        let why = TodoWrite.check(&input).expect_err("it is wrong");
        assert!(why.starts_with(begins), "{why}");
        let outcome = TodoWrite.run(input, context()).await;
        assert_eq!((outcome.output, outcome.is_error, outcome.todos), (why, true, None));
    }
}

#[actix_rt::test]
async fn what_the_demo_provider_calls_is_what_the_tools_take() {
    let settings = ToolSettings { http_fetch: Default::default(), tls: tls(&[]).expect("TLS") };
    let tools = Tools::build(&settings).expect("they can be built");
    let demo = ProviderSettings::Demo(DemoSettings { interval: std::time::Duration::ZERO });
    let demo = Providers::build(&[("demo".to_owned(), demo)]).expect("it can be built").default_provider();
    let prompt = Prompt {
        model: "demo".into(),
        system: None,
        messages: vec![PromptMessage::User(vec![UserContent::Text("time, todo, fetch http://example.org/".into())])],
        tools: tools.iter().map(|(_, tool)| tool.spec()).collect(),
        thinking: ThinkingLevel::Off,
        max_tokens: None,
        temperature: None,
        request_id: "req-1".into(),
    };
    let mut called = Vec::new();
    let mut stream = demo.stream(prompt).await.expect("it starts");
    while let Some(event) = stream.next().await {
        if let Ok(StreamEvent::ToolCall { name, input, .. }) = event {
            assert_eq!(tools.get(&name).expect("it is there").check(&input), Ok(()));
            called.push(name);
        }
    }
    assert_eq!(called, ["time", "todo_write", "http_fetch"]);
}
