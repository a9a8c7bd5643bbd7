//! Another organization sees nothing, whichever way it asks, and may use the same ids without meeting anybody.

use serde_json::json;
use switchboard::domain::account::*;
use switchboard::domain::approval::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::Role;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::domain::turn::*;
use switchboard::store::{ConversationQuery, Store, UserQuery};

use crate::ground::*;

on_both!(a_foreign_organization_sees_nothing, the_same_ids_in_two_organizations_are_two_things);

struct Rich {
    settings: Settings,
    message: MessageId,
    approval: ApprovalId,
    project: ProjectId,
}

/// One of everything, readable by the whole organization. `seed` fixes the ids.
async fn rich(store: &Store, organization: &OrganizationId, seed: u128, said: &str) -> Rich {
    let house =
        Organization { id: organization.clone(), name: said.into(), created_at: Timestamp(1), disabled_at: None };
    store.put_organization(house).await.expect("written");
    let person = User { managed: true, ..User::new(organization.clone(), user("ann"), Role::Member, Timestamp(1)) };
    store.put_user(person).await.expect("written");
    let project =
        Project { id: ProjectId(seed), organization: organization.clone(), name: "p".into(), created_at: Timestamp(1) };
    store.create_project(project.clone()).await.expect("created");
    let mut settings = conversation("ann");
    settings.id = ConversationId(seed);
    settings.organization = organization.clone();
    settings.visibility = Visibility::Organization;
    settings.channel = Some("websocket".into());
    settings.project = Some(project.id);
    let live = Turn { id: TurnId(seed), ..turn(1, TurnState::AwaitingApproval) };
    let mut prompt = message(&live, 0);
    prompt.id = MessageId(seed);
    prompt.parts = vec![text(0, said)];
    prompt.parts[0].id = PartId(seed);
    let approval = Approval {
        id: ApprovalId(seed),
        turn: live.id,
        call: PartId(seed),
        tool: said.into(),
        summary: String::new(),
        risks: vec![],
        input: json!({}),
        correlation_id: "r".into(),
        state: ApprovalState::Pending,
        requested_at: Timestamp(1),
        deadline: Timestamp(2),
        decision: None,
    };
    let mut writes = vec![Write::Conversation(settings.clone()), Write::Turn(live)];
    writes.extend(whole(&prompt));
    writes.extend([
        Write::Index(prompt.id),
        Write::Approval(approval.clone()),
        Write::Fact(Fact { kind: "x", turn: None, by: None, refs: json!({ "said": said }) }),
        Write::Tail { part: prompt.parts[0].id, text: format!(" and {said}") },
    ]);
    let key = Idempotency { user: user("ann"), key: "k".into(), request: [1; 32], answer: said.into() };
    let commit = Batch { idempotency: Some(key), ..batch(&settings, writes) };
    store.commit(commit).await.expect("committed");
    Rich { settings, message: prompt.id, approval: approval.id, project: project.id }
}

fn query(organization: &OrganizationId) -> ConversationQuery {
    ConversationQuery {
        organization: organization.clone(),
        viewer: user("ann"),
        see_all: true,
        project: None,
        status: None,
        user: None,
        entity_type: None,
        entity_id: None,
        cursor: None,
        limit: 10,
    }
}

async fn a_foreign_organization_sees_nothing(ground: Ground) {
    let store = ground.open();
    let theirs = rich(&store, &acme(), next(), "secret").await;
    let (ann, me) = (user("ann"), org("other"));
    let id = theirs.settings.id;
    assert_eq!(store.load(&me, id, 100, 1000).await, Ok(None));
    assert_eq!(store.conversation(&me, id).await, Ok(None));
    assert_eq!(store.conversations(query(&me)).await.expect("a page").items, []);
    let by_project = ConversationQuery { project: Some(theirs.project), ..query(&me) };
    assert_eq!(store.conversations(by_project).await.expect("a page").items, []);
    assert_eq!(store.find_by_channel(&me, &ann, "websocket").await, Ok(None));
    assert_eq!(store.messages(&me, id, None, 10).await.expect("answered").expect("a page").items, []);
    assert_eq!(store.messages(&me, id, Some(theirs.message), 10).await, Ok(None));
    assert_eq!(store.search(&me, &ann, "secret", 10).await, Ok(vec![]));
    assert_eq!(store.idempotency(&me, &ann, "k").await, Ok(None));
    assert_eq!(store.project(&me, theirs.project).await, Ok(None));
    assert_eq!(store.find_project(&me, "p").await, Ok(None));
    assert_eq!(store.projects(&me, None, 10).await.expect("a page").items, []);
    assert_eq!(store.pending_approvals(&me, &ann, true).await, Ok(vec![]));
    assert_eq!(store.approval(&me, theirs.approval).await, Ok(None));
    assert_eq!(store.approvals(&me, id).await, Ok(vec![]));
    assert_eq!(store.facts(&me, id, 0, 10).await, Ok(vec![]));
    assert_eq!(store.organization(&me).await, Ok(None));
    assert_eq!(store.users(&me, UserQuery { limit: 9, ..UserQuery::default() }).await.expect("a page").items, []);
    // A search for the word that stands for the organization in the index finds nothing either.
    let scope: String = acme().as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(store.search(&me, &ann, &format!("o{scope}"), 10).await, Ok(vec![]));
}

async fn the_same_ids_in_two_organizations_are_two_things(ground: Ground) {
    let store = ground.open();
    let seed = next();
    let (mine, theirs) = (acme(), org("other"));
    let said = rich(&store, &mine, seed, "mine").await;
    rich(&store, &theirs, seed, "theirs").await;
    let text = async |store: &Store, organization: &OrganizationId| {
        let loaded = store.load(organization, ConversationId(seed), 10, 1000).await.expect("answered").expect("there");
        loaded.messages[0].text()
    };
    assert_eq!(text(&store, &mine).await, "mine and mine");
    assert_eq!(text(&store, &theirs).await, "theirs and theirs");
    drop(store);
    let store = ground.open();
    assert_eq!(text(&store, &mine).await, "mine and mine", "after a reopen");
    let facts = store.facts(&theirs, ConversationId(seed), 0, 10).await.expect("facts");
    assert_eq!(facts.iter().map(|f| (f.n, f.refs.clone())).collect::<Vec<_>>(), [(1, json!({ "said": "theirs" }))]);
    let asked = store.approval(&theirs, ApprovalId(seed)).await.expect("answered").expect("there");
    assert_eq!((asked.0, asked.1.tool.as_str()), (ConversationId(seed), "theirs"));
    store.commit(batch(&said.settings, vec![Write::DeleteConversation])).await.expect("committed");
    assert_eq!(store.load(&mine, ConversationId(seed), 10, 1000).await, Ok(None));
    assert_eq!(text(&store, &theirs).await, "theirs and theirs");
    assert_eq!(store.search(&theirs, &user("ann"), "theirs", 10).await.expect("answered").len(), 1);
}
