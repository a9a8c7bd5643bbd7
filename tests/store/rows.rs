//! What is committed is what is loaded: every kind of row, every kind of part, and text that grows.

use serde_json::json;
use switchboard::domain::approval::*;
use switchboard::domain::canonical::Digest;
use switchboard::domain::generation::{ThinkingLevel, ToolOutput};
use switchboard::domain::ids::*;
use switchboard::domain::message::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::domain::spending::{Refusal, Unit};
use switchboard::domain::tool_call::*;
use switchboard::domain::tool_policy::Remembers;
use switchboard::domain::turn::*;
use switchboard::domain::usage::Usage;
use switchboard::store::CommitFault;

use crate::ground::*;

on_both!(
    every_row_comes_back,
    rows_replace_rows,
    tails_fold_in_order,
    a_closed_part_has_no_tail,
    tails_survive_a_reopen
);

fn every_body(approval: ApprovalId) -> Vec<PartBody> {
    let call = PartId(next());
    vec![
        PartBody::Text { text: "plain, 'quoted', \"ü\" and 日本".into() },
        PartBody::Text { text: String::new() },
        PartBody::Thinking { text: "hm".into(), signature: None },
        PartBody::Thinking { text: "hm".into(), signature: Some("sealed".into()) },
        PartBody::ToolCall(ToolCall {
            provider_id: "call_1".into(),
            tool: "http_fetch".into(),
            input: json!({"url": "https://example.org", "n": 1.5, "deep": {"a": [null, true, "\u{0}"]}}),
            state: ToolCallState::Awaiting,
            approval: Some(approval),
            bound: Some(Digest::of("http_fetch", &json!({"url": "https://example.org"}))),
        }),
        PartBody::ToolResult {
            call,
            result: ToolOutput { call_id: "call_1".into(), output: "no".into(), is_error: true },
        },
        PartBody::Attachment(Attachment {
            kind: AttachmentKind::Image,
            name: "a.png".into(),
            media_type: Some("image/png".into()),
            url: None,
            data: Some("aGVsbG8=".repeat(10_000)),
        }),
        PartBody::Attachment(Attachment {
            kind: AttachmentKind::File,
            name: "b".into(),
            media_type: None,
            url: Some("https://example.org/b".into()),
            data: None,
        }),
    ]
}

fn full_settings() -> Settings {
    let mut settings = conversation("ann");
    settings.title = "a title".into();
    settings.state = ConversationState::Paused;
    settings.visibility = Visibility::Organization;
    settings.agent = "coder".into();
    settings.model = Some("large".into());
    settings.thinking = ThinkingLevel::Xhigh;
    settings.channel = Some("websocket".into());
    settings.next_turn_no = 3;
    settings.usage = Usage { input: 1, output: 2, cache_read: 3, cache_write: 4, cost: Some(250_000) };
    settings.updated_at = Timestamp(9_000);
    settings
}

fn refusal() -> Refusal {
    Refusal {
        budget: "daily".into(),
        unit: Unit::Micros,
        limit: 10,
        used: 1 << 59,
        held: 0,
        asked: 7,
        renews: Timestamp(86_400_000),
    }
}

fn full_turn() -> Turn {
    let mut ended = turn(1, TurnState::Stopped);
    ended.answer = Some(MessageId(next()));
    ended.model = Some("small".into());
    ended.steps = 4;
    ended.usage = Usage { input: 10, output: 20, cache_read: 0, cache_write: 0, cost: None };
    ended.retry_of = Some(TurnId(next()));
    ended.receipt = Some(Receipt { closed_at: Timestamp(7), bytes_after: 0, kept_bytes: 12 });
    ended.error = Some("why".into());
    ended.refusal = Some(Box::new(refusal()));
    ended.started_at = Some(Timestamp(5));
    ended.ended_at = Some(Timestamp(8));
    ended
}

