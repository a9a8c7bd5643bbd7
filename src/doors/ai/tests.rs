//! Every event of `/ai`, in and out, as it stands on the wire.

use serde_json::{Value, json};

use super::*;
use crate::domain::action::{ActionAnswer, ActionPreview, ActionWish};
use crate::domain::channel::Channel;
use crate::domain::ids::TurnId;
use crate::domain::skill::SkillResult;
use crate::domain::tool_call::ToolCallState;
use crate::domain::turn::Turn;
use crate::domain::usage::Usage;
use crate::doors::DIALECTS;
use crate::doors::socketio::samples::*;
use crate::error::Code;

fn told(event: Event) -> Vec<String> {
    texts(Ai.event(&numbered(event)).frames())
}

fn one(event: Event) -> String {
    let [one] = told(event).try_into().expect("one frame");
    one
}

fn asked(event: &str, data: Value) -> Result<Ask, Fault> {
    Ai.decode(event, Some(&raw(data)), 100)
}

fn refusal(event: &str, data: Value) -> (Code, String) {
    let fault = asked(event, data).expect_err("it is refused");
    (fault.code, fault.message)
}

fn about(entity: Option<(&str, &str)>, agent: Option<&str>) -> Target {
    let entity = entity.map(|(kind, id)| Entity { kind: kind.into(), id: id.into() });
    Target::Given(Box::new(Command::SessionOfEntity { entity, agent: agent.map(str::to_owned) }))
}

fn sent(target: Target) -> Result<Ask, Fault> {
    Ok(Ask::Send { target, before: Vec::new(), message: new_message("hi".into(), None) })
}

#[test]
fn its_row_is_where_it_says() {
    assert_eq!((Ai.path(), DIALECTS[usize::from(Namespace::dialect(&Ai).0)].name()), ("/ai", "ai"));
    assert_eq!(Ai.on_connect(), None);
    assert!(!Ai.asks());
}

