//! Every event of `/chat`, in and out, as it stands on the wire.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::domain::alias::{Alias, SessionName};
use crate::domain::command::NewMessage;
use crate::domain::ids::{MessageId, TurnId};
use crate::domain::message::Author;
use crate::domain::principal::{Credential, Role};
use crate::domain::slash::{self, CommandInfo, CommandManifest, Scope};
use crate::doors::DIALECTS;
use crate::doors::socketio::samples::*;

const USAGE: &str = r#"{"provider":"demo","modelId":"demo-1","thinkingLevel":"low","tokens":{"input":10,"output":5,"cacheRead":3,"cacheWrite":2,"total":20},"cost":0.0015,"context":{"percent":25.0,"window":1000}}"#;

fn told(event: Event) -> Vec<String> {
    texts(Chat.event(&numbered(event)).frames())
}

fn one(event: Event) -> String {
    let [one] = told(event).try_into().expect("one frame");
    one
}

/// A frame of the conversation's channel.
fn on_channel(word: &str, fields: &str) -> String {
    format!(r#"42/chat,["{word}",{{"conversationId":"{SESSION}"{fields}}},"e0:7"]"#)
}

fn same(frame: &str, wanted: &str) {
    let value = |text: &str| -> Value { serde_json::from_str(&text["42/chat,".len()..]).expect("JSON") };
    assert!(frame.starts_with("42/chat,["), "{frame}");
    assert_eq!(value(frame), value(wanted));
}

fn asked(event: &str, data: Value) -> Result<Ask, Fault> {
    Chat.decode(event, Some(&raw(data)), 100)
}

fn alias(text: &str) -> SessionName {
    SessionName::Alias(Alias::parse(text).expect("an alias"))
}

fn new(model: Option<&str>) -> NewMessage {
    new_message("hi".into(), model.map(str::to_owned))
}

#[test]
fn its_row_is_where_it_says() {
    assert_eq!((Chat.path(), DIALECTS[usize::from(Namespace::dialect(&Chat).0)].name()), ("/chat", "chat"));
    assert!(!Chat.asks());
    let principal = Principal {
        organization: acme(),
        user: ann(),
        role: Role::Member,
        hub_admin: false,
        permissions: Vec::new(),
        credential: Credential::Operator,
        expires_at: None,
    };
    assert_eq!(Chat.channels(&principal), [Channel::Organization(acme())]);
}

#[test]
fn an_answer_begins_grows_and_ends() {
    assert_eq!(one(started(turn(TurnState::Running))), on_channel("agent:start", ""));
    assert_eq!(one(part(Growing::Text, "a\"")), on_channel("agent:text", r#","text":"a\"""#));
    assert_eq!(one(part(Growing::Thinking, "hm")), on_channel("agent:thinking", r#","text":"hm""#));
    let end = one(ended(turn(TurnState::Completed)));
    same(&end, &on_channel("agent:end", &format!(r#","usage":{USAGE}"#)));
    assert!(end.starts_with(&format!(r#"42/chat,["agent:end",{{"conversationId":"{SESSION}","usage":{{"#)), "{end}");
    let conversation = CONVERSATION;
    let message = said_by(Author::User);
    assert_eq!(told(Event::MessageCreated { conversation, message }), [""; 0], "who sent it is told by itself");
}

#[test]
fn tools_begin_and_end() {
    let of_call = |rest: &str| {
        let id = crate::domain::ids::PartId(5);
        format!(r#","toolCallId":"{id}","toolName":"weather"{rest}"#)
    };
    assert_eq!(one(created(call(ToolCallState::Requested))), on_channel("agent:tool:start", &of_call("")));
    let settled = |state| one(changed(call(state)));
    let end = |error| on_channel("agent:tool:end", &of_call(&format!(r#","isError":{error}"#)));
    assert_eq!(settled(ToolCallState::Succeeded), end(false));
    for state in ToolCallState::ALL.into_iter().filter(|s| s.is_settled() && *s != ToolCallState::Succeeded) {
        assert_eq!(settled(state), end(true), "{state:?}");
    }
    for state in ToolCallState::ALL.into_iter().filter(|s| !s.is_settled()) {
        assert_eq!(told(changed(call(state))), [""; 0], "{state:?}");
    }
}

#[test]
fn a_turns_end_shows_once_as_the_table_says() {
    for state in [TurnState::Completed, TurnState::Stopped, TurnState::Aborted] {
        same(&one(ended(turn(state))), &on_channel("agent:end", &format!(r#","usage":{USAGE}"#)));
    }
    assert_eq!(told(ended(turn(TurnState::Cancelled))), [""; 0], "it never started");
    let failed = Turn { error: Some("the connection broke".into()), ..turn(TurnState::Failed) };
    for (turn, why, code) in [
        (failed, "the connection broke", "failed"),
        (turn(TurnState::Interrupted), "the turn was interrupted", "interrupted"),
    ] {
        let [error, end] = told(ended(turn)).try_into().expect("two frames");
        let text = "The agent failed to process your message. Please try again.";
        let wanted = format!(
            r#"42/chat,["error",{{"conversationId":"{SESSION}","error":"{text}","message":"{why}","code":"{code}"}}]"#
        );
        assert_eq!(error, wanted);
        same(&end, &on_channel("agent:end", &format!(r#","usage":{USAGE}"#)));
    }
    let [error, _] = told(ended(refused())).try_into().expect("two frames");
    assert!(error.contains(r#""error":"the budget daily has no room for this; it renews at 1970-01-01T00:01:00"#));
    assert!(error.contains(r#""code":"rate_limited""#) && error.contains(r#""retryAfter":60"#), "{error}");
}

#[test]
fn without_a_price_it_costs_nothing_and_without_a_word_nobody_knows_how_full_it_is() {
    let unknown = Tally {
        totals: crate::domain::usage::Usage::default(),
        context: ContextUse { tokens: None, window: 1_000 },
        ..(*tally()).clone()
    };
    assert_eq!(usage(&unknown)["cost"], json!(0.0));
    assert_eq!(usage(&unknown)["context"], json!({ "percent": null, "window": 1000 }));
}

#[test]
fn who_answers_is_told_where_it_changes() {
    let shown = r#","provider":"demo","modelId":"demo-1","thinkingLevel":"low","availableThinkingLevels":["off","low"],"agentName":"assistant""#;
    assert_eq!(one(updated(Some(info()), None)), on_channel("session:info", shown));
    let decision =
        r#","routingDecision":{"model":"demo-1","provider":"demo","ruleName":"short","reason":"the message is short"}"#;
    assert_eq!(one(updated(Some(routed()), None)), on_channel("session:info", &format!("{shown}{decision}")));
    assert_eq!(told(updated(None, Some(true))), [""; 0]);
}

#[test]
fn a_reload_is_told_without_a_place() {
    assert_eq!(
        one(Event::SystemReload),
        r#"42/chat,["system:reload",{"message":"the configuration was read once more","at":"1970-01-01T00:00:00.000Z"}]"#
    );
}

#[test]
fn for_the_rest_there_is_no_word() {
    for event in silent() {
        assert_eq!(told(event.clone()), [""; 0], "{event:?}");
    }
}

#[test]
fn a_greeting_is_a_marker_and_a_cut_turn_ends_after_it() {
    let marker =
        format!(r#"{{"greeting":{{"sessionId":"{SESSION}","epoch":"e1","seq":3,"recovered":false,"questions":[]}}}}"#);
    assert_eq!(texts(&Chat.greeting(&greeting(false, None))).concat(), marker);
    assert_eq!(texts(&Chat.restarted(&greeting(false, None))).concat(), marker);
    let cut = texts(&Chat.restarted(&greeting(false, Some(turn(TurnState::Interrupted)))));
    let [first, error, end] = cut.try_into().expect("three frames");
    assert_eq!(first, marker);
    assert!(error.starts_with(&format!(r#"42/chat,["error",{{"conversationId":"{SESSION}","error":"The agent"#)));
    let usage = USAGE.replace(r#"{"percent":25.0,"window":1000}"#, r#"{"percent":null,"window":0}"#);
    same(&end, &format!(r#"42/chat,["agent:end",{{"conversationId":"{SESSION}","usage":{usage}}},"e1:3"]"#));
    assert!(Chat.greeting(&organization()).is_empty());
}

#[test]
fn the_hub_ends_listening_with_an_error() {
    let frame = Chat.ended(&greeting(false, None).channel, &Fault::not_found("session")).expect("a frame");
    assert_eq!(
        texts(&[frame]),
        [format!(r#"42/chat,["error",{{"conversationId":"{SESSION}","error":"no such session","code":"not_found"}}]"#)]
    );
    assert_eq!(Chat.ended(&organization().channel, &Fault::not_found("session")), None);
}

#[test]
fn a_message_goes_where_its_client_says_and_begins_what_nobody_has() {
    let to = |name| Target::Named { name, create: true };
    assert_eq!(
        asked("message", json!({ "conversationId": "3f2b8c1e", "content": "hi" })),
        Ok(Ask::Send { target: to(alias("3f2b8c1e")), before: Vec::new(), message: new(None) })
    );
    let change = SettingsChange { agent: Some("auditor".into()), ..SettingsChange::default() };
    assert_eq!(
        asked(
            "message",
            json!({ "conversationId": SESSION, "content": "hi", "modelId": "demo-2", "agentId": "auditor" })
        ),
        Ok(Ask::Send {
            target: to(CONVERSATION.into()),
            before: vec![SessionCommand::Change(change)],
            message: new(Some("demo-2")),
        })
    );
    let begun = NewSession { agent: Some("auditor".into()), channel: Some("chat".into()), ..NewSession::default() };
    assert_eq!(
        asked("message", json!({ "content": "hi", "agentId": "auditor", "provider": null })),
        Ok(Ask::Send {
            target: Target::Given(Box::new(Command::SessionCreate(begun))),
            before: Vec::new(),
            message: new(None),
        })
    );
}

#[test]
fn a_model_that_comes_with_a_message_yields_to_the_one_that_is_set() {
    assert!(new(Some("demo-2")).yields && !new(None).yields);
}

#[test]
fn thinking_and_abort_are_for_the_conversation_that_is_named() {
    let target = Target::Named { name: alias("mine"), create: false };
    assert_eq!(
        asked("set:thinking", json!({ "conversationId": "mine", "level": "high" })),
        Ok(Ask::Session { target: target.clone(), command: SessionCommand::Think("high".into()) })
    );
    assert_eq!(
        asked("abort", json!({ "conversationId": "mine" })),
        Ok(Ask::Session { target, command: SessionCommand::Stop(None, StopKind::Abort) })
    );
}

#[test]
fn what_is_wrong_is_named() {
    let refusal = |event: &str, data: Value| asked(event, data).expect_err("it is refused").message;
    for (event, data, wanted) in [
        ("message", json!({}), "content: must be there"),
        ("message", json!({ "content": "" }), "content: is empty"),
        ("message", json!({ "content": "x".repeat(101) }), "content: 101 bytes; at most 100 are allowed"),
        ("message", json!({ "content": "hi", "modelId": 1 }), "modelId: invalid type: integer `1`, expected a string"),
        ("message", json!({ "content": "hi", "conversationId": "a b" }), "no such session"),
        ("message", json!([]), "the event's argument is not an object"),
        ("set:thinking", json!({ "conversationId": "mine" }), "level: must be there"),
        ("abort", json!({}), "conversationId: must be there"),
        ("chat", json!({}), "no such event: chat"),
        ("__proto__", json!({}), "no such event: __proto__"),
    ] {
        assert_eq!(refusal(event, data.clone()), wanted, "{event} {data}");
    }
}

#[test]
fn a_sent_message_is_answered_with_who_answers_and_its_acknowledgement_in_that_order() {
    let (message, turn, state) = (MessageId(3), TurnId(2), TurnState::Running);
    let reply = Reply::Sent { message, turn, state, info: Some(info()) };
    assert_eq!(
        texts(&Chat.answered("message", None, Some("mine"), &reply)),
        [
            r#"42/chat,["session:info",{"conversationId":"mine","provider":"demo","modelId":"demo-1","thinkingLevel":"low","availableThinkingLevels":["off","low"],"agentName":"assistant"}]"#.to_owned(),
            format!(r#"42/chat,["message:ack",{{"conversationId":"mine","messageId":"{message}"}}]"#),
        ]
    );
    assert!(!Chat.heard("message", &reply));
}

#[test]
fn a_level_that_was_set_is_heard_by_all_who_watch() {
    let reply = Reply::Info(CONVERSATION, info());
    assert!(Chat.heard("set:thinking", &reply));
    let [frame] = texts(&Chat.answered("set:thinking", None, Some("mine"), &reply)).try_into().expect("one frame");
    assert!(frame.starts_with(r#"42/chat,["session:info",{"conversationId":"mine","#) && frame.ends_with("\"}]"));
}

#[test]
fn what_is_refused_has_its_words() {
    let refused = |event: &str, fault: Fault| {
        let data = raw(json!({ "conversationId": "mine", "level": "hi\"gh" }));
        let frames = texts(&Chat.refused(event, Some(&data), None, &fault));
        frames.iter().map(|frame| text(frame)).collect::<Vec<_>>()
    };
    fn text(frame: &str) -> (String, String) {
        let value: Value = serde_json::from_str(&frame["42/chat,".len()..]).expect("JSON");
        assert_eq!(value[0], "error");
        assert!(frame.starts_with(r#"42/chat,["error",{"conversationId":"mine","error":"#), "{frame}");
        let said = |field: &str| value[1][field].as_str().expect("a text").to_owned();
        (said("error"), said("code"))
    }
    let levels = Fault::new(Code::BadRequest, "level: the model thinks at off, low")
        .with_details(json!({ "field": "level", "available": ["off", "low"] }));
    for (event, fault, wanted) in [
        ("message", Fault::unavailable("disk"), "Failed to start agent session. Please try again."),
        ("message", Fault::internal("oh"), "Failed to start agent session. Please try again."),
        ("message", Fault::plain(Code::Archived), "the conversation is archived"),
        ("message", Fault::field("agent", "no such agent"), "agentId: no such agent"),
        ("message", Fault::forbidden("this session is private"), "this session is private"),
        ("set:thinking", Fault::not_found("session"), "No active session for this conversation."),
        ("set:thinking", levels, r#"Invalid thinking level "hi"gh". Available: off, low"#),
        ("set:thinking", Fault::forbidden("viewers change nothing"), "viewers change nothing"),
        ("abort", Fault::not_found("session"), "No active session to abort."),
        ("abort", Fault::unavailable("disk"), "Failed to abort the agent operation."),
        ("abort", Fault::forbidden("this session is private"), "this session is private"),
    ] {
        let code = fault.code.name().to_owned();
        assert_eq!(refused(event, fault), [(wanted.to_owned(), code)], "{event}");
    }
    assert_eq!(refused("abort", Fault::new(Code::Conflict, "no turn is running")), []);
}

#[test]
fn whoever_connects_is_told_the_commands() {
    assert_eq!(Chat.on_connect(), Some(Command::CommandList));
    let model = CommandInfo {
        name: "model".into(),
        description: "Choose".into(),
        aliases: vec!["m".into()],
        args: Vec::new(),
        scope: Scope::Agent,
    };
    let reply = Reply::Commands(Arc::new(CommandManifest { commands: vec![model], version: 7 }));
    assert_eq!(
        texts(&Chat.answered("connect", None, None, &reply)),
        [
            r#"42/chat,["commands:manifest",{"manifest":{"commands":[{"name":"model","description":"Choose","aliases":["m"],"scope":"agent"}],"version":7}}]"#
        ]
    );
}

#[test]
fn a_command_is_carried_out_and_answered_in_one_form() {
    let target = Target::Named { name: alias("mine"), create: true };
    let command =
        |args: Option<&str>| SessionCommand::Execute { command: "/model".into(), args: args.map(str::to_owned) };
    for (data, args) in [
        (json!({ "conversationId": "mine", "command": "/model", "args": "demo-2" }), Some("demo-2")),
        (json!({ "conversationId": "mine", "command": "/model", "args": null }), None),
    ] {
        assert_eq!(asked("command:execute", data), Ok(Ask::Session { target: target.clone(), command: command(args) }));
    }
    let done = slash::CommandResult {
        command: "model".into(),
        success: true,
        message: "The model is demo-2.".into(),
        data: Some(json!({ "model": "demo-2" })),
    };
    assert_eq!(
        texts(&Chat.answered("command:execute", None, Some("mine"), &Reply::Executed(done))),
        [
            r#"42/chat,["command:result",{"conversationId":"mine","command":"model","success":true,"message":"The model is demo-2.","data":{"model":"demo-2"}}]"#
        ]
    );
    let data = raw(json!({ "conversationId": "mine", "command": "/model" }));
    assert_eq!(
        texts(&Chat.refused("command:execute", Some(&data), Some("mine"), &Fault::forbidden("viewers change nothing"))),
        [
            r#"42/chat,["command:result",{"conversationId":"mine","command":"/model","success":false,"message":"viewers change nothing","data":{"code":"forbidden"}}]"#
        ]
    );
}

#[test]
fn a_provider_goes_with_its_model() {
    let model = |data: Value| match asked("message", data) {
        Ok(Ask::Send { message, .. }) => message.model,
        other => panic!("{other:?}"),
    };
    let both = json!({ "content": "hi", "provider": "openai", "modelId": "gpt-5" });
    assert_eq!(model(both).as_deref(), Some("openai/gpt-5"));
    assert_eq!(model(json!({ "content": "hi", "provider": "openai" })), None);
}
