//! What administrators look over: live turns and waiting questions of a whole organization, and what it used.

use serde_json::json;
use switchboard::domain::admin::LiveState;
use switchboard::domain::approval::*;
use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::domain::tool_policy::Remembers;
use switchboard::domain::turn::*;
use switchboard::domain::usage::Usage;
use switchboard::store::Store;

use crate::ground::*;

on_both!(
    live_turns_are_those_of_the_whole_organization,
    questions_of_the_whole_organization_come_by_pages,
    usage_is_summed_by_user_agent_and_model,
);

async fn put(store: &Store, settings: &Settings, more: Vec<Write>) {
    let writes = std::iter::once(Write::Conversation(settings.clone())).chain(more).collect();
    store.commit(batch(settings, writes)).await.expect("committed");
}

/// The same conversation elsewhere.
fn elsewhere(mut settings: Settings) -> Settings {
    settings.organization = org("globex");
    settings
}

async fn live_turns_are_those_of_the_whole_organization(ground: Ground) {
    let store = ground.open();
    let (ann, mut bob) = (conversation("ann"), conversation("bob"));
    bob.state = ConversationState::Paused;
    let (running, queued, ended) =
        (turn(1, TurnState::Running), turn(2, TurnState::Queued), turn(3, TurnState::Completed));
    let waiting = turn(1, TurnState::Queued);
    put(&store, &ann, [&running, &queued, &ended].map(|turn| Write::Turn(turn.clone())).to_vec()).await;
    put(&store, &bob, vec![Write::Turn(waiting.clone())]).await;
    put(&store, &elsewhere(conversation("ann")), vec![Write::Turn(turn(1, TurnState::Running))]).await;
    let ids = async |which, user, before, limit| {
        let page = store.live_turns(&acme(), which, user, before, limit).await.expect("a page");
        (page.items.iter().map(|(settings, turn)| (settings.id, turn.id)).collect::<Vec<_>>(), page.next)
    };
    let all = [(bob.id, waiting.id), (ann.id, queued.id), (ann.id, running.id)];
    assert_eq!(ids(None, None, None, 9).await, (all.to_vec(), None));
    assert_eq!(ids(None, None, None, 2).await, (all[..2].to_vec(), Some(queued.id)));
    assert_eq!(ids(None, None, Some(queued.id), 2).await, (all[2..].to_vec(), None));
    assert_eq!(ids(Some(LiveState::Queued), None, None, 9).await.0, all[..2]);
    assert_eq!(ids(Some(LiveState::Running), None, None, 9).await.0, all[2..]);
    assert_eq!(ids(Some(LiveState::Paused), None, None, 9).await.0, all[..1]);
    assert_eq!(ids(None, Some(user("ann")), None, 9).await.0, all[1..]);
}

fn question(turn: &Turn, state: ApprovalState) -> Approval {
    Approval {
        id: ApprovalId(next()),
        turn: turn.id,
        call: PartId(next()),
        tool: "http_fetch".into(),
        summary: "fetch it".into(),
        risks: Vec::new(),
        input: json!({"url": "http://example.org/"}),
        remembers: Remembers::Arguments,
        correlation_id: "req_1".into(),
        state,
        requested_at: Timestamp(9),
        deadline: Timestamp(99),
        decision: None,
    }
}

async fn questions_of_the_whole_organization_come_by_pages(ground: Ground) {
    let store = ground.open();
    let mut wanted = Vec::new();
    for owner in ["ann", "bob", "ann"] {
        let (settings, turn) = (conversation(owner), turn(1, TurnState::AwaitingApproval));
        let (asked, denied) = (question(&turn, ApprovalState::Pending), question(&turn, ApprovalState::Cancelled));
        let writes = vec![Write::Turn(turn), Write::Approval(asked.clone()), Write::Approval(denied)];
        put(&store, &settings, writes).await;
        wanted.push((settings.id, asked));
    }
    let (theirs, turn) = (elsewhere(conversation("ann")), turn(1, TurnState::AwaitingApproval));
    let foreign = question(&turn, ApprovalState::Pending);
    put(&store, &theirs, vec![Write::Turn(turn), Write::Approval(foreign)]).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.all_pending_approvals(&acme(), after, 2).await.expect("a page");
        assert!(page.items.len() <= 2);
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(seen, wanted);
}

/// A conversation with one answered turn.
async fn answered(store: &Store, settings: &Settings, by: &str, model: &str, tokens: u64, at: i64) {
    let mut turn = turn(1, TurnState::Completed);
    (turn.user, turn.started_at) = (user(by), Some(Timestamp(at)));
    turn.usage = Usage { input: tokens, output: 1, cache_read: 0, cache_write: 0, cost: None };
    let mut answer = message(&turn, 1);
    (answer.provider, answer.model) = (Some("demo".into()), Some(model.into()));
    turn.answer = Some(answer.id);
    put(store, settings, [vec![Write::Turn(turn)], whole(&answer)].concat()).await;
}

async fn usage_is_summed_by_user_agent_and_model(ground: Ground) {
    let store = ground.open();
    let mut coder = conversation("ann");
    coder.agent = "coder".into();
    answered(&store, &conversation("ann"), "ann", "small", 10, 500).await;
    answered(&store, &conversation("ann"), "ann", "small", 5, 600).await;
    // Somebody else's turn in a shared conversation is that user's.
    answered(&store, &conversation("ann"), "bob", "large", 7, 600).await;
    answered(&store, &coder, "ann", "small", 3, 600).await;
    answered(&store, &conversation("ann"), "ann", "small", 1000, 499).await;
    answered(&store, &elsewhere(conversation("ann")), "ann", "small", 1000, 600).await;
    let cells = store.usage_of_organization(&acme(), Timestamp(500)).await.expect("answered");
    let shown: Vec<_> = cells
        .iter()
        .map(|c| (c.user.as_str(), &*c.agent, &*c.provider, &*c.model, c.turns, c.usage.input, c.usage.output))
        .collect();
    let wanted = [
        ("ann", "coder", "demo", "small", 1, 3, 1),
        ("ann", "default", "demo", "small", 2, 15, 2),
        ("bob", "default", "demo", "large", 1, 7, 1),
    ];
    assert_eq!(shown, wanted);
}