#[test]
fn an_accepted_message_starts_once_and_a_repeated_one_when_its_turn_does() {
    let conversation = CONVERSATION;
    let start = format!(r#"42/ai,["message_start",{{"conversationId":"{SESSION}"}},"e0:7"]"#);
    let message = said_by(Author::User);
    assert_eq!(one(Event::MessageCreated { conversation, message }), start);
    assert_eq!(told(started(turn(TurnState::Running))), [""; 0]);
    assert_eq!(one(started(Turn { retry_of: Some(TurnId(1)), ..turn(TurnState::Running) })), start);
}

#[test]
fn text_and_tools_are_told_and_thinking_is_not() {
    assert_eq!(
        one(part(Growing::Text, "a \"b\"\nc")),
        format!(r#"42/ai,["text_delta",{{"conversationId":"{SESSION}","text":"a \"b\"\nc"}},"e0:7"]"#)
    );
    assert_eq!(told(part(Growing::Thinking, "hm")), [""; 0]);
    assert_eq!(
        one(created(call(ToolCallState::Requested))),
        format!(
            r#"42/ai,["tool_use",{{"conversationId":"{SESSION}","toolName":"weather","input":{{"city":"Köln"}}}},"e0:7"]"#
        )
    );
    assert_eq!(told(changed(call(ToolCallState::Succeeded))), [""; 0]);
}

#[test]
fn merged_text_stands_at_its_last_place() {
    let merged = Numbered { seq: 12, from_seq: 7, ..numbered(part(Growing::Text, "abc")) };
    let frames = texts(Ai.event(&merged).frames());
    assert_eq!(frames, [format!(r#"42/ai,["text_delta",{{"conversationId":"{SESSION}","text":"abc"}},"e0:12"]"#)]);
}

#[test]
fn a_turns_end_shows_once_as_the_table_says() {
    let complete = format!(r#"42/ai,["message_complete",{{"conversationId":"{SESSION}"}},"e0:7"]"#);
    let stopped = format!(r#"42/ai,["stopped",{{"conversationId":"{SESSION}"}},"e0:7"]"#);
    assert_eq!(one(ended(turn(TurnState::Completed))), complete);
    assert_eq!(one(ended(turn(TurnState::Stopped))), stopped);
    assert_eq!(one(ended(turn(TurnState::Aborted))), stopped);
    assert_eq!(told(ended(turn(TurnState::Cancelled))), [""; 0], "it never started");
    let failed = Turn { error: Some("the connection broke".into()), ..turn(TurnState::Failed) };
    let error =
        format!(r#"42/ai,["error",{{"conversationId":"{SESSION}","message":"the connection broke","code":"failed"}}]"#);
    assert_eq!(told(ended(failed)), [error, complete.clone()]);
    let error = format!(
        r#"42/ai,["error",{{"conversationId":"{SESSION}","message":"the turn was interrupted","code":"interrupted"}}]"#
    );
    assert_eq!(told(ended(turn(TurnState::Interrupted))), [error, complete.clone()]);
    let [error, end] = told(ended(refused())).try_into().expect("two frames");
    assert!(error.contains("it renews at 1970-01-01T00:01:00") && error.contains(r#""retryAfter":60"#), "{error}");
    assert_eq!(end, complete);
}

#[test]
fn pausing_and_resuming_is_told_to_all() {
    assert_eq!(
        one(updated(None, Some(true))),
        format!(r#"42/ai,["conversation_paused",{{"conversationId":"{SESSION}"}},"e0:7"]"#)
    );
    assert_eq!(
        one(updated(None, Some(false))),
        format!(r#"42/ai,["conversation_resumed",{{"conversationId":"{SESSION}"}},"e0:7"]"#)
    );
    assert_eq!(told(updated(Some(info()), None)), [""; 0], "who answers is not told here");
}

#[test]
fn for_the_rest_there_is_no_word() {
    for event in silent() {
        assert_eq!(told(event.clone()), [""; 0], "{event:?}");
    }
    assert_eq!(told(Event::SystemReload), [""; 0]);
}

#[test]
fn a_greeting_is_a_marker_and_a_cut_turn_ends_after_it() {
    let marker = |recovered| {
        let place = r#""epoch":"e1","seq":3"#;
        format!(r#"{{"greeting":{{"sessionId":"{SESSION}",{place},"recovered":{recovered},"questions":[]}}}}"#)
    };
    assert_eq!(texts(&Ai.greeting(&greeting(true, None))), [marker(true)]);
    assert_eq!(texts(&Ai.restarted(&greeting(false, Some(turn(TurnState::Completed))))), [marker(false)]);
    let cut = texts(&Ai.restarted(&greeting(false, Some(turn(TurnState::Interrupted)))));
    assert_eq!(
        cut,
        [
            marker(false),
            format!(
                r#"42/ai,["error",{{"conversationId":"{SESSION}","message":"the turn was interrupted","code":"interrupted"}}]"#
            ),
            format!(r#"42/ai,["message_complete",{{"conversationId":"{SESSION}"}},"e1:3"]"#),
        ]
    );
    assert!(Ai.greeting(&organization()).is_empty());
}

#[test]
fn the_hub_ends_listening_with_an_error() {
    let channel = greeting(false, None).channel;
    let frame = Ai.ended(&channel, &Fault::forbidden("this session is private")).expect("a frame");
    assert_eq!(
        texts(&[frame]),
        [format!(
            r#"42/ai,["error",{{"conversationId":"{SESSION}","message":"this session is private","code":"forbidden"}}]"#
        )]
    );
    let organization = ChannelKey::new(acme(), &Channel::Organization(acme()));
    assert_eq!(Ai.ended(&organization, &Fault::plain(Code::Forbidden)), None);
}

#[test]
fn chat_goes_to_the_conversation_about_the_entity() {
    assert_eq!(asked("chat", json!({ "message": "hi" })), sent(about(None, None)));
    assert_eq!(
        asked("chat", json!({ "message": "hi", "entityType": "policy", "entityId": "7", "agentType": "auditor" })),
        sent(about(Some(("policy", "7")), Some("auditor")))
    );
    assert_eq!(
        asked("chat", json!({ "message": "hi", "entityType": "policy" })),
        sent(about(Some(("policy", "")), None))
    );
    // As an empty form field has it.
    let empty = json!({ "message": "hi", "entityType": "", "entityId": null, "agentType": "", "conversationId": "" });
    assert_eq!(asked("chat", empty), sent(about(None, None)));
}

#[test]
fn chat_goes_to_the_conversation_that_is_named() {
    let known = Target::Named { name: CONVERSATION.into(), create: false };
    let data = json!({ "message": "hi", "conversationId": SESSION, "entityType": "policy" });
    assert_eq!(asked("chat", data), sent(known));
    let (code, _) = refusal("chat", json!({ "message": "hi", "conversationId": "a b" }));
    assert_eq!(code, Code::NotFound);
}

#[test]
fn nobody_says_here_who_they_are() {
    let data = json!({ "message": "hi", "organizationId": "rival", "userId": "eve", "permissions": ["*"] });
    assert_eq!(asked("chat", data), sent(about(None, None)));
}

#[test]
fn what_is_wrong_is_named() {
    for (data, wanted) in [
        (json!({}), "message: must be there"),
        (json!({ "message": 7 }), "message: invalid type: integer `7`, expected a string"),
        (json!({ "message": " \n" }), "message: is empty"),
        (json!({ "message": "hi", "entityId": "7" }), "entityType: must be there where entityId is"),
        (json!({ "message": "hi", "entityType": ["a"] }), "entityType: invalid type: sequence, expected a string"),
        (json!(["hi"]), "the event's argument is not an object"),
        (json!("hi"), "the event's argument is not an object"),
        (Value::Null, "the event's argument is not an object"),
    ] {
        assert_eq!(refusal("chat", data.clone()), (Code::BadRequest, wanted.to_owned()), "{data}");
    }
    let fault = Ai.decode("chat", None, 100).expect_err("nothing came with it");
    assert_eq!(fault.message, "the event's argument is not an object");
    let long = json!({ "message": "x".repeat(101) });
    assert_eq!(refusal("chat", long), (Code::TooLarge, "message: 101 bytes; at most 100 are allowed".into()));
    let long = json!({ "message": "hi", "agentType": "x".repeat(513) });
    assert_eq!(refusal("chat", long), (Code::TooLarge, "agentType: 513 bytes; at most 512 are allowed".into()));
    assert_eq!(refusal("stop", json!({})), (Code::BadRequest, "conversationId: must be there".into()));
    for event in ["", "message", "__proto__", "connect", "constructor"] {
        assert_eq!(refusal(event, json!({})), (Code::UnknownMethod, format!("no such event: {event}")));
    }
}

#[test]
fn stop_pause_and_resume_are_for_the_conversation_that_is_named() {
    for (event, command) in
        [("stop", SessionCommand::Halt), ("pause", SessionCommand::Pause), ("resume", SessionCommand::Resume)]
    {
        let target = Target::Named { name: CONVERSATION.into(), create: false };
        let data = json!({ "conversationId": SESSION });
        assert_eq!(asked(event, data), Ok(Ask::Session { target, command }));
    }
}

#[test]
fn the_asker_is_answered_by_the_name_it_uses() {
    let reply = Reply::Session(Box::new(settings()), None);
    for (event, word) in [("stop", "stopped"), ("pause", "conversation_paused"), ("resume", "conversation_resumed")] {
        let frames = texts(&Ai.answered(event, None, Some("my \"own\""), &reply));
        assert_eq!(frames, [format!(r#"42/ai,["{word}",{{"conversationId":"my \"own\""}}]"#)]);
    }
    assert!(Ai.answered("chat", None, Some(SESSION), &reply).is_empty(), "it hears what all hear");
}

#[test]
fn whoever_watches_hears_of_a_stop_once() {
    let ended = |state| Reply::Ended { turn: TurnId(2), state, receipt: None, usage: Usage::default() };
    for state in [TurnState::Stopped, TurnState::Aborted, TurnState::Stopping] {
        assert!(Ai.heard("stop", &ended(state)), "{state:?}: its end shows as `stopped`");
    }
    for state in [TurnState::Completed, TurnState::Failed, TurnState::Interrupted] {
        assert!(!Ai.heard("stop", &ended(state)), "{state:?}: its end shows otherwise");
    }
    assert!(!Ai.heard("stop", &Reply::NothingRan), "no event tells of nothing");
    let session = Reply::Session(Box::new(settings()), None);
    assert!(Ai.heard("pause", &session) && Ai.heard("resume", &session));
    assert!(!Ai.heard("chat", &session));
}

#[test]
fn what_is_refused_is_an_error_in_the_doors_words() {
    let refused = |event: &str, data: Value, named: Option<&str>, fault: Fault| {
        let [frame] = texts(&Ai.refused(event, Some(&raw(data)), named, &fault)).try_into().expect("one frame");
        frame
    };
    assert_eq!(
        refused("chat", json!({}), None, Fault::field("agent", "no such agent")),
        r#"42/ai,["error",{"message":"agentType: no such agent","code":"bad_request","details":{"field":"agent"}}]"#
    );
    assert_eq!(
        refused("stop", json!({ "conversationId": "mine" }), None, Fault::not_found("session")),
        r#"42/ai,["error",{"conversationId":"mine","message":"no such session","code":"not_found"}]"#
    );
    assert_eq!(
        refused("pause", json!({ "conversationId": 7 }), Some(SESSION), Fault::plain(Code::Archived)),
        format!(
            r#"42/ai,["error",{{"conversationId":"{SESSION}","message":"the conversation is archived","code":"archived"}}]"#
        )
    );
    assert_eq!(
        refused("chat", json!([]), None, Fault::new(Code::Internal, "")),
        r#"42/ai,["error",{"message":"Chat failed","code":"internal"}]"#
    );
}

#[test]
fn a_skill_is_asked_for_and_its_result_told() {
    let data = json!({ "skillId": "count", "input": { "text": "a b" }, "entityType": "policy", "entityId": "7" });
    let entity = Some(Entity { kind: "policy".into(), id: "7".into() });
    let (skill, input) = ("count".into(), json!({ "text": "a b" }));
    assert_eq!(asked("skill_execute", data), Ok(Ask::Hub(Command::SkillExecute { skill, input, entity, once: None })));
    let result = SkillResult {
        skill: "count".into(),
        output: json!({ "words": 2 }),
        usage: Usage { input: 3, output: 1, ..Usage::default() },
        provider: "demo".into(),
        model: "demo-1".into(),
    };
    let frames = texts(&Ai.answered("skill_execute", None, None, &Reply::SkillDone(Box::new(result))));
    assert_eq!(
        frames,
        [
            r#"42/ai,["skill_result",{"skillId":"count","result":{"skillId":"count","output":{"words":2},"usage":{"input":3,"output":1,"cacheRead":0,"cacheWrite":0,"total":4},"provider":"demo","model":"demo-1"}}]"#
        ]
    );
}

#[test]
fn an_action_is_asked_for_and_its_preview_or_its_result_told() {
    let target = json!({ "actionId": "close", "input": {}, "entityType": "ticket", "entityId": "7" });
    let entity = Some(Entity { kind: "ticket".into(), id: "7".into() });
    let wish = ActionWish { action: "close".into(), input: json!({}), entity: entity.clone() };
    for (skip, wanted) in [(json!(null), false), (json!(false), false), (json!(true), true)] {
        let mut data = target.clone();
        data["skipPreview"] = skip;
        let command = Command::ActionExecute { wish: wish.clone(), skip_preview: wanted, once: None };
        assert_eq!(asked("action_execute", data), Ok(Ask::Hub(command)));
    }
    let preview = ActionPreview {
        action: "close".into(),
        name: "Close".into(),
        summary: "closes 7".into(),
        risks: Vec::new(),
        input: json!({}),
        entity,
        request: None,
        details: None,
    };
    let reply = Reply::Action(ActionAnswer::PreviewRequired(Box::new(preview)));
    let [frame] =
        texts(&Ai.answered("action_execute", Some(&raw(target)), None, &reply)).try_into().expect("one frame");
    let head = r#"42/ai,["action_result",{"actionId":"close","result":{"status":"preview_required","preview":{"#;
    assert!(frame.starts_with(head), "{frame}");
    let (code, message) = refusal("action_execute", json!({ "actionId": "close", "entityType": "ticket" }));
    assert_eq!((code, message.starts_with("entityId: ")), (Code::BadRequest, true));
    assert_eq!(refusal("skill_execute", json!({ "input": {} })).1, "skillId: must be there");
}
