//! `/api/v1/ai`: skills and actions, in the shapes that clients of that interface know: bare arrays, 201 to every POST.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::acting as wire;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::described::Described;
use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::request::{Fields, Kind, Parameter, parameter};
use super::{Edge, Refusal};
use crate::domain::command::{Caller, Command, Reply};
use crate::domain::policy::Operation;
use crate::doors::{acting, rpc};
use crate::error::{Code, Fault};
use crate::limits::Via;

/// A skill in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SkillView {
    id: String,
    name: String,
    description: String,
    scope: String,
}

/// An action in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ActionView {
    id: String,
    name: String,
    description: String,
    category: String,
    /// Whether it is only shown, unless `skipPreview` says that the caller has seen it.
    requires_preview: bool,
}

const KIND: &[Parameter] = &[parameter("entityType", Kind::Text)];

type Answer = Result<HttpResponse, actix_web::Error>;

async fn skills(Asking(caller): Asking, hub: HubHandle) -> Result<HttpResponse, Refusal> {
    let Reply::Skills(list) = hub.0.call(caller, Command::SkillList).await? else {
        return Err(Fault::plain(Code::Internal).into());
    };
    let view = |skill: &std::sync::Arc<crate::domain::skill::Skill>| SkillView {
        id: skill.id.clone(),
        name: skill.name.clone(),
        description: skill.description.clone(),
        scope: skill.scope.clone(),
    };
    Ok(HttpResponse::Ok().json(list.iter().map(view).collect::<Vec<_>>()))
}

async fn actions(Asking(caller): Asking, hub: HubHandle, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let kind = Fields::of_query(&request, KIND)?.take::<String>("entityType")?.filter(|kind| !kind.is_empty());
    let Reply::Actions(list) = hub.0.call(caller, Command::ActionList(kind)).await? else {
        return Err(Fault::plain(Code::Internal).into());
    };
    let view = |action: &std::sync::Arc<crate::domain::action::Action>| ActionView {
        id: action.id.clone(),
        name: action.name.clone(),
        description: action.description.clone(),
        category: action.category.clone(),
        requires_preview: action.requires_preview,
    };
    Ok(HttpResponse::Ok().json(list.iter().map(view).collect::<Vec<_>>()))
}

/// What one of the native methods is asked: the body's fields, and the id that stands in the address.
async fn asked(
    method: &str,
    field: &str,
    edge: &Edge,
    (path, request, payload): (web::Path<String>, HttpRequest, web::Payload),
) -> Result<Command, actix_web::Error> {
    let mut fields = Fields::of_body(&request, payload).await?.keyed(&request).map_err(Refusal)?;
    fields.set(field, &*path).map_err(Refusal)?;
    let limits = rpc::Limits { message_bytes: edge.config.get().limits.message_bytes };
    Ok(rpc::decode(method, Some(&fields.text()), limits).map_err(Refusal)?)
}

async fn call(caller: Caller, hub: &HubHandle, command: Command) -> Result<Value, Fault> {
    let shown = |value: serde_json::Result<Value>| value.map_err(|error| Fault::internal(error.to_string()));
    match hub.0.call(caller, command).await? {
        Reply::SkillDone(result) => shown(serde_json::to_value(acting::skill_result(&result))),
        Reply::ActionPreview(preview) => shown(serde_json::to_value(acting::preview(&preview))),
        Reply::Action(answer) => shown(serde_json::to_value(acting::outcome(&answer))),
        Reply::ActionUndone(_) => Ok(json!({ "success": true })),
        _ => Err(Fault::plain(Code::Internal)),
    }
}

async fn execute_skill(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    path: web::Path<String>,
    (request, payload): (HttpRequest, web::Payload),
) -> Answer {
    let command = asked("skills.execute", "skillId", &edge, (path, request, payload)).await?;
    // It asks a model, like a message.
    edge.limits.message(&caller.principal, Via::Rest).map_err(Refusal)?;
    Ok(HttpResponse::Created().json(call(caller, &hub, command).await.map_err(Refusal)?))
}

macro_rules! action_handlers {
    ($($name:ident $method:literal;)*) => {
        $(async fn $name(
            Asking(caller): Asking,
            hub: HubHandle,
            edge: web::Data<Edge>,
            path: web::Path<String>,
            (request, payload): (HttpRequest, web::Payload),
        ) -> Answer {
            let command = asked($method, "actionId", &edge, (path, request, payload)).await?;
            Ok(HttpResponse::Created().json(call(caller, &hub, command).await.map_err(Refusal)?))
        })*
    };
}

action_handlers! {
    preview_action "actions.preview";
    execute_action "actions.execute";
    undo_action "actions.undo";
}

pub(super) const ENDPOINTS: [Endpoint; 6] = [
    row(Method::GET, "/api/v1/ai/skills", Operation::SkillList, || web::to(skills))
        .described(|| Described::new("The skills that the caller may use").gives::<Vec<SkillView>>(200)),
    row(Method::POST, "/api/v1/ai/skills/{skillId}/execute", Operation::SkillExecute, || web::to(execute_skill))
        .described(|| {
            Described::new("Use a skill: one answer of a model, typed where the skill has an output schema")
                .body::<wire::SkillExecute>()
                .gives::<wire::SkillResult>(201)
                .keyed()
        }),
    row(Method::GET, "/api/v1/ai/actions", Operation::ActionList, || web::to(actions)).described(|| {
        Described::new("The actions that the caller may have done")
            .query::<wire::ActionList>(KIND)
            .gives::<Vec<ActionView>>(200)
    }),
    row(Method::POST, "/api/v1/ai/actions/{actionId}/preview", Operation::ActionPreview, || web::to(preview_action))
        .described(|| {
            Described::new("What an action would do").body::<wire::ActionTarget>().gives::<wire::ActionPreview>(201)
        }),
    row(Method::POST, "/api/v1/ai/actions/{actionId}/execute", Operation::ActionExecute, || web::to(execute_action))
        .described(|| {
            Described::new("Have an action done, or be shown it first")
                .body::<wire::ActionExecute>()
                .gives::<wire::ActionOutcome>(201)
                .keyed()
        }),
    row(Method::POST, "/api/v1/ai/actions/{actionId}/undo", Operation::ActionUndo, || web::to(undo_action)).described(
        || {
            Described::new("Undo the latest execution on an entity that can still be undone, or the one named")
                .body::<wire::ActionUndo>()
                .gives::<super::ai::Success>(201)
                .kept()
        },
    ),
];