fn pending_approval(turn: &Turn, call: PartId) -> Approval {
    Approval {
        id: ApprovalId(next()),
        turn: turn.id,
        call,
        tool: "http_fetch".into(),
        summary: "fetch a page".into(),
        risks: vec!["leaves the house".into(), "ü".into()],
        input: json!({"url": "https://example.org"}),
        remembers: Remembers::Arguments,
        correlation_id: "req-1".into(),
        state: ApprovalState::Pending,
        requested_at: Timestamp(10),
        deadline: Timestamp(30_010),
        decision: None,
    }
}

async fn every_row_comes_back(ground: Ground) {
    let store = ground.open();
    let settings = full_settings();
    let ended = full_turn();
    let waiting = turn(2, TurnState::AwaitingApproval);
    let mut prompt = message(&ended, 0);
    prompt.parts = vec![text(0, "hello")];
    let mut answer = message(&ended, 1);
    answer.state = MessageState::Stopped;
    answer.superseded = true;
    answer.provider = Some("demo".into());
    answer.model = Some("large".into());
    answer.usage = Some(Usage { input: 5, output: 6, cache_read: 7, cache_write: 8, cost: Some(1_000_000) });
    let asked = pending_approval(&waiting, PartId(next()));
    answer.parts = every_body(asked.id).into_iter().zip(0..).map(|(body, index)| part(index, body)).collect();
    let todo = |state: TodoState| Todo { id: state.name().into(), content: "do \"it\"".into(), state };
    let todos: Vec<Todo> = TodoState::ALL.into_iter().map(todo).collect();

    let mut writes = vec![Write::Conversation(settings.clone())];
    writes.extend([Write::Turn(ended.clone()), Write::Turn(waiting.clone())]);
    writes.extend(whole(&prompt).into_iter().chain(whole(&answer)));
    writes.extend([Write::Approval(asked.clone()), Write::Todos(todos.clone())]);
    store.commit(batch(&settings, writes)).await.expect("committed");

    let expected = Stored {
        settings: settings.clone(),
        messages: vec![prompt, answer],
        more: false,
        turns: vec![ended, waiting],
        approvals: vec![asked],
        todos,
        open_parts: vec![],
    };
    assert_eq!(stored(&store, &settings).await, expected);
    store.close().await;
    assert_eq!(stored(&ground.open(), &settings).await, expected, "after a reopen");
}

async fn rows_replace_rows(ground: Ground) {
    let store = ground.open();
    let mut settings = full_settings();
    let mut running = turn(1, TurnState::Running);
    let mut prompt = message(&running, 0);
    prompt.parts = vec![text(0, "before")];
    let mut asked = pending_approval(&running, PartId(next()));
    let mut writes = vec![Write::Conversation(settings.clone()), Write::Turn(running.clone())];
    writes.extend(whole(&prompt));
    let todo = Todo { id: "1".into(), content: "x".into(), state: TodoState::Pending };
    writes.extend([Write::Approval(asked.clone()), Write::Todos(vec![todo])]);
    store.commit(batch(&settings, writes)).await.expect("committed");

    // What was there and is absent now must be gone, too.
    settings.model = None;
    settings.usage.cost = None;
    settings.title = "renamed".into();
    running.state = TurnState::Failed;
    running.error = Some("broken".into());
    prompt.parts[0].body = PartBody::Text { text: "after".into() };
    asked.state = ApprovalState::Denied;
    asked.decision =
        Some(Decision { by: Some(user("bob")), at: Timestamp(11), reason: None, origin: "ws 127.0.0.1".into() });
    let mut writes = vec![Write::Conversation(settings.clone()), Write::Turn(running.clone())];
    writes.extend(whole(&prompt));
    writes.extend([Write::Approval(asked), Write::Todos(vec![])]);
    store.commit(batch(&settings, writes)).await.expect("committed");

    let loaded = stored(&store, &settings).await;
    assert_eq!(loaded.settings, settings);
    assert_eq!(loaded.turns, [running]);
    assert_eq!(loaded.messages, [prompt]);
    assert_eq!((loaded.approvals, loaded.todos), (vec![], vec![]));
}

/// A conversation with a running turn and an answer that has one open text part.
async fn growing(store: &switchboard::store::Store) -> (Settings, Message) {
    let settings = conversation("ann");
    let running = turn(1, TurnState::Running);
    let mut answer = message(&running, 1);
    answer.state = MessageState::Streaming;
    answer.parts = vec![text(0, "a")];
    let mut writes = vec![Write::Conversation(settings.clone()), Write::Turn(running)];
    writes.extend(whole(&answer));
    store.commit(batch(&settings, writes)).await.expect("committed");
    (settings, answer)
}

fn tail(message: &Message, text: &str) -> Write {
    Write::Tail { part: message.parts[0].id, text: text.into() }
}

async fn tails_fold_in_order(ground: Ground) {
    let store = ground.open();
    let (settings, mut answer) = growing(&store).await;
    let (other, other_answer) = growing(&store).await;
    let mut expected = String::from("a");
    for n in 0..700 {
        let piece = format!("|{n}");
        expected.push_str(&piece);
        let mine = store.commit(batch(&settings, vec![tail(&answer, &piece)]));
        let theirs = store.commit(batch(&other, vec![tail(&other_answer, "x")]));
        mine.await.expect("committed");
        theirs.await.expect("committed");
    }
    answer.parts[0].body = PartBody::Text { text: expected };
    let loaded = stored(&store, &settings).await;
    assert_eq!(loaded.messages, [answer.clone()]);
    assert_eq!(loaded.open_parts, [answer.parts[0].id]);
}

async fn a_closed_part_has_no_tail(ground: Ground) {
    let store = ground.open();
    let (settings, mut answer) = growing(&store).await;
    // Appended before and within the batch that closes the part.
    store.commit(batch(&settings, vec![tail(&answer, "b")])).await.expect("committed");
    let mut closed = answer.parts[0].clone();
    closed.body = PartBody::Text { text: "abc".into() };
    let writes = vec![tail(&answer, "c"), Write::Part { message: answer.id, part: closed.clone() }];
    store.commit(batch(&settings, writes)).await.expect("committed");
    answer.parts[0] = closed;
    let loaded = stored(&store, &settings).await;
    assert_eq!((loaded.messages, loaded.open_parts), (vec![answer.clone()], vec![]));
    assert_eq!(ground.count("part_tail").await, 0);
    // A refused batch leaves the tails it saw as they were.
    store.commit(batch(&settings, vec![tail(&answer, "d")])).await.expect("committed");
    let orphan = Write::Part { message: MessageId(next()), part: text(0, "") };
    let writes = vec![Write::Part { message: answer.id, part: answer.parts[0].clone() }, tail(&answer, "e"), orphan];
    let refused = store.commit(batch(&settings, writes)).await;
    assert!(matches!(refused, Err(CommitFault::Refused(_))), "{refused:?}");
    assert_eq!(stored(&store, &settings).await.messages[0].text(), "abcd");
    assert_eq!(ground.count("part_tail").await, 1);
}

async fn tails_survive_a_reopen(ground: Ground) {
    let store = ground.open();
    let (settings, answer) = growing(&store).await;
    for piece in ["b", "c"] {
        store.commit(batch(&settings, vec![tail(&answer, piece)])).await.expect("committed");
    }
    drop(store);
    let store = ground.open();
    store.commit(batch(&settings, vec![tail(&answer, "d")])).await.expect("committed");
    let loaded = stored(&store, &settings).await;
    assert_eq!(loaded.messages[0].text(), "abcd");
    let closed = Write::Part { message: answer.id, part: loaded.messages[0].parts[0].clone() };
    store.commit(batch(&settings, vec![closed])).await.expect("committed");
    assert_eq!(ground.count("part_tail").await, 0);
    assert_eq!(stored(&store, &settings).await.messages[0].text(), "abcd");
}
